"""The notifier's own answer to a deletion: the address goes, nothing waits any more, nothing comes back."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from chassis.app import App, Runtime
from chassis.database import Pool, transaction
from chassis.testing import Emitted, deliver, outbox, run_jobs
from notifier import sending
from notifier.queries.accounts import ADDRESS
from notifier.settings import Settings
from privacy_contracts.accounts import AccountDeleted, AccountStated
from privacy_contracts.policy import PolicyRevised
from privacy_contracts.requests import DeletionRequested

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
Notifier = tuple[App, Runtime[Settings]]
Stated = Callable[..., AccountStated]
Revised = Callable[..., PolicyRevised]


def deletion(request: UUID, *systems: str, attempt: int = 1) -> DeletionRequested:
    return DeletionRequested(
        request=request,
        account="a1",
        stage="own",
        systems=list(systems) or ["consent", "notifier"],
        attempt=attempt,
        requested_at=NOW,
        due_at=NOW + timedelta(days=5),
    )


async def said(pool: Pool, kind: str) -> list[Emitted]:
    return [each for each in await outbox(pool) if each.type == kind]


async def test_the_address_is_sealed_and_opens_under_its_own_key_only(
    notifier: Notifier, pool: Pool, stated: Stated
) -> None:
    app, runtime = notifier
    await deliver(app, runtime, stated("a1", "one@example.com"))
    row = await pool.fetchrow("SELECT version, email FROM notifier.accounts WHERE id = 'a1'")
    assert row is not None
    assert b"one@example.com" not in row["email"]
    async with transaction(pool) as tx:
        assert await runtime.sealing.open(tx, "account/a1", row["email"], ADDRESS) == "one@example.com"


async def test_a_deletion_takes_row_key_and_traces_and_is_answered(
    notifier: Notifier, pool: Pool, peers: Any, stated: Stated, revised: Revised, request_id: UUID
) -> None:
    app, runtime = notifier
    peers.policy(2)
    await deliver(app, runtime, stated("a1"))
    await deliver(app, runtime, revised(2))
    await run_jobs(app, runtime)
    assert await pool.fetchval("SELECT count(*) FROM notifier.notices WHERE address IS NOT NULL") == 1

    await deliver(app, runtime, deletion(request_id))

    assert await pool.fetchval("SELECT count(*) FROM notifier.accounts") == 0
    assert await pool.fetchval("SELECT count(*) FROM keys.owners") == 0
    assert await pool.fetchval("SELECT count(*) FROM notifier.notices WHERE address IS NOT NULL") == 0
    (reply,) = await said(pool, "reply.done")
    assert (reply.topic, reply.key) == ("replies.notifier", str(request_id))
    assert (reply.body["account"], reply.body["answered_by"], reply.body["records"]) == ("a1", "service/notifier", 2)


async def test_a_question_asked_again_gets_the_same_answer(
    notifier: Notifier, pool: Pool, stated: Stated, request_id: UUID
) -> None:
    app, runtime = notifier
    await deliver(app, runtime, stated("a1"))
    await deliver(app, runtime, deletion(request_id))
    await deliver(app, runtime, deletion(request_id, attempt=2))
    first, second = await said(pool, "reply.done")
    assert first.body["records"] == second.body["records"] == 1


async def test_nothing_held_is_said_so_and_stays_so(
    notifier: Notifier, pool: Pool, stated: Stated, request_id: UUID
) -> None:
    app, runtime = notifier
    await deliver(app, runtime, deletion(request_id))
    await deliver(app, runtime, stated("a1"))
    await deliver(app, runtime, deletion(request_id, attempt=2))
    assert len(await said(pool, "reply.not_found")) == 2
    assert await pool.fetchval("SELECT count(*) FROM keys.owners") == 0


async def test_a_deletion_that_names_others_is_none_of_ours(
    notifier: Notifier, pool: Pool, stated: Stated, request_id: UUID
) -> None:
    app, runtime = notifier
    await deliver(app, runtime, stated("a1"))
    await deliver(app, runtime, deletion(request_id, "orders", "marketing"))
    assert await pool.fetchval("SELECT count(*) FROM notifier.accounts") == 1
    assert await outbox(pool) == []


@pytest.mark.parametrize("how", ["requested", "deleted"])
async def test_no_later_state_brings_an_account_back(
    notifier: Notifier, pool: Pool, stated: Stated, request_id: UUID, how: str
) -> None:
    app, runtime = notifier
    await deliver(app, runtime, stated("a1"))
    gone = AccountDeleted(id="a1", version=2, deleted_at=NOW)
    await deliver(app, runtime, deletion(request_id) if how == "requested" else gone)
    await deliver(app, runtime, stated("a1", version=9))
    assert await pool.fetchval("SELECT count(*) FROM notifier.accounts") == 0
    assert await pool.fetchval("SELECT count(*) FROM keys.owners") == 0


async def test_what_waits_is_cancelled(
    notifier: Notifier, pool: Pool, mail_server: Any, peers: Any, stated: Stated, revised: Revised, request_id: UUID
) -> None:
    app, runtime = notifier
    await deliver(app, runtime, stated("a1"))
    await deliver(app, runtime, revised(2))
    await deliver(app, runtime, deletion(request_id))
    (failed,) = await said(pool, "notice.failed")
    assert (failed.body["reason"], failed.body["policy_version"]) == ("account_deleted", 2)
    assert len(await said(pool, "notice.completed")) == 1
    peers.policy(2)
    await run_jobs(app, runtime)
    await run_jobs(app, runtime)
    assert mail_server.taken == []


async def test_a_mail_on_its_way_ends_by_its_own_answer(
    notifier: Notifier, pool: Pool, mail_server: Any, peers: Any, stated: Stated, revised: Revised, request_id: UUID
) -> None:
    """The deletion comes between DATA and the answer: the ledger says sent, as is true, and keeps no trace."""
    app, runtime = notifier
    peers.policy(2)
    await deliver(app, runtime, stated("a1"))
    await deliver(app, runtime, revised(2))

    async def delete() -> None:
        await deliver(app, runtime, deletion(request_id))

    mail_server.before_answer = delete
    await run_jobs(app, runtime)
    await run_jobs(app, runtime)
    assert len(mail_server.taken) == 1
    assert await said(pool, "notice.failed") == []
    assert len(await said(pool, "notice.sent")) == 1
    row = await pool.fetchrow("SELECT state, address FROM notifier.notices")
    assert row is not None
    assert tuple(row) == ("sent", None)


async def test_a_mail_that_may_have_arrived_is_not_repeated_after_the_deletion(
    notifier: Notifier, pool: Pool, mail_server: Any, peers: Any, stated: Stated, revised: Revised, request_id: UUID
) -> None:
    app, runtime = notifier
    peers.policy(2)
    mail_server.at_data = ["drop"]
    await deliver(app, runtime, stated("a1"))
    await deliver(app, runtime, revised(2))
    await run_jobs(app, runtime)
    await deliver(app, runtime, deletion(request_id))
    await run_jobs(app, runtime)
    assert len(mail_server.taken) == 1
    (failed,) = await said(pool, "notice.failed")
    # Nobody knows whether it arrived; how often it may have is known.
    assert (failed.body["reason"], failed.body["unanswered"]) == ("unanswered", 1)


async def test_a_deletion_between_address_and_data_stops_the_mail(  # noqa: PLR0917 - fixtures
    notifier: Notifier,
    pool: Pool,
    mail_server: Any,
    peers: Any,
    stated: Stated,
    revised: Revised,
    request_id: UUID,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app, runtime = notifier
    peers.policy(2)
    await deliver(app, runtime, stated("a1"))
    await deliver(app, runtime, revised(2))
    prepared = sending._prepared

    async def then_deleted(*given: Any) -> Any:
        mail = await prepared(*given)
        await deliver(app, runtime, deletion(request_id))
        return mail

    monkeypatch.setattr(sending, "_prepared", then_deleted)
    await run_jobs(app, runtime)
    await run_jobs(app, runtime)
    assert mail_server.taken == []
    assert len(await said(pool, "notice.failed")) == 1
    assert await said(pool, "personal_data.disclosed") == []


async def test_an_erased_key_is_a_deleted_account(
    notifier: Notifier, pool: Pool, mail_server: Any, peers: Any, stated: Stated, revised: Revised
) -> None:
    """As after a restore, when the erasure ledger has destroyed the key of a row that came back."""
    app, runtime = notifier
    peers.policy(2)
    await deliver(app, runtime, stated("a1"))
    await deliver(app, runtime, revised(2))
    async with transaction(pool) as tx:
        await runtime.sealing.erase(tx, "account/a1")
    await run_jobs(app, runtime)
    await run_jobs(app, runtime)
    assert mail_server.taken == []
    assert (await said(pool, "notice.failed"))[0].body["reason"] == "account_deleted"


async def test_projections_can_be_built_again(notifier: Notifier, pool: Pool, stated: Stated, request_id: UUID) -> None:
    """Wiped and applied again: the same rows, sealed values compared opened; nothing emitted, nobody comes back."""
    from chassis.consumer import decode
    from chassis.testing import record
    from privacy_contracts.topology import topics

    app, runtime = notifier
    log = [
        stated("a1"),
        stated("a2"),
        stated("a3"),
        stated("a2", "new@example.com", version=2),
        AccountDeleted(id="a3", version=2, deleted_at=NOW),
    ]
    await deliver(app, runtime, *log)
    await deliver(app, runtime, deletion(request_id))
    before, emitted = await projected(runtime, pool), len(await outbox(pool))
    async with transaction(pool) as tx:
        for table in app.handlers.projected_tables:
            await tx.execute(f"DELETE FROM {table}")  # noqa: S608 - named in code
        for event in log:
            received = decode(record(event), topics()[event.topic], app.handlers.events)
            assert received is not None
            await app.handlers.apply(received, tx, again=True)
    assert await projected(runtime, pool) == before == {"a2": (2, "new@example.com")}
    assert len(await outbox(pool)) == emitted
    assert await pool.fetchval("SELECT count(*) FROM chassis.jobs") == 0


async def projected(runtime: Runtime[Settings], pool: Pool) -> dict[str, tuple[int, str]]:
    async with transaction(pool) as tx:
        rows = await tx.fetch("SELECT id, version, email FROM accounts")
        return {
            row["id"]: (
                row["version"],
                await runtime.sealing.open(tx, f"account/{row['id']}", row["email"], ADDRESS),
            )
            for row in rows
        }
