"""Policy notices: the home page for every revision, one mail per account for a material one."""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from chassis.app import App, Runtime
from chassis.database import Pool, transaction
from chassis.testing import Emitted, deliver, outbox, run_jobs
from notifier import mailings
from notifier.queries import ledger
from notifier.settings import Settings
from privacy_contracts.accounts import AccountDeleted, AccountStated
from privacy_contracts.policy import PolicyRevised

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
Notifier = tuple[App, Runtime[Settings]]
Stated = Callable[..., AccountStated]
Revised = Callable[..., PolicyRevised]


async def said(pool: Pool, kind: str) -> list[Emitted]:
    return [each for each in await outbox(pool) if each.type == kind]


def recipients(mail_server: Any) -> list[str]:
    return sorted(to for to, _ in mail_server.taken)


@pytest.mark.promise(83)
async def test_every_account_gets_one_mail_and_the_mailing_is_reported_once(
    notifier: Notifier, pool: Pool, peers: Any, mail_server: Any, stated: Stated, revised: Revised
) -> None:
    app, runtime = notifier
    peers.policy(2, "A second courier carries parcels to islands.")
    await deliver(app, runtime, *(stated(f"a{number}") for number in range(5)))
    await deliver(app, runtime, revised(2))
    await run_jobs(app, runtime)
    await run_jobs(app, runtime)

    assert recipients(mail_server) == [f"a{number}@example.com" for number in range(5)]
    assert len(set(mail_server.ids)) == 5
    assert "A second courier" in mail_server.taken[0][1].get_body(("plain",)).get_content()
    assert [what for what, _, _ in peers.asked] == ["GET /v1/policies/2"]  # once per mailing
    (completed,) = await said(pool, "notice.completed")
    assert (completed.body["total"], completed.body["sent"], completed.body["failed"]) == (5, 5, 0)
    assert len(await said(pool, "notice.sent")) == 5
    for kind in ("personal_data.accessed", "personal_data.disclosed"):
        events = await said(pool, kind)
        assert sorted(each.subject for each in events) == [f"account/a{number}" for number in range(5)]
    assert {each.body["basis"] for each in await said(pool, "personal_data.disclosed")} == {"legal_notice"}
    assert await pool.fetchval("SELECT count(*) FROM notifier.notices WHERE address IS NOT NULL") == 5


@pytest.mark.promise(81)
@pytest.mark.promise(82)
async def test_a_typo_is_shown_on_the_home_page_and_mailed_to_nobody(
    notifier: Notifier, pool: Pool, mail_server: Any, stated: Stated, revised: Revised
) -> None:
    app, runtime = notifier
    await deliver(app, runtime, stated("a1"))
    await deliver(app, runtime, revised(1), revised(2, material=False))
    assert await run_jobs(app, runtime) == 0
    posted = await said(pool, "notice.posted")
    assert [each.body["policy_version"] for each in posted] == [1, 2]
    assert posted[0].body["place"] == "home_page"
    assert mail_server.taken == []
    assert [each.type for each in await outbox(pool)] == ["notice.posted"] * 2


async def test_a_revision_that_is_heard_of_again_changes_nothing(
    notifier: Notifier, pool: Pool, peers: Any, mail_server: Any, stated: Stated, revised: Revised
) -> None:
    app, runtime = notifier
    peers.policy(2)
    await deliver(app, runtime, stated("a1"))
    await deliver(app, runtime, revised(2), revised(2))
    await run_jobs(app, runtime)
    await deliver(app, runtime, revised(2))
    await run_jobs(app, runtime)
    assert recipients(mail_server) == ["a1@example.com"]
    assert len(await said(pool, "notice.posted")) == 1
    assert len(await said(pool, "notice.completed")) == 1


async def test_a_mailing_to_nobody_is_complete_at_once(
    notifier: Notifier, pool: Pool, peers: Any, revised: Revised
) -> None:
    app, runtime = notifier
    peers.policy(2)
    await deliver(app, runtime, revised(2))
    await run_jobs(app, runtime)
    (completed,) = await said(pool, "notice.completed")
    assert completed.body["total"] == 0


@pytest.mark.promise(83)
async def test_a_mailing_counts_what_failed(
    notifier: Notifier, pool: Pool, peers: Any, mail_server: Any, stated: Stated, revised: Revised
) -> None:
    app, runtime = notifier
    peers.policy(2)
    mail_server.at_rcpt = ["550 Unknown"]
    await deliver(app, runtime, *(stated(f"a{number}") for number in range(3)), stated("a3", "no address"))
    await deliver(app, runtime, revised(2))
    await run_jobs(app, runtime)
    (completed,) = await said(pool, "notice.completed")
    assert (completed.body["total"], completed.body["sent"], completed.body["failed"]) == (4, 2, 2)
    assert Counter(each.body["reason"] for each in await said(pool, "notice.failed")) == {
        "rejected": 1,
        "no_address": 1,
    }


@pytest.mark.promise(83)
async def test_the_newest_address_counts(
    notifier: Notifier, peers: Any, mail_server: Any, stated: Stated, revised: Revised
) -> None:
    app, runtime = notifier
    peers.policy(2)
    newer = stated("a1", "new@example.com", version=3)
    await deliver(app, runtime, stated("a1", version=1), newer, stated("a1", "stale@example.com", version=2))
    await deliver(app, runtime, revised(2))
    await run_jobs(app, runtime)
    assert recipients(mail_server) == ["new@example.com"]


@pytest.mark.promise(83)
async def test_an_account_whose_state_arrives_late_is_enrolled_by_its_registration(
    notifier: Notifier, pool: Pool, peers: Any, mail_server: Any, stated: Stated, revised: Revised
) -> None:
    app, runtime = notifier
    peers.policy(2)
    await deliver(app, runtime, stated("a1"), stated("a2", registered_at=NOW + timedelta(seconds=1)))
    await deliver(app, runtime, revised(2))
    await deliver(
        app,
        runtime,
        stated("a3", registered_at=NOW - timedelta(seconds=1)),
        stated("a4", registered_at=NOW),
        stated("a1", version=2),
    )
    await run_jobs(app, runtime)
    await run_jobs(app, runtime)
    assert recipients(mail_server) == ["a1@example.com", "a3@example.com"]
    (completed,) = await said(pool, "notice.completed")
    assert completed.body["total"] == 2


async def test_a_latecomer_after_the_report_still_gets_the_mail(
    notifier: Notifier, pool: Pool, peers: Any, mail_server: Any, stated: Stated, revised: Revised
) -> None:
    app, runtime = notifier
    peers.policy(2)
    await deliver(app, runtime, stated("a1"))
    await deliver(app, runtime, revised(2))
    await run_jobs(app, runtime)
    await deliver(app, runtime, stated("a2"))
    await run_jobs(app, runtime)
    assert recipients(mail_server) == ["a1@example.com", "a2@example.com"]
    assert len(await said(pool, "notice.completed")) == 1


@pytest.mark.promise(83)
async def test_a_state_and_a_revision_at_the_same_moment_miss_nobody(
    notifier: Notifier, pool: Pool, stated: Stated, revised: Revised
) -> None:
    """Whichever commits first, the other sees it."""
    app, runtime = notifier
    for round_, state_first in enumerate((True, False, True, False)):
        account, version = f"racer{round_}", round_ + 2
        state = deliver_in(runtime, app, stated(account))
        revision = deliver_in(runtime, app, revised(version))
        first, second = (state, revision) if state_first else (revision, state)
        await hold_and_overlap(pool, first, second)
        enrolled = await pool.fetchval(
            "SELECT count(*) FROM notifier.notices WHERE account = $1 AND policy_version = $2", account, version
        )
        assert enrolled == 1


def deliver_in(runtime: Runtime[Settings], app: App, event: AccountStated | PolicyRevised) -> Callable[..., Any]:
    """The event's handlers in a transaction that the test holds."""
    from chassis.consumer import decode
    from chassis.testing import record
    from privacy_contracts.topology import topics

    async def apply(tx: Any) -> None:
        made = record(event)
        received = decode(made, topics()[event.topic], app.handlers.events)
        assert received is not None
        await app.handlers.apply(received, tx)

    return apply


async def hold_and_overlap(pool: Pool, first: Callable[..., Any], second: Callable[..., Any]) -> None:
    """Run `second` while `first` has done its work and has not committed."""
    async with asyncio.TaskGroup() as group:
        async with transaction(pool) as tx:
            await first(tx)
            task = group.create_task(_alone(pool, second))
            done, _ = await asyncio.wait([task], timeout=0.3)
            assert not done  # it waits for the first
        await task


async def _alone(pool: Pool, work: Callable[..., Any]) -> None:
    async with transaction(pool) as tx:
        await work(tx)


@pytest.mark.promise(83)
async def test_two_material_revisions_in_a_row_make_one_mail_that_lists_both(
    notifier: Notifier, pool: Pool, peers: Any, mail_server: Any, stated: Stated, revised: Revised
) -> None:
    app, runtime = notifier
    peers.policy(2, "A second courier.")
    peers.policy(3, "A new purpose.")
    await deliver(app, runtime, stated("a1"), stated("a2"))
    await deliver(app, runtime, revised(2), revised(3))
    await run_jobs(app, runtime)
    await run_jobs(app, runtime)

    assert recipients(mail_server) == ["a1@example.com", "a2@example.com"]
    for _, mail in mail_server.taken:
        text = mail.get_body(("plain",)).get_content()
        assert text.index("A second courier.") < text.index("A new purpose.")
    first, second = await said(pool, "notice.completed")
    assert [(each.body["policy_version"], each.body["total"], each.body["sent"]) for each in (first, second)] in (
        [(2, 2, 0), (3, 2, 2)],
        [(3, 2, 2), (2, 2, 0)],
    )
    assert {each.body["reason"] for each in await said(pool, "notice.failed")} == {"superseded"}


async def test_whoever_was_told_of_the_first_is_told_of_the_second_alone(
    notifier: Notifier, peers: Any, mail_server: Any, stated: Stated, revised: Revised
) -> None:
    app, runtime = notifier
    peers.policy(2, "A second courier.")
    peers.policy(3, "A new purpose.")
    await deliver(app, runtime, stated("a1"))
    await deliver(app, runtime, revised(2))
    await run_jobs(app, runtime)
    await deliver(app, runtime, revised(3))
    await run_jobs(app, runtime)
    first, second = (mail.get_body(("plain",)).get_content() for _, mail in mail_server.taken)
    assert "A second courier." in first
    assert "A second courier." not in second
    assert "A new purpose." in second


async def test_consent_is_asked_until_it_answers(
    notifier: Notifier, pool: Pool, peers: Any, mail_server: Any, stated: Stated, revised: Revised
) -> None:
    app, runtime = notifier
    await deliver(app, runtime, stated("a1"))
    await deliver(app, runtime, revised(2))
    await run_jobs(app, runtime)
    assert mail_server.taken == []
    assert await said(pool, "notice.completed") == []
    peers.policy(2)
    await run_jobs(app, runtime)
    await run_jobs(app, runtime)
    assert recipients(mail_server) == ["a1@example.com"]


async def test_a_latecomer_waits_for_the_text(
    notifier: Notifier, pool: Pool, peers: Any, mail_server: Any, stated: Stated, revised: Revised
) -> None:
    app, runtime = notifier
    await deliver(app, runtime, revised(2), revised(3))
    await deliver(app, runtime, stated("a1"))
    await run_jobs(app, runtime)
    assert mail_server.taken == []
    assert await said(pool, "personal_data.accessed") == []
    peers.policy(2)
    peers.policy(3)
    for _ in range(3):
        await run_jobs(app, runtime)
    assert recipients(mail_server) == ["a1@example.com"]


async def test_a_mailing_whose_text_never_comes_fails_for_everybody(
    notifier: Notifier, pool: Pool, stated: Stated, revised: Revised
) -> None:
    app, runtime = notifier
    await deliver(app, runtime, stated("a1"), stated("a2"))
    await deliver(app, runtime, revised(2))
    await run_jobs(app, runtime)
    await pool.execute("UPDATE chassis.jobs SET deadline = now()")
    await run_jobs(app, runtime)
    assert [each.body["reason"] for each in await said(pool, "notice.failed")] == ["expired", "expired"]
    (completed,) = await said(pool, "notice.completed")
    assert (completed.body["total"], completed.body["failed"]) == (2, 2)


async def test_a_text_that_never_came_does_not_hold_up_the_next_mail(
    notifier: Notifier, pool: Pool, peers: Any, mail_server: Any, stated: Stated, revised: Revised
) -> None:
    app, runtime = notifier
    peers.policy(3, "A new purpose.")
    await deliver(app, runtime, stated("a1"))
    await deliver(app, runtime, revised(2), revised(3))
    await run_jobs(app, runtime)
    assert mail_server.taken == []  # the mail about 3 stands for 2 as well, and waits for its text
    await pool.execute("UPDATE chassis.jobs SET deadline = now() WHERE kind = 'revision'")
    await run_jobs(app, runtime)
    await run_jobs(app, runtime)
    ((_, mail),) = mail_server.taken
    text = mail.get_body(("plain",)).get_content()
    assert "A new purpose." in text


@pytest.mark.promise(37)
@pytest.mark.promise(39)
@pytest.mark.promise(83)
async def test_marketing_choices_cannot_keep_a_notice_away(notifier: Notifier) -> None:
    """The notifier does not know who takes marketing mail: the choices' topic is not among those it may read."""
    app, _ = notifier
    assert set(app.handlers.topics) == {"accounts", "policy", "requests"}


@pytest.mark.promise(83)
async def test_many_at_once_get_one_mail_each(
    notifier: Notifier, pool: Pool, peers: Any, mail_server: Any, stated: Stated, revised: Revised
) -> None:
    """Eight workers, some refusals, some lost answers: one mail per account, repeats only where an answer was lost."""
    from chassis import jobs

    app, runtime = notifier
    peers.policy(2)
    accounts = [f"a{number:03}" for number in range(60)]
    mail_server.at_rcpt = ["450 Later"] * 5
    mail_server.at_data = ["250 OK", "drop", "451 Later", "drop"]
    await deliver(app, runtime, *(stated(account) for account in accounts))
    await deliver(app, runtime, revised(2))
    await run_jobs(app, runtime)
    while await pool.fetchval("SELECT count(*) FROM chassis.jobs"):
        await pool.execute("UPDATE chassis.jobs SET run_at = now() WHERE claim IS NULL")
        await asyncio.gather(*(jobs.run_one(pool, kind, app.jobs[kind]) for kind in ["notice"] * 8))
    sent = await said(pool, "notice.sent")
    assert sorted(each.body["account"] for each in sent) == accounts
    times = Counter(mail_server.ids)
    assert len(times) == 60
    for each in sent:
        assert times[f"<{each.body['notice']}@example.com>"] == 1 + each.body["repeats"]
    assert sum(each.body["repeats"] for each in sent) == 2
    (completed,) = await said(pool, "notice.completed")
    assert (completed.body["total"], completed.body["sent"]) == (60, 60)


async def test_a_deleted_account_is_not_written_to(
    notifier: Notifier, pool: Pool, peers: Any, mail_server: Any, stated: Stated, revised: Revised
) -> None:
    app, runtime = notifier
    peers.policy(2)
    await deliver(app, runtime, stated("a1"), stated("a2"))
    await deliver(app, runtime, revised(2))
    await deliver(app, runtime, AccountDeleted(id="a1", version=2, deleted_at=NOW))
    await run_jobs(app, runtime)
    assert recipients(mail_server) == ["a2@example.com"]
    (failed,) = await said(pool, "notice.failed")
    assert (failed.body["account"], failed.body["reason"]) == ("a1", "account_deleted")
    (completed,) = await said(pool, "notice.completed")
    assert (completed.body["total"], completed.body["sent"], completed.body["failed"]) == (2, 1, 1)


async def test_the_oldest_unsent_mail_is_measured(
    notifier: Notifier, pool: Pool, stated: Stated, revised: Revised
) -> None:
    app, runtime = notifier
    async with transaction(pool) as tx:
        assert await ledger.oldest_unsent(tx) == 0
    await deliver(app, runtime, stated("a1"))
    await deliver(app, runtime, revised(2))
    await pool.execute("UPDATE notifier.notices SET created_at = now() - interval '90 seconds'")
    async with transaction(pool) as tx:
        assert 90 <= await app.gauges["mail_oldest_unsent_seconds"](tx) < 120


async def test_a_revision_is_decided_once_under_the_lock(notifier: Notifier, pool: Pool, revised: Revised) -> None:
    async with transaction(pool) as tx:
        await mailings.revised(tx, revised(2), NOW)
        await mailings.revised(tx, revised(2), NOW)
    assert len(await said(pool, "notice.posted")) == 1
    row = await pool.fetchrow("SELECT mailing, waiting FROM notifier.revisions")
    assert row is not None
    assert isinstance(row["mailing"], UUID)
