"""Feeds to an advertising partner: consent decides about each account, and the record commits with the delivery."""

from datetime import timedelta
from typing import Any

import pytest

from chassis import jobs
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


async def many(accounts: Accounts, number: int = 12) -> tuple[list[str], str]:
    """More accounts than are asked about at once, in the order of their ids, and a feed whose file names all."""
    granted = await grant(accounts, *(f"p{n:02}@example.com" for n in range(number)))
    feed = str((await accounts.feed()).json()["id"])
    await run_jobs(accounts.app, accounts.runtime)
    assert named(accounts, feed) == list(range(number))
    return granted, feed


def named(accounts: Accounts, feed: str) -> list[int]:
    """Whom the file names, by number."""
    return sorted(int(line[len("Ann,p") :][:2]) for line in accounts.file(feed).splitlines()[1:])


async def out_of_time(accounts: Accounts) -> None:
    """A day passes for every job that waits."""
    async with transaction(accounts.runtime.pool) as tx:
        await tx.execute("UPDATE chassis.jobs SET deadline = now() - $1::interval", timedelta(seconds=1))


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
    await out_of_time(accounts)
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


@pytest.mark.promise(50)
async def test_everybody_is_asked_about_again_however_many_they_are(accounts: Accounts) -> None:
    granted, feed = await many(accounts)
    for n in (0, 6, 11):
        accounts.consent.answers[f"account/{granted[n]}"] = (200, "withdrawn")
    await deliver(accounts.app, accounts.runtime, requested(granted[3]))
    await run_jobs(accounts.app, accounts.runtime)
    assert named(accounts, feed) == [1, 2, 4, 5, 7, 8, 9, 10]
    assert (await accounts.feed_state(feed))["refused"] == {"withdrawn": 3}
    refused = {event.subject for event in await accounts.emitted("disclosure.refused")}
    assert refused == {f"account/{granted[n]}" for n in (0, 6, 11)}


@pytest.mark.promise(67)
async def test_a_consent_service_too_slow_for_all_questions_in_one_job_keeps_nobody_in_the_file(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    granted, feed = await many(accounts)
    accounts.consent.takes = 0.1
    monkeypatch.setattr(jobs, "LEASE", timedelta(seconds=1))
    accounts.consent.answers[f"account/{granted[11]}"] = (200, "withdrawn")
    await deliver(accounts.app, accounts.runtime, requested(granted[0]))
    await run_jobs(accounts.app, accounts.runtime)
    assert named(accounts, feed) == list(range(1, 11))


@pytest.mark.promise(67)
async def test_while_consent_is_away_a_deleted_account_leaves_the_file_at_once_and_others_after_a_day(
    accounts: Accounts,
) -> None:
    granted, feed = await many(accounts, 4)
    for account in granted:
        accounts.consent.answers[f"account/{account}"] = (503, "granted")
    await deliver(accounts.app, accounts.runtime, requested(granted[0]))
    await run_jobs(accounts.app, accounts.runtime)
    assert named(accounts, feed) == [1, 2, 3]
    await out_of_time(accounts)
    await run_jobs(accounts.app, accounts.runtime)
    assert named(accounts, feed) == []
    assert (await accounts.feed_state(feed))["refused"] == {"unanswered": 3}


@pytest.mark.promise(50)
async def test_a_line_that_leaves_lets_nothing_new_in_before_consent_is_asked(accounts: Accounts) -> None:
    granted, feed = await many(accounts, 3)
    accounts.consent.answers[f"account/{granted[2]}"] = (503, "granted")
    await accounts.correct(granted[1], email="p77@example.com")
    await deliver(accounts.app, accounts.runtime, requested(granted[0]))
    await run_jobs(accounts.app, accounts.runtime)
    assert named(accounts, feed) == [2]
    accounts.consent.answers[f"account/{granted[2]}"] = (200, "granted")
    await run_jobs(accounts.app, accounts.runtime)
    assert named(accounts, feed) == [2, 77]


@pytest.mark.promise(67)
async def test_a_line_leaves_even_when_no_file_could_be_written_for_a_day(accounts: Accounts) -> None:
    granted, feed = await many(accounts, 2)
    folder = accounts.runtime.settings.feed_dir
    aside = folder.rename(folder.with_suffix(".aside"))
    folder.touch()  # where the folder was there is a file: nothing can be written
    await deliver(accounts.app, accounts.runtime, requested(granted[0]))
    await run_jobs(accounts.app, accounts.runtime)
    await out_of_time(accounts)
    await run_jobs(accounts.app, accounts.runtime)
    folder.unlink()
    aside.rename(folder)
    await run_jobs(accounts.app, accounts.runtime)
    assert named(accounts, feed) == [1]


async def test_no_file_is_written_before_consent_has_answered_about_everybody(accounts: Accounts) -> None:
    ann, bob, _ = await grant(accounts, "ann@example.com", "bob@example.com", "cleo@example.com")
    accounts.consent.answers[f"account/{bob}"] = (503, "granted")
    feed = (await accounts.feed()).json()["id"]
    await run_jobs(accounts.app, accounts.runtime)
    await deliver(accounts.app, accounts.runtime, requested(ann))
    await run_jobs(accounts.app, accounts.runtime)
    assert (await accounts.feed_state(feed))["written_at"] is None
    accounts.consent.answers[f"account/{bob}"] = (200, "granted")
    await run_jobs(accounts.app, accounts.runtime)
    assert accounts.file(feed).splitlines() == ["name,email", "Ann,bob@example.com", "Ann,cleo@example.com"]


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
