"""Batches: positions, inbox, splitting, dead letters, holds, fencing, the breaker."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from chassis.app.runtime import Runtime
from chassis.consumer import Handlers, Received, Record, Rejected
from chassis.consumer.batches import EVERY, Batches, Breaker, Fenced
from chassis.database import Connection
from chassis.testing import START, deliver_records, record
from privacy_contracts.notices import NoticePosted
from privacy_contracts.replies import ReplyDone
from privacy_contracts.topology import topics

from .conftest import NOTICES, Sample, effects, letters, posted


async def test_an_event_is_applied_once_however_often_it_comes(sample: Sample, rt: Runtime[Any]) -> None:
    first = record(posted(1))
    await deliver_records(sample.app, rt, first, first, record(posted(2)))
    await deliver_records(sample.app, rt, first)
    assert await effects(rt.pool) == [1, 2]
    assert await letters(rt.pool) == []
    assert await rt.pool.fetchval("SELECT next_offset FROM chassis.positions") == 4


async def test_a_failing_event_is_split_off_and_the_others_are_applied(sample: Sample, rt: Runtime[Any]) -> None:
    sample.broken[3] = ValueError("no")
    await deliver_records(sample.app, rt, *(record(posted(n)) for n in range(1, 6)))
    assert await effects(rt.pool) == [1, 2, 4, 5]
    (letter,) = await letters(rt.pool)
    assert letter["reason"] == "ValueError"


async def test_an_sql_error_that_a_handler_swallows_commits_nothing(sample: Sample, rt: Runtime[Any]) -> None:
    handlers = sample.app.handlers

    @handlers.reaction(NoticePosted)
    async def careless(_: Received[NoticePosted], tx: Connection) -> None:
        try:
            await tx.execute("SELECT 1 / 0")
        except asyncpg.PostgresError:
            pass

    await deliver_records(sample.app, rt, record(posted(1)))
    assert await effects(rt.pool) == []
    assert len(await letters(rt.pool)) == 1


async def test_an_unknown_type_is_skipped(sample: Sample, rt: Runtime[Any]) -> None:
    await deliver_records(sample.app, rt, record(posted(1), headers={"ce_type": b"notice.invented"}))
    assert await effects(rt.pool) == []
    assert await letters(rt.pool) == []
    assert await rt.pool.fetchval("SELECT next_offset FROM chassis.positions") == 1


async def test_a_paused_predecessor_is_fenced_by_the_stored_position(sample: Sample, rt: Runtime[Any]) -> None:
    old = Batches(rt.pool, sample.app.handlers, rt.sealing)
    await old.assigned({("notices", 0): 0})
    new = Batches(rt.pool, sample.app.handlers, rt.sealing)
    await new.assigned({("notices", 0): 0})
    first = record(posted(1), offset=0)
    await new.handle([first])
    for late in (first, record(posted(2), offset=0)):  # the inbox would recognise the one, and not the other
        with pytest.raises(Fenced):
            await old.handle([late])
    assert await effects(rt.pool) == [1]


async def test_a_handler_of_raw_records_gets_every_one_and_passes_none(rt: Runtime[Any]) -> None:
    raw, failures, kept = Handlers([NOTICES]), [ValueError("no"), OSError("away"), KeyError("no")], list[int]()

    @raw.raw
    async def keep(records: Sequence[Record], _: Connection) -> None:
        if failures:
            raise failures.pop()
        kept.extend(each.offset for each in records)

    batches = Batches(rt.pool, raw, rt.sealing, pause=0.01)
    await batches.assigned({("notices", 0): 0})
    poison = record(posted(1), offset=1, value=b"\xff", headers={"ce_source": None})
    await batches.handle([record(posted(1), offset=0), poison, record(posted(2), offset=4)])
    assert kept == [0, 1, 4]
    assert await rt.pool.fetchval("SELECT next_offset FROM chassis.positions") == 5
    assert await letters(rt.pool) == []


async def test_the_breaker_stops_before_everybody_is_dead(sample: Sample, rt: Runtime[Any]) -> None:
    sample.broken = {n: ValueError("deploy") for n in range(1, 60)}
    batches = await deliver_records(sample.app, rt, *(record(posted(n)) for n in range(1, 60)))
    assert batches.stopped == {EVERY: "20 of 20 keys failed within a minute"}
    assert len(await letters(rt.pool)) == 19
    await batches.handle([record(posted(100), offset=100)])
    assert sample.seen == []


async def test_a_writer_of_unreadable_records_stops_its_own_topic_alone(sample: Sample, rt: Runtime[Any]) -> None:
    broken = topics()["replies.orders"]
    both = Handlers([NOTICES, broken])
    both.events, both.reactions = sample.app.handlers.events | {"reply.done": ReplyDone}, sample.app.handlers.reactions
    reply = ReplyDone(request=uuid7(), system="orders", account="a1", answered_by="system", answered_at=START)
    poison = (record(reply, key=b"%d" % n, value=b"{") for n in range(60))
    batches = await deliver_records(replace(sample.app, handlers=both), rt, *poison, record(posted(1)))
    assert list(batches.stopped) == ["replies.orders"]
    assert len(await letters(rt.pool)) == 19
    assert sample.seen == [1]
    assert await rt.pool.fetchval("SELECT next_offset FROM chassis.positions WHERE topic = 'replies.orders'") == 19


def test_the_breaker_counts_distinct_keys_of_the_last_minute() -> None:
    busy = Breaker()
    busy.passed(range(1000), 0.0)
    assert not any(busy.opens(("few", n), 1.0) for n in range(49))
    assert any(busy.opens(("many", n), 2.0) for n in range(60))
    quiet = Breaker()
    assert not any(quiet.opens(("few", n), 0.0) for n in range(19))
    assert not quiet.opens(("few", 0), 1.0)
    assert not quiet.opens("later", 100.0)


UNSTORABLE: list[tuple[dict[str, bytes | None], dict[str, Any]]] = [
    ({"x-trace": b"\x00\x01"}, {"value": b"poison"}),
    ({"ce_id": b"a\x00b"}, {}),
    ({"ce_source": b"notifier\x00"}, {}),
    ({}, {"key": bytes(range(256)) * 16}),
]


@pytest.mark.parametrize(("headers", "changes"), UNSTORABLE, ids=["header", "id", "source", "long key"])
async def test_what_a_column_could_not_hold_stops_nobody(
    sample: Sample, rt: Runtime[Any], headers: dict[str, bytes | None], changes: dict[str, Any]
) -> None:
    await deliver_records(sample.app, rt, record(posted(1), headers=headers, **changes), record(posted(2)))
    assert sample.seen == [2]
    assert len(await letters(rt.pool)) == 1


async def test_nobody_can_use_up_the_id_of_anothers_event(sample: Sample, rt: Runtime[Any]) -> None:
    both = Handlers([NOTICES, topics()["replies.marketing"]])
    both.events, both.reactions = sample.app.handlers.events, sample.app.handlers.reactions
    app = replace(sample.app, handlers=both)
    true = record(posted(1))
    await deliver_records(app, rt, replace(true, topic="replies.marketing"))
    await deliver_records(app, rt, true)
    assert sample.seen == [1]


async def test_a_database_that_comes_back_older_is_read_for_again(sample: Sample, rt: Runtime[Any]) -> None:
    await deliver_records(sample.app, rt, *(record(posted(n)) for n in (1, 2, 3)))
    batches = Batches(rt.pool, sample.app.handlers, rt.sealing, pause=0.01)
    await batches.assigned({("notices", 0): 0})
    await rt.pool.execute("UPDATE chassis.positions SET next_offset = 1")
    sample.broken[4] = OSError("away")
    with pytest.raises(Fenced):
        await batches.handle([record(posted(4), offset=3)])
    assert await rt.pool.fetchval("SELECT next_offset FROM chassis.positions") == 1


async def test_a_database_that_hangs_is_no_fault_of_an_event(
    sample: Sample, rt: Runtime[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = Batches(rt.pool, sample.app.handlers, rt.sealing, pause=0.01, backoff=(0.01, 0.01))
    await batches.assigned({("notices", 0): 0})
    advance, times = batches._advance, iter(range(5))

    async def hanging(tx: Connection, records: Any) -> Any:
        if next(times, None) is not None:
            raise TimeoutError
        return await advance(tx, records)

    monkeypatch.setattr(batches, "_advance", hanging)
    await batches.handle([record(posted(1))])
    assert sample.seen == [1]
    assert await letters(rt.pool) == []


async def test_a_full_disk_is_waited_out(sample: Sample, rt: Runtime[Any]) -> None:
    """Full for tables, not for Postgres' log: statements fail with 53100, in the middle of what a handler does."""
    batches, times = Batches(rt.pool, sample.app.handlers, rt.sealing, pause=0.01, backoff=(0.01, 0.01)), iter(range(5))
    await batches.assigned({("notices", 0): 0})
    full = "DO $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$"
    apply = sample.app.handlers.apply

    async def extend(received: Any, tx: Connection, **how: Any) -> None:
        if next(times, None) is not None:
            await tx.execute(full)
        await apply(received, tx, **how)

    batches.handlers.apply = extend  # type: ignore[method-assign]  # for this test's sample alone
    await batches.handle([record(posted(1))])
    assert sample.seen == [1]
    assert await letters(rt.pool) == []


async def test_twenty_failures_among_many_keys_stop_nothing(sample: Sample, rt: Runtime[Any]) -> None:
    batches = Batches(rt.pool, sample.app.handlers, rt.sealing)
    await batches.assigned({("notices", 0): 0})
    sample.broken = {n: Rejected("never") for n in range(601, 626)}
    await batches.handle([record(posted(n), offset=n) for n in range(1, 601)])
    await batches.handle([record(posted(n), offset=n) for n in range(601, 626)])
    assert batches.stopped == {}
    assert len(await letters(rt.pool)) == 25
