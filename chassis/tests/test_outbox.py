"""The outbox and its relay: order, numbers without gaps, one publisher at a time."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import ProducerFenced

from chassis.app.runtime import Runtime, kafka
from chassis.consumer.records import Record
from chassis.database import transaction
from chassis.outbox import EventTooLarge, LostLease, Relay, emit, emit_all, oldest_age
from chassis.testing import START, until
from local_stack.servers import Servers
from privacy_contracts.envelope import LARGEST_BODY

from .conftest import Processes, published
from .sample import SERVICE, Note


class SlowProducer(AIOKafkaProducer):  # type: ignore[misc]  # aiokafka ships no types
    """Stands still before its second record, until it is let go."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.standing, self.go = asyncio.Event(), asyncio.Event()
        self.sent = 0
        self.fenced = False

    async def send(self, *args: Any, **kwargs: Any) -> Any:
        self.sent += 1
        if self.sent == 2:
            self.standing.set()
            await self.go.wait()
        return await super().send(*args, **kwargs)

    async def commit_transaction(self) -> None:
        try:
            await super().commit_transaction()
        except ProducerFenced:
            self.fenced = True
            raise


def relay(rt: Runtime[Any], holder: str = "one") -> Relay:
    return Relay(rt.pool, SERVICE, rt.settings.topic_prefix, holder, kafka(rt.settings))


@asynccontextmanager
async def running(each: Relay) -> AsyncIterator[None]:
    task = asyncio.create_task(each.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def put(rt: Runtime[Any], *notes: tuple[str, int]) -> None:
    async with transaction(rt.pool) as tx:
        await emit_all(tx, [Note(name=name, number=number) for name, number in notes], START)


async def drained(rt: Runtime[Any], seconds: float = 20) -> None:
    async def empty() -> bool:
        return not await rt.pool.fetch("SELECT id FROM chassis.outbox")

    await until(empty, seconds)


def number(record: Record) -> int:
    return int(json.loads(record.value or b"{}")["number"])


def sequence(record: Record) -> int:
    return int(record.header("ce_sequence") or 0)


async def test_events_come_in_order_per_key_and_numbered_without_gaps(rt: Runtime[Any]) -> None:
    names = ["a", "b", "c", "d", "e"]
    async with running(relay(rt)):
        for start in range(0, 30, 10):
            await put(rt, *((name, each) for each in range(start, start + 10) for name in names))
        await drained(rt)
    found = await published(rt)
    for name in names:
        assert [number(each) for each in found if each.key == name.encode()] == list(range(30))
    assert sorted(map(sequence, found)) == list(range(1, 151))
    assert {each.header("ce_source") for each in found} == {SERVICE}
    assert {each.header("ce_time") for each in found} == {START.isoformat()}
    assert len({each.header("ce_id") for each in found}) == 150


async def test_an_event_goes_with_its_transaction(rt: Runtime[Any]) -> None:
    with pytest.raises(asyncpg.DivisionByZeroError):  # noqa: PT012 - the transaction is the point
        async with transaction(rt.pool) as tx:
            await emit(tx, Note(name="a", number=1), START)
            await tx.execute("SELECT 1 / 0")
    await put(rt, ("a", 2))
    async with running(relay(rt)):
        await drained(rt)
    (only,) = await published(rt)
    assert (number(only), sequence(only)) == (2, 1)


async def test_an_event_that_is_too_large_is_refused(rt: Runtime[Any]) -> None:
    async with transaction(rt.pool) as tx:
        with pytest.raises(EventTooLarge):
            await emit_all(tx, [Note(name="a", number=1), Note(name="x" * LARGEST_BODY, number=2)], START)
        assert await emit_all(tx, [], START) == []
    assert await rt.pool.fetchval("SELECT count(*) FROM chassis.outbox") == 0


async def test_a_second_relay_waits_and_the_same_instance_takes_over_at_once(rt: Runtime[Any]) -> None:
    async def holder() -> Any:
        return await rt.pool.fetchrow("SELECT holder, epoch, expires_at > now() AS valid FROM chassis.leases")

    await put(rt, ("a", 1))
    async with running(relay(rt, "one")):
        await drained(rt)
        async with running(relay(rt, "two")):
            await asyncio.sleep(1)
            assert dict(await holder()) == {"holder": "one", "epoch": 1, "valid": True}
    assert not (await holder())["valid"], "a relay that ends gives its lease up"
    await rt.pool.execute("UPDATE chassis.leases SET expires_at = now() + interval '10 seconds'")
    await put(rt, ("a", 2))
    async with running(relay(rt, "one")):
        await drained(rt, 5)
    assert (await holder())["epoch"] == 2


async def test_whoever_lost_the_lease_neither_numbers_nor_deletes(rt: Runtime[Any]) -> None:
    old, new = relay(rt, "old"), relay(rt, "new")
    await put(rt, ("a", 1))
    await old._take_lease()
    rows = await old._number()
    with pytest.raises(LostLease):
        await new._take_lease()
    await rt.pool.execute("UPDATE chassis.leases SET expires_at = now() - interval '1 second'")
    await new._take_lease()
    for late in (old._number(), old._delete([row["id"] for row in rows])):
        with pytest.raises(LostLease):
            await late
    async with transaction(rt.pool) as tx:
        await old._give_up_lease(tx)
    assert [row["sequence"] for row in await new._number()] == [1]
    assert await rt.pool.fetchval("SELECT expires_at > now() FROM chassis.leases")


async def test_a_relay_that_was_paused_in_mid_publish_cannot_overwrite_a_deletion(
    rt: Runtime[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SlowProducer(**kafka(rt.settings), transactional_id=f"{rt.settings.topic_prefix}{SERVICE}-relay", acks="all")
    await put(rt, ("account", 1), ("account", 2))
    monkeypatch.setattr("chassis.outbox.AIOKafkaProducer", lambda **_: slow)
    async with running(relay(rt, "one")):
        await slow.standing.wait()
        monkeypatch.undo()
        await rt.pool.execute("UPDATE chassis.leases SET expires_at = now() - interval '1 second'")
        await put(rt, ("account", -1))
        async with running(relay(rt, "two")):
            await drained(rt)
            before = await published(rt)
            slow.go.set()
            await until(lambda: asyncio.sleep(0, slow.sent > 2 or slow.fenced or slow._closed))
            await asyncio.sleep(0.3)
    found = await published(rt)
    assert found == before, "nothing came after what the successor wrote"
    assert [(number(each), sequence(each)) for each in found] == [(1, 1), (2, 2), (-1, 3)]


async def test_a_stopped_process_that_wakes_up_publishes_nothing(rt: Runtime[Any], process: Processes) -> None:
    await put(rt, ("account", 1), ("account", 2))
    old = await process("serve", INSTANCE="old", CRASH_POINT="relay.in-transaction:stop")
    await until(lambda: asyncio.sleep(0, state(old.pid) == "T"))
    await rt.pool.execute("UPDATE chassis.leases SET expires_at = now() - interval '1 second'")
    await put(rt, ("account", -1))
    async with running(relay(rt, "new")):
        await drained(rt)
        before = await published(rt)
        os.kill(old.pid, signal.SIGCONT)
        assert old.stderr is not None
        async with asyncio.timeout(20):
            while b"relay waits: ProducerFenced" not in await old.stderr.readline():
                pass
    assert [(number(each), sequence(each)) for each in before] == [(1, 1), (2, 2), (-1, 3)]
    assert await published(rt) == before


def state(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


async def test_a_relay_goes_on_after_its_connections_were_cut(rt: Runtime[Any], servers: Servers) -> None:
    async with running(relay(rt)):
        await put(rt, ("a", 1))
        await drained(rt)
        admin = await asyncpg.connect(servers.postgres.url)
        database = await rt.pool.fetchval("SELECT current_database()")
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", database)
        await admin.close()
        await until(lambda: again(rt))
        await drained(rt)
    assert [number(each) for each in await published(rt)] == [1, 2]


async def again(rt: Runtime[Any]) -> bool:
    try:
        await put(rt, ("a", 2))
    except Exception:
        return False
    return True


async def test_the_age_of_the_outbox_is_known(rt: Runtime[Any]) -> None:
    async with transaction(rt.pool) as tx:
        assert await oldest_age(tx) == 0
        await emit(tx, Note(name="a", number=1), START)
        await tx.execute("UPDATE chassis.outbox SET created_at = now() - interval '7 seconds'")
        assert await oldest_age(tx) == pytest.approx(7)
