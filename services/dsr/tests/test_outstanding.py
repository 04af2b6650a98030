"""From the due date on an officer goes on without a silent system, and the person is told so."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

DUE = timedelta(days=41)
"""From three days after receipt to the day on which the answer is due, the 45th."""
NO_ANSWER = {"systems": ["orders"], "reason": "no_answer"}


async def leave(dsr: Any, request: UUID, sub: str = "officer-01", scope: str = "officer", **body: Any) -> Any:
    return await dsr.http.post(
        f"/v1/requests/{request}/outstanding", json=NO_ANSWER | body, headers=dsr.headers(sub, scope)
    )


async def silent(dsr: Any) -> tuple[UUID, str]:
    """On the due date, with everybody but orders having answered."""
    await dsr.customer()
    request, link = await dsr.deleting()
    for system in ("marketing", "support"):
        await dsr.reply(request, system)
    await dsr.pass_time(DUE)
    return request, link


async def the_others_answer(dsr: Any, request: UUID, *systems: str) -> None:
    for system in systems or ("consent", "notifier", "audit", "accounts"):
        await dsr.relay()
        await dsr.reply(request, system)
    await dsr.relay()


@pytest.mark.promise(67)
async def test_an_officer_goes_on_and_the_answer_names_what_is_outstanding(dsr: Any, text_of: Any) -> None:
    request, link = await silent(dsr)
    answer = await leave(dsr, request)
    assert (answer.status_code, answer.json()["status"]) == (200, "deleting")
    (event,) = await dsr.events("system.left_outstanding")
    assert (event["system"], event["officer"], event["reason"]) == ("orders", "staff/officer-01", "no_answer")
    assert (await dsr.events("deletion.requested"))[-1]["stage"] == "own"
    assert "Not confirmed as deleted: it has not answered us" in text_of((await dsr.http.get(link)).text)

    await the_others_answer(dsr, request)
    assert await dsr.status(request) == "closed"
    (closed,) = await dsr.events("request.closed")
    assert (closed["outcome"], closed["outstanding"]) == ("completed", ["orders"])

    page = text_of((await dsr.http.get(link)).text)
    assert "Not everything is deleted yet" in page
    assert "Orders orders, invoices Not confirmed as deleted: it has not answered us" in page
    assert "we remain obliged to delete what these systems hold (11 CCR § 7022)" in page
    assert "Every system has answered" not in page
    state = (await dsr.http.get(f"/v1/requests/{request}", headers=dsr.headers("website", "website"))).json()
    (left,) = state["outstanding"]
    assert (left["system"], left["categories"], left["reason"]) == ("orders", ["orders", "invoices"], "no_answer")
    assert "remains obliged" in state["note"]
    mail = (await dsr.message(request, "completion")).json()
    assert "orders" not in mail["systems"]
    assert [each["system"] for each in mail["outstanding"]] == ["orders"]


async def test_until_the_day_comes_systems_are_waited_for(dsr: Any) -> None:
    await dsr.customer()
    request, _ = await dsr.deleting()
    await dsr.pass_time(DUE - timedelta(hours=4, seconds=1))  # a second before midnight in Los Angeles
    early = await leave(dsr, request)
    assert (early.status_code, early.json()["type"].rpartition("/")[2]) == (409, "too-early")
    state = (await dsr.http.get(f"/v1/requests/{request}", headers=dsr.headers("officer-01", "officer"))).json()
    assert state["waiting_for"] == ["orders", "marketing", "support"]
    await dsr.pass_time(timedelta(seconds=1))
    assert (await leave(dsr, request)).status_code == 200


@pytest.mark.parametrize("name", ["accounts", "consent", "marketing", "warehouse"])
async def test_who_is_not_waited_for_cannot_be_left_and_then_nothing_changes(dsr: Any, name: str) -> None:
    request, _ = await silent(dsr)
    before, events = await dsr.tasks(request), len(await dsr.everything())
    refused = await leave(dsr, request, systems=["orders", name])
    assert (refused.status_code, refused.json()["type"].rpartition("/")[2]) == (409, "not-waiting")
    assert name in refused.json()["title"] + refused.json().get("detail", "")
    assert "orders," not in refused.text
    assert (await dsr.tasks(request), len(await dsr.everything())) == (before, events)


@pytest.mark.parametrize(
    "body",
    [
        {"systems": []},
        {"systems": ["orders", "orders"]},
        {"systems": ["Orders and more"]},
        {"reason": "Ann shouted at us"},
        {"reason": "because"},
        {"comment": "Ann shouted at us"},
    ],
)
async def test_free_text_is_refused_without_repeating_it(dsr: Any, body: dict[str, Any]) -> None:
    request, _ = await silent(dsr)
    refused = await leave(dsr, request, **body)
    assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")
    assert "Ann" not in refused.text
    assert await dsr.events("system.left_outstanding") == []


async def test_only_officers_may_and_only_for_a_request_that_runs(dsr: Any) -> None:
    request, _ = await silent(dsr)
    for scope in ("website", "agent", "auditor", "operator", "system", "service"):
        assert (await leave(dsr, request, "somebody", scope)).status_code == 403
    assert (await leave(dsr, request, "Olivia Marsh")).status_code == 403  # a name that can stand in no record
    assert (await leave(dsr, uuid7())).status_code == 404
    assert (await leave(dsr, await dsr.ask())).status_code == 409


async def test_a_repeated_key_leaves_a_system_once(dsr: Any) -> None:
    request, _ = await silent(dsr)
    headers = dsr.headers("officer-01", "officer") | {"Idempotency-Key": "one"}
    for _ in range(2):
        answer = await dsr.http.post(f"/v1/requests/{request}/outstanding", json=NO_ANSWER, headers=headers)
        assert answer.status_code == 200
    assert len(await dsr.events("system.left_outstanding")) == 1


async def test_a_real_answer_while_the_request_runs_takes_its_place(dsr: Any, text_of: Any) -> None:
    request, link = await silent(dsr)
    await leave(dsr, request)
    await dsr.reply(request, "orders", "retained")
    await the_others_answer(dsr, request)
    (closed,) = await dsr.events("request.closed")
    assert "outstanding" not in closed
    page = text_of((await dsr.http.get(link)).text)
    assert "Your data is deleted" in page
    assert "Not confirmed" not in page


async def test_one_after_the_closing_takes_its_place_too(dsr: Any, text_of: Any) -> None:
    request, link = await silent(dsr)
    await leave(dsr, request)
    await the_others_answer(dsr, request)
    events = len(await dsr.everything())
    await dsr.reply(request, "orders")
    assert len(await dsr.everything()) == events
    replies = await dsr.pool.fetch("SELECT effect FROM dsr.replies WHERE system = 'orders'")
    assert [row["effect"] for row in replies] == ["final"]
    assert "Your data is deleted" in text_of((await dsr.http.get(link)).text)
    assert (await dsr.message(request, "completion")).json()["outstanding"] == []


async def test_nobody_is_reminded_told_or_asked_about_it_any_more_and_its_task_stays(dsr: Any) -> None:
    await dsr.customer()
    request, _ = await dsr.deleting()
    await dsr.reply(request, "orders")
    dsr.clock.advance(DUE)  # before any timer of theirs has fired
    await leave(dsr, request, systems=["marketing", "support"])
    await dsr.pass_time(timedelta(0))
    assert [each for each in await dsr.events("deletion.requested") if each["reminder"]] == []
    assert await dsr.events("system.escalated") == []
    await the_others_answer(dsr, request)
    assert await dsr.status(request) == "closed"
    for client, scope in (("marketing", "system"), ("agent-01", "agent")):
        answer = await dsr.http.get("/v1/tasks", headers=dsr.headers(client, scope))
        assert [task["request"] for task in answer.json()["tasks"]] == [str(request)]


async def test_a_system_that_comes_back_still_learns_whom_to_look_for_until_it_has_answered(
    dsr: Any, text_of: Any
) -> None:
    """The last mail does not end the address then; the answer does, or the 45th day."""
    for late in (False, True):
        request, link = await a_guest_without_the_word_of_orders(dsr, f"guest{late}@example.org")
        await dsr.pass_time(timedelta(days=44))
        assert (await identifiers(dsr, request)).status_code == 200
        assert (await identifiers(dsr, request, "marketing")).status_code == 410
        assert "we keep your mail address, sealed, until they have answered" in text_of((await dsr.http.get(link)).text)
        if late:
            await dsr.pass_time(timedelta(days=1))
        else:
            await dsr.reply(request, "orders", account=None)
            await dsr.pass_time(timedelta(0))
        assert (await identifiers(dsr, request)).status_code == 410
        assert "final_address" not in await dsr.held(request)


async def a_guest_without_the_word_of_orders(dsr: Any, email: str) -> tuple[UUID, str]:
    """A guest's request that was closed over orders, to the end of the last mail; and its link."""
    request, link = await dsr.deleting(email)
    for system in ("marketing", "support"):
        await dsr.reply(request, system, account=None)
    await dsr.pass_time(DUE)
    await leave(dsr, request)
    for system in ("consent", "notifier", "audit", "accounts"):
        await dsr.relay()
        await dsr.reply(request, system, account=None)
    await dsr.mail_ended("completion", request)
    return request, link


async def test_the_answer_alone_ends_the_address_once_the_last_mail_has_had_its_end(dsr: Any) -> None:
    """Within the days for which a last mail may be on its way."""
    request, _ = await a_guest_without_the_word_of_orders(dsr, "guest@example.org")
    assert "final_address" in await dsr.held(request)
    await dsr.reply(request, "orders", account=None)
    await dsr.pass_time(timedelta(0))
    assert "final_address" not in await dsr.held(request)


async def test_one_that_comes_back_and_fails_finds_its_task_again(dsr: Any) -> None:
    """Over HTTP: what it was asked once it has answered, and the answer was no end."""
    await dsr.customer()
    request, _ = await dsr.deleting()
    await dsr.reply(request, "orders")
    await dsr.reply(request, "support")
    await dsr.pass_time(DUE)
    await leave(dsr, request, systems=["marketing"])
    await the_others_answer(dsr, request)
    headers = dsr.headers("marketing", "system")
    [task] = (await dsr.http.get("/v1/tasks", headers=headers)).json()["tasks"]
    failed = {"outcome": "failed", "reason": "unavailable"}
    answer = await dsr.http.post(
        f"/v1/tasks/{task['id']}/reply", json=failed, headers=headers | {"Idempotency-Key": "no"}
    )
    assert answer.status_code == 202
    await dsr.relay()
    assert (await dsr.http.get("/v1/tasks", headers=headers)).json()["tasks"] == []
    await dsr.pass_time(timedelta(hours=1))
    [again] = (await dsr.http.get("/v1/tasks", headers=headers)).json()["tasks"]
    assert (again["id"], again["attempt"]) == (task["id"], task["attempt"] + 1)


async def identifiers(dsr: Any, request: UUID, system: str = "orders") -> Any:
    return await dsr.http.get(f"/v1/requests/{request}/identifiers", headers=dsr.headers(system, "system"))


async def test_where_accounts_is_outstanding_nothing_says_that_the_account_is_gone(dsr: Any, text_of: Any) -> None:
    request, link = await silent(dsr)
    await dsr.reply(request, "orders")
    await the_others_answer(dsr, request, "consent", "notifier", "audit")
    answer = await leave(dsr, request, systems=["accounts"], reason="technical_fault")
    assert answer.json()["status"] == "closed"
    page = text_of((await dsr.http.get(link)).text)
    assert "Your account is not deleted yet" in page
    assert "Customer accounts name and sign-in, mail address Not confirmed as deleted: a technical fault" in page
    mail = (await dsr.message(request, "completion")).json()
    assert [each["system"] for each in mail["outstanding"]] == ["accounts"]
