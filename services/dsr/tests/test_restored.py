"""What dsr once said brings its restored database forward."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from chassis.testing import START, outbox, restate
from local_stack.servers import Servers
from privacy_contracts import EVENTS, Event
from privacy_contracts.accounts import AccountDeleted
from privacy_contracts.requests import RequestClosed, RequestMatched

from .conftest import Service

Forget = Callable[[], Awaitable[None]]


async def said(dsr: Service, request: UUID) -> list[Event]:
    """Every event about a request so far."""
    about = [each for each in await dsr.everything() if each.topic == "requests" and each.key == str(request)]
    return [EVENTS[each.type].model_validate(each.body) for each in about]


@pytest.fixture
def forget(dsr: Service, servers: Servers) -> Forget:
    """Have the database of before: nothing is known of any request, nor of an account's end."""

    async def forget() -> None:
        await dsr.relay()
        name = await dsr.pool.fetchval("SELECT current_database()")
        connection = await asyncpg.connect(servers.postgres.url, database=name)
        try:
            await connection.execute("DELETE FROM dsr.tasks; DELETE FROM dsr.links; DELETE FROM dsr.requests")
            await connection.execute("DELETE FROM dsr.deleted_accounts; DELETE FROM chassis.timers")
        finally:
            await connection.close()

    return forget


async def test_who_took_it_back_is_not_deleted(dsr: Service) -> None:
    await dsr.customer()
    request, link = await dsr.confirmed()
    await dsr.press(link, "withdraw")
    *_, withdrawn = await said(dsr, request)
    await dsr.pool.execute("UPDATE dsr.requests SET status = 'confirmed', closed_at = NULL")
    assert await restate(dsr.app, dsr.runtime, withdrawn) == [True]
    await dsr.pass_time(timedelta(days=3))
    assert await dsr.status(request) == "withdrawn"
    assert await dsr.events("deletion.requested") == []


async def test_a_guests_cooling_off_is_again_of_the_kind_that_release_1_leaves_alone(
    dsr: Service, forget: Forget
) -> None:
    request, _ = await dsr.confirmed("guest@example.org")
    events = await said(dsr, request)
    await forget()
    await restate(dsr.app, dsr.runtime, *events)
    kinds = await dsr.pool.fetch("SELECT kind FROM chassis.timers WHERE kind LIKE '%cooling_off'")
    assert [row["kind"] for row in kinds] == ["guest_cooling_off"]


async def test_a_request_of_which_nothing_is_left_goes_on_where_it_was(dsr: Service, forget: Forget) -> None:
    """Behind the point of no return: nothing is said again before an answer comes, and the address is held."""
    await dsr.customer()
    request, _ = await dsr.deleting()
    events = await said(dsr, request)
    await forget()
    assert await restate(dsr.app, dsr.runtime, *events) == [False, True, True, True]
    assert {each.type for each in await outbox(dsr.pool)} == {"personal_data.accessed"}
    assert await dsr.status(request) == "deleting"
    assert (await dsr.tasks(request))["orders"] == "asked"
    assert "final_address" in await dsr.held(request)
    await dsr.answered_by_all(request)


async def test_an_answer_about_a_closed_account_counts_though_it_is_read_before_the_closing(
    dsr: Service, forget: Forget
) -> None:
    await dsr.customer()
    closed = AccountDeleted(id="a1", version=2, deleted_at=START)
    await dsr.deliver(closed)
    (request,) = [row["id"] for row in await dsr.pool.fetch("SELECT id FROM dsr.requests")]
    events = await said(dsr, request)
    await forget()
    await dsr.customer()
    assert await restate(dsr.app, dsr.runtime, *events) == [False, True]
    await dsr.reply(request, "orders")
    assert (await dsr.tasks(request))["orders"] == "done"
    await dsr.deliver(closed)
    assert (await dsr.tasks(request))["orders"] == "done"
    assert len([each for each in await dsr.everything() if each.type == "deletion.requested"]) == 1


async def test_a_request_that_was_only_received_runs_out(dsr: Service, forget: Forget) -> None:
    request = await dsr.ask("nobody@example.com")
    events = await said(dsr, request)
    await forget()
    assert await restate(dsr.app, dsr.runtime, *events) == [False]
    await dsr.pass_time(timedelta(days=31))
    assert await dsr.status(request) == "closed"


async def test_the_account_that_was_found_and_a_denial_are_there_again(dsr: Service) -> None:
    request = await dsr.ask("nobody@example.com")
    events = [
        RequestMatched(request=request, account="a1", matched_at=START),
        RequestClosed(request=request, account="a1", outcome="not_verified", closed_at=START),
        RequestClosed(request=uuid4(), outcome="not_verified", closed_at=START),
    ]
    assert await restate(dsr.app, dsr.runtime, *events) == [True, True, False]
    row = await dsr.pool.fetchrow("SELECT account, status, outcome FROM dsr.requests")
    assert tuple(row or ()) == ("a1", "closed", "not_verified")
