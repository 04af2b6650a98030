"""Requests that are nobody's become an account's when its state names their address, until the point of no return."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from chassis.consumer import decode
from chassis.testing import START, record, run_timers
from privacy_contracts.accounts import AccountDeleted, AccountStated
from privacy_contracts.fields import Personal

ANN = "ann@example.com"


async def received(dsr: Any) -> tuple[UUID, str]:
    request = await dsr.ask(ANN)
    return request, await dsr.link(request)


async def verified(dsr: Any) -> tuple[UUID, str]:
    request, link = await received(dsr)
    await dsr.press(link, "verify")
    return request, link


async def confirmed(dsr: Any) -> tuple[UUID, str]:
    request, link = await dsr.confirmed(ANN)
    return request, link


async def account_of(dsr: Any, request: UUID) -> str | None:
    account: str | None = await dsr.pool.fetchval("SELECT account FROM dsr.requests WHERE id = $1", request)
    return account


@pytest.mark.parametrize("reached", [received, verified, confirmed])
async def test_an_account_that_shows_up_takes_the_request_over(dsr: Any, reached: Any) -> None:
    request, link = await reached(dsr)
    status = await dsr.status(request)
    await dsr.customer("a1", "Ann@Example.com")
    assert (await account_of(dsr, request), await dsr.status(request)) == ("a1", status)
    assert "typed_address" in await dsr.held(request)  # the proof is of that, whatever the account says later
    (matched,) = await dsr.events("request.matched")
    assert matched == {"request": str(request), "account": "a1", "matched_at": "2026-11-20T12:00:00Z"}

    for action in ("verify", "confirm"):
        await dsr.press(link, action)  # the same link goes on; what was said already is said
    await dsr.pass_time(timedelta(days=3))
    assert {each["account"] for each in await dsr.events("deletion.requested")} == {"a1"}
    await dsr.answered_by_all(request, "a1")
    assert (await dsr.message(request, "completion")).json()["account"] == "a1"
    assert await dsr.pool.fetchval("SELECT count(*) FROM dsr.deleted_accounts WHERE id = 'a1'") == 1


async def test_a_new_address_of_an_old_account_matches_too(dsr: Any) -> None:
    await dsr.customer("a1", "old@example.com", 1)
    request, _ = await confirmed(dsr)
    await dsr.customer("a1", ANN, 2)
    assert await account_of(dsr, request) == "a1"


async def test_a_state_that_is_superseded_or_of_an_account_that_is_gone_matches_nothing(dsr: Any) -> None:
    request, _ = await confirmed(dsr)
    await dsr.customer("a1", "new@example.com", 5)
    await dsr.customer("a1", ANN, 4)
    await dsr.deliver(AccountDeleted(id="a2", version=2, deleted_at=dsr.clock.now()))
    await dsr.customer("a2", ANN, 3)
    assert await account_of(dsr, request) is None
    assert "typed_address" in await dsr.held(request)
    assert await dsr.events("request.matched") == []


async def test_from_the_point_of_no_return_it_stays_what_it_was(dsr: Any) -> None:
    request, _ = await dsr.deleting(ANN)
    await dsr.customer()
    assert await account_of(dsr, request) is None
    await dsr.answered_by_all(request, None)
    assert await dsr.pool.fetchval("SELECT count(*) FROM dsr.accounts") == 1
    assert await dsr.events("request.matched") == []


async def test_what_has_ended_is_matched_with_nobody(dsr: Any) -> None:
    withdrawn, link = await confirmed(dsr)
    await dsr.press(link, "withdraw")
    expired = await dsr.ask(ANN)
    await dsr.pass_time(timedelta(days=30))
    await dsr.customer()
    assert [await account_of(dsr, each) for each in (withdrawn, expired)] == [None, None]


async def test_a_state_that_was_missed_counts_at_the_point_of_no_return(dsr: Any) -> None:
    """The state and the request committed side by side and did not see each other; the start of the deletion does."""
    request, _ = await confirmed(dsr)
    fingerprint = await dsr.pool.fetchval("UPDATE dsr.requests SET fingerprint = NULL RETURNING fingerprint")
    assert fingerprint is None
    await dsr.customer()
    await dsr.pool.execute(
        "UPDATE dsr.requests SET fingerprint = (SELECT fingerprint FROM dsr.accounts WHERE id = 'a1')"
    )
    assert await dsr.events("request.matched") == []
    await dsr.pass_time(timedelta(days=3))
    assert [each["account"] for each in await dsr.events("request.matched")] == ["a1"]
    assert [each["account"] for each in await dsr.events("deletion.requested")] == ["a1"]
    assert await dsr.held(request) == {"final_address", "key"}


async def test_a_match_while_the_deletion_starts_ends_one_way_or_the_other(dsr: Any) -> None:
    for number in range(3):
        account, email = f"a{number}", f"p{number}@example.com"
        request, _ = await dsr.confirmed(email)
        dsr.clock.advance(timedelta(days=3))
        await asyncio.gather(dsr.customer(account, email), run_timers(dsr.app, dsr.runtime))
        asked = [each for each in await dsr.events("deletion.requested") if each["request"] == str(request)]
        matched = [each for each in await dsr.events("request.matched") if each["request"] == str(request)]
        assert len(asked) == 1
        outcome = asked[0].get("account"), len(matched), await account_of(dsr, request)
        assert outcome in [(account, 1, account), (None, 0, None)]
        assert await dsr.held(request) == {"final_address", "key"}


@pytest.mark.promise(67)
async def test_two_requests_become_the_accounts_and_the_second_still_ends(dsr: Any) -> None:
    """Whichever starts second finds the account buried: it has the address that it proved, and tells the person too."""
    first, _ = await confirmed(dsr)
    dsr.clock.advance(timedelta(days=1))
    second, link = await confirmed(dsr)
    await dsr.customer()
    assert [await account_of(dsr, each) for each in (first, second)] == ["a1", "a1"]
    await dsr.pass_time(timedelta(days=2))
    await dsr.answered_by_all(first, "a1")
    await dsr.pass_time(timedelta(days=1))
    assert (await dsr.status(first), await dsr.status(second)) == ("closed", "deleting")
    headers = dsr.headers("orders", "system")
    assert (await dsr.http.get(f"/v1/requests/{second}/identifiers", headers=headers)).status_code == 200
    await dsr.answered_by_all(second, "a1")
    assert (await dsr.message(second, "completion")).json()["to"] == ANN
    assert (await dsr.http.get(link)).status_code == 200
    await dsr.mail_ended("completion", second)
    assert await dsr.held(second) == set()


async def test_building_the_projection_again_matches_nothing(dsr: Any) -> None:
    request, _ = await confirmed(dsr)
    stated = AccountStated(id="a1", version=1, email=Personal(ANN), name=Personal("Ann"), registered_at=START)
    received = decode(record(stated), dsr.app.handlers.topics["accounts"], dsr.app.handlers.events)
    async with dsr.pool.acquire() as tx, tx.transaction():
        await dsr.app.handlers.apply(received, tx, again=True)
    assert await account_of(dsr, request) is None
    assert await dsr.events("request.matched") == []
