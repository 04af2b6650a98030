"""Somebody without an account, from the first word to the last mail; and what stays when it stops on the way."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

GUEST = "guest@example.org"
PROVEN = {"typed_address", "fingerprint", "mailbox", "key"}


async def identifiers(dsr: Any, request: UUID, client: str) -> Any:
    headers = dsr.headers(client, "system")
    return (await dsr.http.get(f"/v1/requests/{request}/identifiers", headers=headers)).json()


@pytest.mark.promise(67)
async def test_a_deletion_goes_through_every_system_without_an_account(dsr: Any) -> None:
    request, link = await dsr.confirmed(GUEST)
    assert await dsr.held(request) == PROVEN
    await dsr.pass_time(timedelta(days=3))
    assert await dsr.held(request) == {"final_address", "key"}  # one copy, for the systems and the last mail

    [task] = (await dsr.http.get("/v1/tasks", headers=dsr.headers("marketing", "system"))).json()["tasks"]
    assert (task["request"], task["account"]) == (str(request), None)
    assert await identifiers(dsr, request, "marketing") == {"identifiers": [{"kind": "email", "value": GUEST}]}
    await dsr.http.post(
        f"/v1/tasks/{task['id']}/reply", json={"outcome": "done"}, headers=dsr.headers("marketing", "system")
    )
    await dsr.relay()
    assert (await dsr.tasks(request))["marketing"] == "done"

    await dsr.answered_by_all(request, None)
    last = (await dsr.message(request, "completion")).json()
    assert (last["template"], last["to"], last["account"]) == ("completion", GUEST, None)
    assert last["systems"] == ["orders", "marketing", "support", "consent", "notifier", "dsr", "audit", "accounts"]
    await dsr.mail_ended("completion", request)
    assert await dsr.held(request) == set()
    assert (await dsr.http.get(link)).status_code == 200
    said = [each for each in await dsr.everything() if each.topic in ("requests", "replies.dsr", "replies.marketing")]
    assert {each.subject for each in said} == {f"request/{request}"}
    assert not [each for each in await dsr.everything() if "account" in each.body]
    assert await dsr.pool.fetchval("SELECT count(*) FROM dsr.deleted_accounts") == 0


async def test_a_reply_that_names_an_account_answers_for_nobody_without_one(dsr: Any) -> None:
    await dsr.customer()
    request, _ = await dsr.deleting(GUEST)
    await dsr.reply(request, "orders", account="a1")
    assert (await dsr.tasks(request))["orders"] == "asked"
    known, _ = await dsr.deleting()
    await dsr.reply(known, "orders", account=None)
    assert (await dsr.tasks(known))["orders"] == "asked"


async def test_the_last_address_goes_on_the_seventh_day_when_no_mail_ends(dsr: Any) -> None:
    request, _ = await dsr.deleting(GUEST)
    await dsr.answered_by_all(request, None)
    await dsr.pass_time(timedelta(days=6, hours=23))
    assert await dsr.held(request) == {"final_address", "key"}
    await dsr.pass_time(timedelta(hours=1))
    assert await dsr.held(request) == set()


async def asked(dsr: Any) -> tuple[UUID, str]:
    request = await dsr.ask(GUEST)
    return request, await dsr.link(request)


async def verified(dsr: Any) -> tuple[UUID, str]:
    request, link = await asked(dsr)
    await dsr.press(link, "verify")
    return request, link


async def confirmed(dsr: Any) -> tuple[UUID, str]:
    request, link = await dsr.confirmed(GUEST)
    return request, link


@pytest.mark.parametrize("reached", [asked, verified, confirmed])
async def test_taking_it_back_leaves_nothing(dsr: Any, reached: Any) -> None:
    request, link = await reached(dsr)
    assert await dsr.held(request) == PROVEN
    assert (await dsr.press(link, "withdraw")).status_code == 303
    assert await dsr.status(request) == "withdrawn"
    assert await dsr.held(request) == set()
    await dsr.pass_time(timedelta(days=60))
    assert await dsr.events("deletion.requested") == []


@pytest.mark.parametrize(("reached", "outcome"), [(asked, "not_verified"), (verified, "not_confirmed")])
async def test_silence_leaves_nothing(dsr: Any, reached: Any, outcome: str) -> None:
    request, link = await reached(dsr)
    await dsr.pass_time(timedelta(days=30))
    (closed,) = await dsr.events("request.closed")
    assert (closed["outcome"], closed.get("account")) == (outcome, None)
    assert await dsr.held(request) == set()
    await dsr.press(link, "confirm")
    assert await dsr.status(request) == "closed"


async def test_after_the_point_of_no_return_it_is_too_late(dsr: Any) -> None:
    request, link = await dsr.deleting(GUEST)
    assert (await dsr.press(link, "withdraw")).status_code == 409
    assert await dsr.status(request) == "deleting"


async def test_whoever_types_the_address_of_another_brings_about_one_mail_and_no_more(dsr: Any) -> None:
    """Without the link nothing opens; wrong ones are counted as ever; the hour's limit holds for the mailbox."""
    requests = [await dsr.ask(f"guest+{number}@example.org") for number in range(4)]
    assert [(await dsr.message(each)).status_code for each in requests] == [200, 200, 200, 410]
    for number in range(21):
        assert (await dsr.press(f"/r/{requests[0]}/guess-{number}", "verify")).status_code == 404
    assert await dsr.status(requests[0]) == "received"
    found = await dsr.http.get("/v1/findings", headers=dsr.headers("operator-01", "operator"))
    assert {each["scope"] for each in found.json()["findings"]} == {"link", "network"}


async def test_two_requests_of_one_person_both_come_to_their_end(dsr: Any) -> None:
    for request in [(await dsr.deleting(GUEST))[0] for _ in range(2)]:
        await dsr.answered_by_all(request, None)
        assert (await dsr.message(request, "completion")).json()["to"] == GUEST


async def test_a_deletion_of_nobody_knows_whom_does_not_start(dsr: Any, text_of: Any) -> None:
    """Given a proven address that is gone, as after a restore, then no system is asked to look for nobody."""
    request, link = await dsr.confirmed(GUEST)
    async with dsr.pool.acquire() as tx, tx.transaction():
        await dsr.runtime.sealing.erase(tx, f"request/{request}")
    await dsr.pass_time(timedelta(days=3))
    (closed,) = await dsr.events("request.closed")
    assert closed["outcome"] == "not_verified"
    assert await dsr.events("deletion.requested") == []
    assert await dsr.held(request) == set()
    page = text_of((await dsr.http.get(link)).text)
    assert "You confirmed it, but by a fault of ours" in page
    assert "You did not confirm" not in page


async def test_a_guests_cooling_off_is_of_a_kind_that_release_1_leaves_alone(dsr: Any) -> None:
    await dsr.confirmed(GUEST)
    kinds = await dsr.pool.fetch("SELECT kind FROM chassis.timers WHERE kind LIKE '%cooling_off'")
    assert [row["kind"] for row in kinds] == ["guest_cooling_off"]
