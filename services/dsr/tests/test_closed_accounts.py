"""An account is closed in its own system: the others are asked, and the person is told where there is an address."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from chassis.consumer import decode
from chassis.testing import START, record
from privacy_contracts.accounts import AccountDeleted
from privacy_contracts.notices import NoticeFailed, NoticeSent

OTHERS = ("orders", "marketing", "support", "consent", "notifier", "audit")


def gone(version: int = 2, account: str = "a1") -> AccountDeleted:
    return AccountDeleted(id=account, version=version, deleted_at=START)


async def opened(dsr: Any, *events: AccountDeleted) -> UUID:
    """The one request that is open then."""
    await dsr.deliver(*(events or [gone()]))
    (request,) = await dsr.pool.fetch("SELECT id FROM dsr.requests WHERE status = 'deleting'")
    found: UUID = request["id"]
    return found


async def all_answered(dsr: Any, request: UUID) -> None:
    for system in OTHERS:
        await dsr.reply(request, system)
        await dsr.relay()
    assert await dsr.status(request) == "closed"


async def kinds(dsr: Any) -> list[str]:
    return [each.type for each in await dsr.everything() if each.topic == "requests"]


@pytest.mark.promise(67)
async def test_a_request_is_opened_and_every_other_system_asked(dsr: Any, text_of: Any) -> None:
    await dsr.customer()
    request = await opened(dsr)
    (received,) = await dsr.events("request.received")
    assert (received["channel"], received["account"]) == ("profile", "a1")
    (asked,) = await dsr.events("deletion.requested")
    assert asked["account_closed_at"]
    assert await dsr.pool.fetchval("SELECT count(*) FROM dsr.accounts") == 0
    assert (await dsr.message(request)).status_code == 410  # nobody has to confirm anything

    await all_answered(dsr, request)
    assert await kinds(dsr) == ["request.received", *["deletion.requested"] * 2, "request.closed"]
    assert "accounts" not in await dsr.tasks(request)
    mail = (await dsr.message(request, "completion")).json()
    assert (mail["to"], mail["account_closed"], mail["outstanding"]) == ("ann@example.com", True, [])
    page = text_of((await dsr.http.get(await dsr.link(request, "completion"))).text)
    assert "Your data is deleted" in page
    assert "Your account was closed on 20 November 2026, so there was nothing to confirm" in page
    assert "Account closed 20 Nov 2026" in page
    assert "Verified" not in page
    state = await dsr.http.get(f"/v1/requests/{request}", headers=dsr.headers("website", "website"))
    assert (state.json()["status"], state.json()["account_closed_at"][:10]) == ("closed", "2026-11-20")


async def test_the_clock_runs_from_when_the_account_was_closed(dsr: Any) -> None:
    await dsr.customer()
    dsr.clock.advance(timedelta(days=2))
    request = await opened(dsr)
    row = await dsr.pool.fetchrow("SELECT received_at, account_closed_at, started_at FROM dsr.requests")
    assert (row["received_at"], row["account_closed_at"]) == (START, START)
    assert row["started_at"] == START + timedelta(days=2)
    assert (await dsr.tasks(request))["orders"] == "asked"


async def test_the_event_again_opens_nothing_and_neither_does_a_replay(dsr: Any) -> None:
    await dsr.customer()
    request = await opened(dsr, gone(), gone(), gone(version=3))
    await all_answered(dsr, request)
    await dsr.deliver(gone())
    for event in (gone(), gone(account="a9")):  # even of an account that left no tombstone
        received = decode(record(event), dsr.app.handlers.topics["accounts"], dsr.app.handlers.events)
        async with dsr.pool.acquire() as tx, tx.transaction():
            await dsr.app.handlers.apply(received, tx, again=True)
    assert await dsr.pool.fetchval("SELECT count(*) FROM dsr.requests") == 1


async def test_the_end_that_a_deletion_brings_about_opens_nothing(dsr: Any) -> None:
    """The account's end is heard before the last answer, or after it."""
    await dsr.customer()
    request, _ = await dsr.deleting()
    await dsr.deliver(gone())
    assert await dsr.pool.fetchval("SELECT count(*) FROM dsr.requests") == 1
    assert (await dsr.tasks(request))["accounts"] == "waiting"
    await dsr.customer("a2", "ben@example.com")
    await dsr.closed("ben@example.com", "a2")
    await dsr.deliver(gone(account="a2"))
    assert await dsr.pool.fetchval("SELECT count(*) FROM dsr.requests") == 2


@pytest.mark.parametrize("upto", ["received", "verified", "confirmed"])
async def test_an_open_request_of_the_account_starts_at_once(dsr: Any, upto: str) -> None:
    await dsr.customer()
    request = await dsr.ask()
    link = await dsr.link(request)
    for action in {"received": (), "verified": ("verify",), "confirmed": ("verify", "confirm")}[upto]:
        await dsr.press(link, action)
    before = await kinds(dsr)
    assert await opened(dsr) == request
    assert await kinds(dsr) == [*before, "deletion.requested"]
    assert (await dsr.press(link, "withdraw")).status_code == 409
    await dsr.pass_time(timedelta(days=31))  # neither the cooling-off nor the expiry does anything any more
    assert len(await dsr.events("request.verified")) == int(upto != "received")
    assert len([each for each in await dsr.events("deletion.requested") if not each["reminder"]]) == 1
    await all_answered(dsr, request)
    assert (await dsr.message(request, "completion")).json()["to"] == "ann@example.com"


async def test_an_account_that_was_never_known_here_is_asked_for_and_nobody_can_be_told(dsr: Any) -> None:
    request = await opened(dsr)
    await all_answered(dsr, request)
    assert (await dsr.message(request, "completion")).status_code == 410
    end = NoticeFailed(
        notice=UUID(int=1), template="completion", request=request, reason="no_address", unanswered=0, failed_at=START
    )
    await dsr.deliver(end)
    assert await dsr.pool.fetchval("SELECT count(*) FROM keys.owners") == 0


async def test_no_trace_of_the_address_is_left_once_the_last_mail_is_sent(dsr: Any) -> None:
    await dsr.customer()
    request = await opened(dsr)
    assert [row["owner"] for row in await dsr.pool.fetch("SELECT owner FROM keys.owners")] == [f"request/{request}"]
    await all_answered(dsr, request)
    await dsr.deliver(NoticeSent(notice=UUID(int=1), template="completion", request=request, sent_at=START))
    assert await dsr.pool.fetchval("SELECT count(*) FROM keys.owners") == 0
