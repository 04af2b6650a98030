"""A system that is late: its owner is told by a mail like any other, which says nothing about the person."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from chassis.app import App, Runtime
from chassis.database import Pool
from chassis.testing import deliver, outbox, run_jobs
from notifier.settings import Settings
from privacy_contracts.requests import SystemEscalated

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
Notifier = tuple[App, Runtime[Settings]]


def escalated(request: UUID, system: str = "orders") -> SystemEscalated:
    return SystemEscalated(
        request=request,
        account="acc-4711",
        system=system,
        stage="company",
        due_at=NOW - timedelta(days=1),
        escalated_at=NOW,
    )


async def test_the_owner_of_a_late_system_is_told(
    notifier: Notifier, pool: Pool, peers: Any, mail_server: Any, request_id: UUID
) -> None:
    app, runtime = notifier

    await deliver(app, runtime, escalated(request_id))
    await run_jobs(app, runtime)

    ((to, mail),) = mail_server.taken
    assert to == "orders-team@example.com"
    text = mail.get_body(("plain",)).get_content()
    assert str(request_id) in text
    assert "19 November 2026" in text
    row = await pool.fetchrow("SELECT * FROM notifier.notices")
    assert row is not None
    assert (row["asked"], row["template"], row["state"], row["attempts"]) == (
        "escalation.orders",
        "escalation",
        "sent",
        1,
    )
    assert mail["Message-ID"] == f"<{row['id']}@example.com>"
    assert peers.asked == []


async def test_of_the_person_nothing_is_read_told_or_kept(
    notifier: Notifier, pool: Pool, mail_server: Any, request_id: UUID
) -> None:
    app, runtime = notifier
    await deliver(app, runtime, escalated(request_id))
    await run_jobs(app, runtime)

    assert "acc-4711" not in str(mail_server.taken[0][1])
    (sent,) = await outbox(pool)  # no access, no disclosure
    assert (sent.type, sent.topic, sent.body["template"]) == ("notice.sent", "notices", "escalation")
    assert (sent.body["request"], sent.body.get("account")) == (str(request_id), None)
    assert await pool.fetchval("SELECT count(*) FROM notifier.notices WHERE account IS NOT NULL") == 0


async def test_each_late_system_has_one_mail_however_often_it_is_heard_of(
    notifier: Notifier, mail_server: Any, request_id: UUID
) -> None:
    app, runtime = notifier
    orders, marketing = escalated(request_id), escalated(request_id, "marketing")
    await deliver(app, runtime, orders, marketing, orders)
    await run_jobs(app, runtime)
    assert sorted(to for to, _ in mail_server.taken) == ["marketing-team@example.com", "orders-team@example.com"]


async def test_a_mail_without_an_answer_is_repeated_with_its_id_and_counted(
    notifier: Notifier, pool: Pool, mail_server: Any, request_id: UUID
) -> None:
    app, runtime = notifier
    mail_server.at_data = ["drop"]
    await deliver(app, runtime, escalated(request_id))
    await run_jobs(app, runtime)
    await run_jobs(app, runtime)
    assert len(mail_server.taken) == 2
    assert len(set(mail_server.ids)) == 1
    assert (await outbox(pool))[-1].body["repeats"] == 1


async def test_a_system_that_is_on_the_list_no_more_has_no_mailbox(
    notifier: Notifier, pool: Pool, mail_server: Any, request_id: UUID
) -> None:
    """A request keeps the list of its verification, so it may wait for one that has left since."""
    app, runtime = notifier
    await deliver(app, runtime, escalated(request_id, "archive"))
    await run_jobs(app, runtime)
    assert mail_server.taken == []
    (failed,) = await outbox(pool)
    assert (failed.type, failed.body["reason"]) == ("notice.failed", "no_address")
