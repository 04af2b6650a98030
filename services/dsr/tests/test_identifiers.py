"""Whom a deletion is about, for the systems that are asked: who gets it, when, and what stays of it on record."""

import logging
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from uuid_utils.compat import uuid7

ANN, GUEST = "ann@example.com", "Guest@Example.org"
KNOWN = [{"kind": "email", "value": ANN}]


async def fetch(dsr: Any, request: UUID, client: str = "orders", scope: str = "system") -> httpx.Response:
    answer: httpx.Response = await dsr.http.get(
        f"/v1/requests/{request}/identifiers", headers=dsr.headers(client, scope)
    )
    return answer


async def fetched(dsr: Any) -> list[tuple[str, str]]:
    """Which systems are on record as having read about whom."""
    return [
        (each["actor"], each["subject_id"])
        for each in await dsr.events("personal_data.accessed")
        if each["actor"].startswith("system/")
    ]


@pytest.mark.parametrize("client", ["orders", "marketing"])  # one on Kafka, one over HTTP
async def test_an_asked_system_learns_the_address_of_an_account_and_is_recorded(dsr: Any, client: str) -> None:
    await dsr.customer()
    request, _ = await dsr.deleting()
    answer = await fetch(dsr, request, client)
    assert (answer.status_code, answer.json()) == (200, {"identifiers": KNOWN})
    assert answer.headers["cache-control"] == "no-store"
    recorded = [each for each in await dsr.events("personal_data.accessed") if each["actor"] == f"system/{client}"]
    assert [
        {name: each[name] for name in ("system", "action", "purpose", "categories", "subject_id", "case")}
        for each in recorded
    ] == [
        {
            "system": "dsr",
            "action": "view",
            "purpose": "request",
            "categories": ["contact"],
            "subject_id": "account/a1",
            "case": str(request),
        }
    ]


async def test_the_address_of_somebody_without_an_account_is_the_one_that_was_proven(dsr: Any) -> None:
    request, _ = await dsr.deleting(GUEST)
    answer = await fetch(dsr, request)
    assert (answer.status_code, answer.json()) == (200, {"identifiers": [{"kind": "email", "value": GUEST}]})
    assert await fetched(dsr) == [("system/orders", f"request/{request}")]


async def test_each_fetch_is_a_further_access(dsr: Any) -> None:
    await dsr.customer()
    request, _ = await dsr.deleting()
    for client in ("orders", "orders", "marketing"):
        assert (await fetch(dsr, request, client)).status_code == 200
    assert [actor for actor, _ in await fetched(dsr)] == ["system/orders", "system/orders", "system/marketing"]


async def test_a_system_that_failed_may_look_again(dsr: Any) -> None:
    await dsr.customer()
    request, _ = await dsr.deleting()
    await dsr.reply(request, "orders", "failed")
    assert (await fetch(dsr, request)).json() == {"identifiers": KNOWN}
    await dsr.pass_time(timedelta(hours=1))
    assert (await fetch(dsr, request)).json() == {"identifiers": KNOWN}


@pytest.mark.parametrize("outcome", ["done", "retained", "not_found"])
async def test_after_its_final_answer_a_system_learns_nothing_more(dsr: Any, outcome: str) -> None:
    await dsr.customer()
    request, _ = await dsr.deleting()
    await dsr.reply(request, "orders", outcome)
    answer = await fetch(dsr, request)
    assert (answer.status_code, answer.json()["type"]) == (410, "/problems/identifiers-gone")
    assert ANN not in answer.text
    assert (await fetch(dsr, request, "marketing")).status_code == 200  # it has not answered yet
    assert await fetched(dsr) == [("system/marketing", "account/a1")]


async def test_staff_learn_it_while_a_system_that_is_paper_is_asked_and_are_recorded_themselves(dsr: Any) -> None:
    await dsr.customer()
    request, _ = await dsr.deleting()
    assert (await fetch(dsr, request, "agent-01", "agent")).json() == {"identifiers": KNOWN}
    actors = [each["actor"] for each in await dsr.events("personal_data.accessed")]
    assert actors[-1] == "staff/agent-01"
    await dsr.reply(request, "support")
    assert (await fetch(dsr, request, "agent-01", "agent")).status_code == 410
    assert (await fetch(dsr, await dsr.ask(), "agent-01", "agent")).status_code == 404


async def test_after_the_closing_nobody_learns_anything(dsr: Any) -> None:
    await dsr.customer()
    request, _ = await dsr.closed()
    for client in ("orders", "marketing", "accounts"):
        assert (await fetch(dsr, request, client)).status_code == 410
    assert await fetched(dsr) == []


async def test_an_address_that_is_destroyed_is_gone_for_those_who_are_asked_too(dsr: Any) -> None:
    await dsr.customer()
    request, _ = await dsr.deleting()
    async with dsr.pool.acquire() as tx, tx.transaction():
        await dsr.runtime.sealing.erase(tx, f"request/{request}")  # as after a restore, by the ledger of erasures
    assert (await fetch(dsr, request)).status_code == 410
    assert await fetched(dsr) == []


async def test_before_the_point_of_no_return_nobody_learns_anything(dsr: Any) -> None:
    await dsr.customer()
    received = await dsr.ask()
    verified = await dsr.ask()
    await dsr.press(await dsr.link(verified), "verify")
    confirmed, _ = await dsr.confirmed()
    for request in (received, verified, confirmed, uuid7()):
        answer = await fetch(dsr, request)
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-asked")
    assert await fetched(dsr) == []


async def test_not_to_be_asked_looks_like_no_route_that_is_not_there(dsr: Any) -> None:
    """So a system that has the wrong address of this service takes no other's 404 for its word."""
    elsewhere = await dsr.http.get(f"/v2/requests/{uuid7()}/identifiers", headers=dsr.headers("orders", "system"))
    assert (elsewhere.status_code, elsewhere.json()["type"]) == (404, "/problems/not-found")


async def test_nobody_who_is_not_asked_learns_anything(dsr: Any) -> None:
    """One that is no system, one whose stage comes later, and a person's own request without its tasks."""
    await dsr.customer()
    request, _ = await dsr.deleting()
    for client in ("warehouse", "accounts", "website"):
        answer = await fetch(dsr, request, client)
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-asked")
    assert await fetched(dsr) == []


@pytest.mark.parametrize("scope", ["service", "website", "officer", "auditor", "operator", ""])
async def test_no_other_scope_opens_it(dsr: Any, scope: str) -> None:
    await dsr.customer()
    request, _ = await dsr.deleting()
    assert (await fetch(dsr, request, "orders", scope)).status_code == 403
    assert (await dsr.http.get(f"/v1/requests/{request}/identifiers")).status_code == 401
    assert await fetched(dsr) == []


async def test_an_answer_on_its_way_does_not_close_the_window_before_it_is_recorded(dsr: Any) -> None:
    await dsr.customer()
    request, _ = await dsr.deleting()
    headers = dsr.headers("marketing", "system")
    [task] = (await dsr.http.get("/v1/tasks", headers=headers)).json()["tasks"]
    await dsr.http.post(f"/v1/tasks/{task['id']}/reply", json={"outcome": "done"}, headers=headers)
    assert (await fetch(dsr, request, "marketing")).status_code == 200
    await dsr.relay()
    assert (await fetch(dsr, request, "marketing")).status_code == 410


async def test_nothing_of_it_is_logged(dsr: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    request, _ = await dsr.deleting("guest.unmistakable@example.com")
    assert (await fetch(dsr, request)).status_code == 200
    assert not [each for each in caplog.records if "unmistakable" in each.getMessage()]
