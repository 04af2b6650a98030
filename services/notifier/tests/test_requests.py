"""Mails about requests: asked from dsr at the moment of sending, on record before they leave."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from chassis.app import App, Runtime
from chassis.database import Pool
from chassis.testing import deliver, outbox, run_jobs
from notifier.settings import Settings
from privacy_contracts.requests import RequestClosed, RequestReceived

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LINK = "http://dsr.example.com/r/some-request/some-secret"
Notifier = tuple[App, Runtime[Settings]]


def received(request: UUID) -> RequestReceived:
    return RequestReceived(
        request=request, request_type="delete", channel="website", received_at=NOW, due_at=NOW + timedelta(days=45)
    )


def closed(request: UUID, outcome: str = "completed", account: str | None = "a1") -> RequestClosed:
    return RequestClosed(request=request, account=account, outcome=outcome, closed_at=NOW)


async def notice(pool: Pool) -> Any:
    row = await pool.fetchrow("SELECT * FROM notifier.notices")
    assert row is not None
    return row


async def test_a_request_is_answered_by_a_link_to_the_known_address(
    notifier: Notifier, pool: Pool, peers: Any, mail_server: Any, request_id: UUID
) -> None:
    app, runtime = notifier
    peers.message(request_id, template="verification", to="one@example.com", account="a1", link=LINK)

    await deliver(app, runtime, received(request_id))
    assert mail_server.taken == []  # a consumer's transaction asks nobody
    await run_jobs(app, runtime)

    ((to, mail),) = mail_server.taken
    assert to == "one@example.com"
    assert LINK in mail.get_body(("plain",)).get_content()
    row = await notice(pool)
    assert mail["Message-ID"] == f"<{row['id']}@example.com>"
    assert (row["template"], row["account"], row["state"], row["attempts"], row["unanswered"]) == (
        "verification",
        "a1",
        "sent",
        1,
        0,
    )
    assert peers.asked == [(f"POST /v1/requests/{request_id}/messages", {"template": "verification"}, "Bearer a-token")]
    accessed, disclosed, sent = await outbox(pool)
    assert (accessed.type, accessed.subject) == ("personal_data.accessed", "account/a1")
    assert (disclosed.type, disclosed.body["recipient_class"]) == ("personal_data.disclosed", "subject")
    assert accessed.body["case"] == disclosed.body["case"] == str(row["id"])
    assert (sent.type, sent.topic, sent.body["template"]) == ("notice.sent", "notices", "verification")
    assert (sent.body["request"], sent.body["account"], sent.body["repeats"]) == (str(request_id), "a1", 0)


async def test_a_request_that_a_closed_account_opened_needs_no_link(
    notifier: Notifier, pool: Pool, peers: Any, mail_server: Any, request_id: UUID
) -> None:
    app, runtime = notifier
    await deliver(app, runtime, received(request_id).model_copy(update={"account": "a1", "channel": "profile"}))
    await run_jobs(app, runtime)
    assert (peers.asked, mail_server.taken) == ([], [])
    assert await pool.fetchval("SELECT count(*) FROM notifier.notices") == 0


async def test_the_last_mail_says_what_dsr_says_is_outstanding(
    notifier: Notifier, peers: Any, mail_server: Any, request_id: UUID
) -> None:
    app, runtime = notifier
    silent = {"system": "orders", "categories": ["invoices"], "reason": "no_answer", "left_at": NOW.isoformat()}
    more = {"systems": ["accounts"], "outstanding": [silent], "account_closed": True}
    peers.message(request_id, template="completion", to="one@example.com", account="a1", link=LINK, **more)
    await deliver(app, runtime, closed(request_id))
    await run_jobs(app, runtime)
    ((_, mail),) = mail_server.taken
    text = " ".join(mail.get_body(("plain",)).get_content().split())
    assert "holds: invoices, not confirmed because it has not answered us" in text
    assert "Your account was closed" in text


async def test_an_unknown_address_gets_an_honest_mail_and_leaves_no_trace(
    notifier: Notifier, pool: Pool, peers: Any, mail_server: Any, request_id: UUID
) -> None:
    app, runtime = notifier
    peers.message(request_id, template="unknown_address", to="stranger@example.org", account=None, link=LINK)

    await deliver(app, runtime, received(request_id))
    await run_jobs(app, runtime)

    ((to, mail),) = mail_server.taken
    assert to == "stranger@example.org"
    assert LINK in mail.get_body(("plain",)).get_content()
    row = await notice(pool)
    assert (row["asked"], row["template"], row["account"], row["address"]) == (
        "verification",
        "unknown_address",
        None,
        None,
    )
    assert await pool.fetchval("SELECT count(*) FROM notifier.accounts") == 0
    assert await pool.fetchval("SELECT count(*) FROM keys.owners") == 0
    events = await outbox(pool)
    assert [each.subject for each in events[:2]] == [f"request/{request_id}"] * 2
    assert events[-1].body["template"] == "unknown_address"
    tables = await pool.fetch(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p')"
        " AND relnamespace::regnamespace::text IN ('notifier', 'chassis') AND has_table_privilege(oid, 'select')"
    )
    assert len(tables) > 8
    for (table,) in tables:
        rows = await pool.fetch(f"SELECT t::text FROM {table} AS t")  # noqa: S608 - a table's own name
        assert not [row for row in rows if "stranger" in row[0] or "some-secret" in row[0]], table


async def test_a_request_is_written_about_once_however_often_it_is_heard_of(
    notifier: Notifier, pool: Pool, peers: Any, mail_server: Any, request_id: UUID
) -> None:
    app, runtime = notifier
    peers.message(request_id, template="unknown_address", to="stranger@example.org", link=LINK)
    await deliver(app, runtime, received(request_id), received(request_id))
    await run_jobs(app, runtime)
    await deliver(app, runtime, received(request_id))
    await run_jobs(app, runtime)
    assert len(mail_server.taken) == 1


@pytest.mark.promise(70)
async def test_the_end_of_a_deletion_is_told(
    notifier: Notifier, pool: Pool, peers: Any, mail_server: Any, request_id: UUID
) -> None:
    app, runtime = notifier
    kept = [{"system": "orders", "category": "invoices", "legal_basis": "us.irc.6001", "until": "2033-12-31"}]
    peers.message(
        request_id, template="completion", to="one@example.com", account="a1", link=LINK, systems=["orders"], kept=kept
    )

    await deliver(app, runtime, closed(request_id))
    await run_jobs(app, runtime)

    ((_, mail),) = mail_server.taken
    assert "31 December 2033" in mail.get_body(("plain",)).get_content()
    sent = (await outbox(pool))[-1]
    assert (sent.type, sent.body["template"], sent.body["request"]) == ("notice.sent", "completion", str(request_id))
    assert (await notice(pool))["address"] is None  # the account is gone; nothing of its address stays


async def test_the_end_is_told_to_somebody_without_an_account_and_names_none(
    notifier: Notifier, pool: Pool, peers: Any, mail_server: Any, request_id: UUID
) -> None:
    app, runtime = notifier
    peers.message(
        request_id, template="completion", to="guest@example.org", account=None, link=LINK, systems=["orders"], kept=[]
    )

    await deliver(app, runtime, closed(request_id, account=None))
    await run_jobs(app, runtime)

    ((to, mail),) = mail_server.taken
    assert to == "guest@example.org"
    assert "what they held about you is gone" in " ".join(mail.get_body(("plain",)).get_content().split())
    said = await outbox(pool)
    assert [each.subject for each in said[:2]] == [f"request/{request_id}"] * 2
    assert (said[-1].type, said[-1].body["template"]) == ("notice.sent", "completion")
    assert not [each for each in said if "account" in each.body]
    assert await pool.fetchval("SELECT count(*) FROM keys.owners") == 0


async def test_a_request_that_was_never_verified_ends_in_silence(
    notifier: Notifier, pool: Pool, request_id: UUID
) -> None:
    app, runtime = notifier
    await deliver(app, runtime, closed(request_id, "not_verified", None))
    assert await run_jobs(app, runtime) == 0
    assert await outbox(pool) == []


async def test_a_request_that_wants_no_mail_any_more_fails_its_notice(
    notifier: Notifier, pool: Pool, peers: Any, mail_server: Any, request_id: UUID
) -> None:
    app, runtime = notifier
    peers.message(request_id, status=410)
    await deliver(app, runtime, received(request_id))
    await run_jobs(app, runtime)
    assert mail_server.taken == []
    (failed,) = await outbox(pool)
    assert (failed.type, failed.body["reason"]) == ("notice.failed", "no_address")
    assert await run_jobs(app, runtime) == 0


async def test_a_peer_that_cannot_answer_is_asked_again(
    notifier: Notifier, peers: Any, mail_server: Any, request_id: UUID
) -> None:
    app, runtime = notifier
    await deliver(app, runtime, received(request_id))
    for status in (401, 404, 429, 500, 503):
        peers.message(request_id, status=status)
        await run_jobs(app, runtime)
        assert mail_server.taken == []
    peers.message(request_id, template="verification", to="one@example.com", account="a1", link=LINK)
    await run_jobs(app, runtime)
    assert len(mail_server.taken) == 1
    assert mail_server.connections == 1  # the line to the mail server outlives it


async def test_an_answer_that_makes_no_sense_is_asked_for_again(
    notifier: Notifier, pool: Pool, peers: Any, mail_server: Any, request_id: UUID, caplog: pytest.LogCaptureFixture
) -> None:
    app, runtime = notifier
    peers.message(request_id, template="surprise", to="one@example.com")
    await deliver(app, runtime, received(request_id))
    await run_jobs(app, runtime)
    assert mail_server.taken == []
    assert await pool.fetchval("SELECT count(*) FROM chassis.jobs") == 1
    assert "one@example.com" not in caplog.text


async def test_what_is_no_address_fails_its_notice(
    notifier: Notifier, pool: Pool, peers: Any, mail_server: Any, request_id: UUID
) -> None:
    app, runtime = notifier
    peers.message(request_id, template="unknown_address", to="one@example.com\r\nBcc: two@example.com", link=LINK)
    await deliver(app, runtime, received(request_id))
    await run_jobs(app, runtime)
    assert mail_server.taken == []
    assert (await outbox(pool))[-1].body["reason"] == "no_address"


async def test_a_mail_that_cannot_be_sent_in_time_is_given_up(
    notifier: Notifier, pool: Pool, peers: Any, mail_server: Any, request_id: UUID
) -> None:
    app, runtime = notifier
    peers.message(request_id, template="verification", to="one@example.com", account="a1", link=LINK)
    mail_server.at_rcpt = ["450 Later"]
    await deliver(app, runtime, received(request_id))
    await run_jobs(app, runtime)
    await pool.execute("UPDATE chassis.jobs SET deadline = now()")
    await run_jobs(app, runtime)
    failed = (await outbox(pool))[-1]
    assert (failed.type, failed.body["reason"], failed.body["smtp_status"]) == ("notice.failed", "expired", 450)
    assert mail_server.taken == []


async def test_nothing_personal_is_logged(
    notifier: Notifier, peers: Any, mail_server: Any, request_id: UUID, caplog: pytest.LogCaptureFixture
) -> None:
    app, runtime = notifier
    peers.message(request_id, template="verification", to="one@example.com", account="a1", link=LINK)
    mail_server.at_mail = ["451 one@example.com is busy"]
    mail_server.at_rcpt = ["450 one@example.com is busy"]
    mail_server.at_data = ["451 one@example.com is busy", "554 one@example.com said no"]
    with caplog.at_level("DEBUG", logger="chassis"), caplog.at_level("DEBUG", logger="notifier"):
        await deliver(app, runtime, received(request_id))
        for _ in range(4):
            await run_jobs(app, runtime)
    ours = [each.getMessage() for each in caplog.records if each.name.startswith(("chassis", "notifier"))]
    assert ours
    assert "one@example.com" not in " ".join(ours)
    assert "some-secret" not in caplog.text.replace("DEBUG    mail", "")
