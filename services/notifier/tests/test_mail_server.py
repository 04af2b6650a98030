"""The conversation with the mail server: what is tried again, what ends, and what cannot be known."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from chassis import jobs
from chassis.app import App, Runtime
from chassis.database import Pool
from chassis.testing import deliver, outbox, run_jobs
from notifier import sending
from notifier.settings import Settings
from notifier.smtp import Connections, Line, Lost, Refused, Server
from privacy_contracts.requests import RequestReceived

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
Notifier = tuple[App, Runtime[Settings]]


@pytest.fixture
async def requested(notifier: Notifier, peers: Any, request_id: UUID) -> Notifier:
    """A verification mail waits."""
    app, runtime = notifier
    peers.message(request_id, template="verification", to="one@example.com", account="a1", link="http://x.example.com")
    received = RequestReceived(
        request=request_id, request_type="delete", channel="website", received_at=NOW, due_at=NOW + timedelta(days=45)
    )
    await deliver(app, runtime, received)
    return notifier


async def types(pool: Pool) -> list[str]:
    return [each.type.partition(".")[2] for each in await outbox(pool)]


@pytest.mark.parametrize("step", ["at_mail", "at_rcpt", "at_data"])
async def test_a_4xx_is_tried_again_and_is_no_repeat(
    requested: Notifier, pool: Pool, mail_server: Any, step: str
) -> None:
    getattr(mail_server, step).append("451 Try again")
    await run_jobs(*requested)
    assert mail_server.taken == []
    await run_jobs(*requested)
    assert len(mail_server.taken) == 1
    assert (await outbox(pool))[-1].body["repeats"] == 0
    # Only where the message was about to be handed over is there a disclosure on record.
    disclosures = 2 if step == "at_data" else 1
    assert (await types(pool)).count("disclosed") == disclosures


@pytest.mark.promise(85)
@pytest.mark.parametrize(("step", "code"), [("at_rcpt", 550), ("at_data", 554)])
async def test_a_5xx_about_the_mail_ends_it(
    requested: Notifier, pool: Pool, mail_server: Any, step: str, code: int
) -> None:
    getattr(mail_server, step).append(f"{code} No")
    await run_jobs(*requested)
    failed = (await outbox(pool))[-1]
    assert (failed.type, failed.body["reason"], failed.body["smtp_status"]) == ("notice.failed", "rejected", code)
    row = await pool.fetchrow("SELECT state, reason, smtp_status, unanswered FROM notifier.notices")
    assert row is not None
    assert tuple(row) == ("failed", "rejected", code, 0)
    assert failed.body["unanswered"] == 0
    assert await run_jobs(*requested) == 0


async def test_a_5xx_about_ourselves_ends_nothing(requested: Notifier, mail_server: Any) -> None:
    mail_server.at_mail.append("550 We do not know you")
    await run_jobs(*requested)
    await run_jobs(*requested)
    assert len(mail_server.taken) == 1


async def test_a_connection_lost_after_data_repeats_the_mail_and_counts_it(
    requested: Notifier, pool: Pool, mail_server: Any
) -> None:
    mail_server.at_data = ["drop", "drop"]
    await run_jobs(*requested)
    assert (len(mail_server.taken), await pool.fetchval("SELECT unanswered FROM notifier.notices")) == (1, 1)
    await run_jobs(*requested)
    await run_jobs(*requested)
    assert len(mail_server.taken) == 3
    assert len(set(mail_server.ids)) == 1
    sent = (await outbox(pool))[-1]
    assert (sent.type, sent.body["repeats"]) == ("notice.sent", 2)
    row = await pool.fetchrow("SELECT state, attempts, unanswered FROM notifier.notices")
    assert row is not None
    assert tuple(row) == ("sent", 3, 2)


async def test_a_rejected_mail_says_how_often_it_may_have_arrived_before(
    requested: Notifier, pool: Pool, mail_server: Any
) -> None:
    mail_server.at_data = ["drop", "drop", "554 No"]
    for _ in range(3):
        await run_jobs(*requested)
    failed = (await outbox(pool))[-1]
    assert (failed.body["reason"], failed.body["unanswered"]) == ("rejected", 2)


async def test_an_address_that_becomes_known_between_two_attempts_gets_another_mail_with_its_own_id(
    requested: Notifier, peers: Any, mail_server: Any, request_id: UUID
) -> None:
    link = "http://dsr.example.com/r/some-request/some-secret"
    peers.message(request_id, template="unknown_address", to="one@example.com", account=None, link=link)
    mail_server.at_data = ["drop", "drop", "drop"]
    await run_jobs(*requested)
    await run_jobs(*requested)
    peers.message(request_id, template="verification", to="one@example.com", account="a1", link=link)
    await run_jobs(*requested)
    await run_jobs(*requested)
    stranger, again, known, once_more = mail_server.ids
    assert stranger == again != known == once_more


async def test_the_attempt_and_the_disclosure_are_on_record_before_the_message_leaves(
    requested: Notifier, pool: Pool, mail_server: Any
) -> None:
    seen: list[Any] = []

    async def look() -> None:
        row = await pool.fetchrow("SELECT state, unanswered FROM notifier.notices")
        assert row is not None
        seen.append((*row, await types(pool)))

    mail_server.before_answer = look
    await run_jobs(*requested)
    assert seen == [("waiting", 1, ["accessed", "disclosed"])]


async def test_a_death_after_data_repeats_the_mail_with_the_same_id(
    requested: Notifier, pool: Pool, mail_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(BaseException):
        pass

    def die(name: str) -> None:
        if name == "notifier.after-data":
            raise Died

    app, runtime = requested
    monkeypatch.setattr(sending, "point", die)
    with pytest.raises(Died):
        await jobs.run_one(pool, sending.KIND, app.jobs[sending.KIND])
    monkeypatch.undo()
    await run_jobs(app, runtime)
    assert len(mail_server.taken) == 2
    assert len(set(mail_server.ids)) == 1
    assert (await outbox(pool))[-1].body["repeats"] == 1


async def test_without_a_mail_server_nothing_is_opened_and_no_link_is_minted(
    requested: Notifier, pool: Pool, peers: Any, mail_server: Any
) -> None:
    app, runtime = requested
    mail_server.listening.close()
    mail_server.hang_up()
    await run_jobs(app, runtime)
    assert peers.asked == []
    assert await outbox(pool) == []
    assert await pool.fetchval("SELECT count(*) FROM chassis.jobs") == 1


def server(mail_server: Any) -> Server:
    return Server("127.0.0.1", mail_server.port, "example.com")


async def talk(line: Line, to: str = "one@example.com") -> int:
    await line.envelope("privacy@example.com", to)
    return await line.data(b"Subject: x\r\n\r\nx\r\n")


async def test_one_connection_carries_many_mails(mail_server: Any) -> None:
    lines = Connections(server(mail_server), 4)
    for _ in range(20):
        async with lines.lend() as line:
            assert await talk(line) == 250
    assert (mail_server.connections, len(mail_server.taken)) == (1, 20)
    lines.close()


async def test_no_more_connections_than_allowed(mail_server: Any) -> None:
    lines = Connections(server(mail_server), 3)

    async def one() -> None:
        async with lines.lend() as line:
            await talk(line)

    async with asyncio.TaskGroup() as group:
        for _ in range(30):
            group.create_task(one())
    assert mail_server.connections <= 3
    assert len(mail_server.taken) == 30
    lines.close()


async def test_a_connection_that_was_closed_meanwhile_is_made_anew(mail_server: Any) -> None:
    lines = Connections(server(mail_server), 1)
    async with lines.lend() as line:
        await talk(line)
    mail_server.hang_up()
    async with lines.lend() as line:
        await talk(line)
    async with lines.lend() as line:  # and once more, while it is in our hands
        mail_server.hang_up()
        await talk(line)
    assert (mail_server.connections, len(mail_server.taken)) == (3, 3)
    lines.close()


async def test_a_server_that_says_goodbye_at_mail_is_called_again(mail_server: Any) -> None:
    lines = Connections(server(mail_server), 1)
    mail_server.at_mail = ["421 Goodbye"]
    async with lines.lend() as line:
        assert await talk(line) == 250
    assert mail_server.connections == 2
    lines.close()


async def test_after_a_refusal_the_connection_serves_the_next_mail(mail_server: Any) -> None:
    lines = Connections(server(mail_server), 1)
    mail_server.at_rcpt = ["550 Unknown"]
    with pytest.raises(Refused) as refused:
        async with lines.lend() as line:
            await talk(line)
    assert (refused.value.step, refused.value.code) == ("recipient", 550)
    async with lines.lend() as line:
        await line.envelope("privacy@example.com", "cancelled@example.com")  # and then nothing is handed over
    async with lines.lend() as line:
        await talk(line, "two@example.com")
    assert [to for to, _ in mail_server.taken] == ["two@example.com"]
    assert mail_server.connections == 1
    lines.close()


async def test_no_server_is_no_answer() -> None:
    with pytest.raises(Lost):
        async with Connections(Server("127.0.0.1", 1, "example.com"), 1).lend():
            pass


async def test_an_address_beyond_ascii_needs_a_server_that_takes_it(mail_server: Any) -> None:
    lines = Connections(server(mail_server), 1)
    async with lines.lend() as line:
        assert await talk(line, "päl@example.com") == 250
    assert mail_server.taken[0][0] == "päl@example.com"
    lines.close()


async def test_a_refusal_never_repeats_the_servers_words(mail_server: Any) -> None:
    lines = Connections(server(mail_server), 1)
    mail_server.at_rcpt = ["550 one@example.com is unknown"]
    with pytest.raises(Refused) as refused:
        async with lines.lend() as line:
            await talk(line)
    assert "one@example.com" not in f"{refused.value!r} {refused.value}"
    lines.close()
