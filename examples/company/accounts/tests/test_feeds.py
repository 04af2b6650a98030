"""Feeds to an advertising partner: consent decides about each account, and the record commits with the delivery."""

from datetime import timedelta
from typing import Any

import pytest

from chassis.database import transaction
from chassis.testing import deliver, run_jobs

from .conftest import Accounts
from .test_deletions import requested


async def grant(accounts: Accounts, *emails: str, **reasons: str) -> list[str]:
    """Accounts whose owners agreed, and one for each other reason."""
    granted = [await accounts.registered(email) for email in emails]
    others = {reason: await accounts.registered(f"{reason}@example.com") for reason in reasons}
    for account in granted:
        accounts.consent.answers[f"account/{account}"] = (200, "granted")
    for reason, account in others.items():
        accounts.consent.answers[f"account/{account}"] = (200, reason)
    return granted + list(others.values())


@pytest.mark.promise(50)
@pytest.mark.promise(53)
async def test_one_disclosed_and_two_refused_each_with_its_reason(accounts: Accounts) -> None:
    ann, bob, cleo = await grant(accounts, "ann@example.com", withdrawn="", no_choice="")
    started = (await accounts.feed()).json()
    assert started["accounts"] == 3
    await run_jobs(accounts.app, accounts.runtime)
    state = await accounts.feed_state(started["id"])
    assert (state["pending"], state["disclosed"]) == (0, 1)
    assert state["refused"] == {"no_choice": 1, "withdrawn": 1}
    assert state["written_at"] is not None
    assert accounts.file(started["id"]).splitlines() == ["name,email", "Ann,ann@example.com"]
    [told] = await accounts.emitted("personal_data.disclosed")
    assert (told.subject, told.body["case"], told.body["recipient"]) == (f"account/{ann}", started["id"], "adco")
    kept = {event.subject: event.body["reason"] for event in await accounts.emitted("disclosure.refused")}
    assert kept == {f"account/{bob}": "withdrawn", f"account/{cleo}": "no_choice"}
    assert {each["subject"] for each in accounts.consent.asked} == {f"account/{each}" for each in (ann, bob, cleo)}


async def test_whose_address_went_into_the_file_is_recorded(accounts: Accounts) -> None:
    ann, _ = await grant(accounts, "ann@example.com", refused="")
    feed = (await accounts.feed()).json()["id"]
    await run_jobs(accounts.app, accounts.runtime)
    [read] = await accounts.emitted("personal_data.accessed")
    assert (read.subject, read.body["purpose"], read.body["case"]) == (f"account/{ann}", "feed", feed)


async def test_while_consent_is_away_or_delayed_nothing_is_disclosed_and_the_feed_goes_on_later(
    accounts: Accounts,
) -> None:
    [ann] = await grant(accounts, "ann@example.com")
    accounts.consent.answers[f"account/{ann}"] = (503, "granted")
    feed = (await accounts.feed()).json()["id"]
    await run_jobs(accounts.app, accounts.runtime)
    assert (await accounts.feed_state(feed))["pending"] == 1
    assert await accounts.emitted("personal_data.disclosed") == []
    accounts.consent.answers[f"account/{ann}"] = (200, "granted")
    await run_jobs(accounts.app, accounts.runtime)
    assert (await accounts.feed_state(feed))["disclosed"] == 1


async def test_without_an_answer_in_a_day_nothing_is_disclosed(accounts: Accounts) -> None:
    [ann] = await grant(accounts, "ann@example.com")
    accounts.consent.answers[f"account/{ann}"] = (503, "granted")
    feed = (await accounts.feed()).json()["id"]
    async with transaction(accounts.runtime.pool) as tx:
        await tx.execute("UPDATE chassis.jobs SET deadline = now() - $1::interval", timedelta(seconds=1))
    await run_jobs(accounts.app, accounts.runtime)
    state = await accounts.feed_state(feed)
    assert (state["pending"], state["disclosed"], state["refused"]) == (0, 0, {"unanswered": 1})
    assert accounts.file(feed) == "name,email\n"


async def test_a_feed_without_accounts_is_an_empty_file(accounts: Accounts) -> None:
    feed = (await accounts.feed()).json()["id"]
    await run_jobs(accounts.app, accounts.runtime)
    assert accounts.file(feed) == "name,email\n"


async def test_a_repeated_order_starts_one_feed(accounts: Accounts) -> None:
    await grant(accounts, "ann@example.com")
    first, second = await accounts.feed(key="june"), await accounts.feed(key="june")
    assert first.json() == second.json()
    await run_jobs(accounts.app, accounts.runtime)
    assert len(await accounts.emitted("personal_data.disclosed")) == 1


@pytest.mark.promise(67)
async def test_a_deleted_account_leaves_the_partners_file(accounts: Accounts) -> None:
    ann, _ = await grant(accounts, "ann@example.com", "bob@example.com")
    feed = (await accounts.feed()).json()["id"]
    await run_jobs(accounts.app, accounts.runtime)
    assert "ann@example.com" in accounts.file(feed)
    await deliver(accounts.app, accounts.runtime, requested(ann))
    await run_jobs(accounts.app, accounts.runtime)
    assert accounts.file(feed).splitlines() == ["name,email", "Ann,bob@example.com"]


@pytest.mark.promise(50)
async def test_who_withdrew_is_not_in_the_file_when_it_is_written_again(accounts: Accounts) -> None:
    ann, bob, _ = await grant(accounts, "ann@example.com", "bob@example.com", "cleo@example.com")
    feed = (await accounts.feed()).json()["id"]
    await run_jobs(accounts.app, accounts.runtime)
    accounts.consent.answers[f"account/{ann}"] = (200, "withdrawn")
    await deliver(accounts.app, accounts.runtime, requested(bob))
    await run_jobs(accounts.app, accounts.runtime)
    assert accounts.file(feed).splitlines() == ["name,email", "Ann,cleo@example.com"]
    assert (await accounts.feed_state(feed))["refused"] == {"withdrawn": 1}
    [kept] = await accounts.emitted("disclosure.refused")
    assert (kept.subject, kept.body["reason"]) == (f"account/{ann}", "withdrawn")


async def test_an_account_deleted_while_consent_thinks_is_not_disclosed(accounts: Accounts) -> None:
    [ann] = await grant(accounts, "ann@example.com")
    feed = (await accounts.feed()).json()["id"]
    answer = accounts.consent.post

    async def delete_first(*args: Any, **given: Any) -> Any:
        await deliver(accounts.app, accounts.runtime, requested(ann))
        return await answer(*args, **given)

    accounts.consent.post = delete_first  # type: ignore[method-assign]  # once, in between
    await run_jobs(accounts.app, accounts.runtime)
    assert await accounts.emitted("personal_data.disclosed") == []
    assert (await accounts.feed_state(feed))["pending"] == 0
    assert accounts.file(feed) == "name,email\n"


@pytest.mark.parametrize("wrong", [{"recipient": "../zzz"}, {"recipient": "Zzz"}, {"purpose": "own_marketing"}])
async def test_a_feed_needs_a_code_and_a_purpose(accounts: Accounts, wrong: dict[str, str]) -> None:
    answer = await accounts.feed(**wrong)
    assert answer.status_code == 422
    assert "zzz" not in answer.text.lower()
