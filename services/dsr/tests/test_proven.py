"""Systems look for an address that the person proved, and for no other, whatever an account says meanwhile."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from chassis.testing import START
from privacy_contracts.accounts import AccountDeleted

MINE, VICTIM = "mallory@example.org", "victim@example.com"
GONE = (410, "/problems/identifiers-gone")


async def fetched(dsr: Any, request: UUID, client: str = "orders") -> httpx.Response:
    answer: httpx.Response = await dsr.http.get(
        f"/v1/requests/{request}/identifiers", headers=dsr.headers(client, "system")
    )
    return answer


async def learns_nothing(dsr: Any, request: UUID) -> bool:
    answer = await fetched(dsr, request)
    return (answer.status_code, answer.json()["type"]) == GONE and VICTIM not in answer.text


async def test_an_address_that_the_account_took_after_the_proof_is_told_to_no_system(dsr: Any) -> None:
    """Else whoever confirms from the own mailbox has what is anybody else's deleted, as a guest's orders."""
    await dsr.customer("m1", MINE)
    request, _ = await dsr.confirmed(MINE)
    await dsr.customer("m1", VICTIM, version=2)
    await dsr.pass_time(timedelta(days=3))
    assert [each["account"] for each in await dsr.events("deletion.requested")] == ["m1"]
    assert await learns_nothing(dsr, request)


async def test_an_account_that_is_closed_has_no_address_looked_for_that_nobody_proved(dsr: Any) -> None:
    await dsr.customer("m1", VICTIM)
    await dsr.deliver(AccountDeleted(id="m1", version=2, deleted_at=START))
    request = await dsr.pool.fetchval("SELECT id FROM dsr.requests")
    assert await learns_nothing(dsr, request)


@pytest.mark.parametrize("pressed", [(), ("verify",)])
async def test_of_a_closed_account_the_address_is_told_that_its_open_request_proved(
    dsr: Any, pressed: tuple[str, ...]
) -> None:
    await dsr.customer("m1", MINE)
    request = await dsr.ask(MINE)
    link = await dsr.link(request)
    for action in pressed:
        await dsr.press(link, action)
    await dsr.deliver(AccountDeleted(id="m1", version=2, deleted_at=START))
    assert (await fetched(dsr, request)).status_code == (200 if pressed else 410)


async def test_links_that_went_to_two_addresses_prove_neither(dsr: Any) -> None:
    """The first mail was put off by its server; the repeat goes to where the account is known by then."""
    await dsr.customer("m1", VICTIM)
    request = await dsr.ask(VICTIM)
    await dsr.link(request)
    await dsr.customer("m1", MINE, version=2)
    link = await dsr.link(request)
    for action in ("verify", "confirm"):
        await dsr.press(link, action)
    await dsr.customer("m1", VICTIM, version=3)
    await dsr.pass_time(timedelta(days=3))
    assert await learns_nothing(dsr, request)


async def test_a_proof_stays_good_for_the_account_that_took_the_request_over(dsr: Any) -> None:
    request, _ = await dsr.confirmed("Ann@example.com")
    await dsr.customer("a1", "ann@example.com")
    await dsr.pass_time(timedelta(days=3))
    assert (await fetched(dsr, request)).json()["identifiers"] == [{"kind": "email", "value": "Ann@example.com"}]


async def test_an_account_that_took_a_request_over_and_then_another_address_changes_nothing_about_whom_it_is(
    dsr: Any,
) -> None:
    """Else whoever opens an account with the address of another keeps that one's deletion and last mail away."""
    request, _ = await dsr.confirmed(VICTIM)
    await dsr.customer("m1", VICTIM)
    await dsr.customer("m1", MINE, version=2)
    await dsr.pass_time(timedelta(days=3))
    assert (await fetched(dsr, request)).json()["identifiers"] == [{"kind": "email", "value": VICTIM}]
    await dsr.answered_by_all(request, "m1")
    assert (await dsr.message(request, "completion")).json()["to"] == VICTIM
    await dsr.mail_ended("completion", request)
    assert await dsr.held(request) == set()


async def test_a_further_link_goes_to_whoever_had_the_first(dsr: Any) -> None:
    """Else whoever opens an account with the address of another could take that one's request back."""
    request = await dsr.ask(VICTIM)
    await dsr.link(request)
    await dsr.customer("m1", VICTIM)
    await dsr.customer("m1", MINE, version=2)
    again = (await dsr.message(request)).json()
    assert (again["template"], again["to"]) == ("verification", VICTIM)


async def test_what_was_typed_and_never_proven_is_no_place_for_an_accounts_last_mail(dsr: Any) -> None:
    request = await dsr.ask(VICTIM)
    await dsr.link(request)
    await dsr.customer("m1", VICTIM)
    await dsr.customer("m1", MINE, version=2)
    await dsr.deliver(AccountDeleted(id="m1", version=3, deleted_at=START))
    assert await learns_nothing(dsr, request)
    assert "typed_address" not in await dsr.held(request)
    for system in ("orders", "marketing", "support", "consent", "notifier", "audit"):
        await dsr.reply(request, system, account="m1")
        await dsr.relay()
    assert (await dsr.message(request, "completion")).json()["to"] == MINE


@pytest.mark.parametrize("end", ["withdraw", "expire", "start", "the account"])
async def test_the_hash_by_which_it_is_seen_goes_when_it_has_no_use(dsr: Any, end: str) -> None:
    await dsr.customer("a1", MINE)
    request = await dsr.ask(MINE)
    link = await dsr.link(request)
    assert await dsr.held(request) == {"fingerprint"}
    match end:
        case "withdraw":
            await dsr.press(link, "withdraw")
        case "expire":
            await dsr.pass_time(timedelta(days=30))
        case "start":
            for action in ("verify", "confirm"):
                await dsr.press(link, action)
            await dsr.pass_time(timedelta(days=3))
        case "the account":
            other, _ = await dsr.deleting(MINE)
            await dsr.answered_by_all(other, "a1")
    assert "fingerprint" not in await dsr.held(request)
