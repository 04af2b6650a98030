"""One consumer on a real broker: every way in which messages were seen to get lost, and its cure."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError
from confluent_kafka import TopicPartition as AdminPartition
from confluent_kafka.admin import AdminClient, NewTopic

from chassis.app.runtime import Runtime, kafka
from chassis.consumer import Received
from chassis.consumer.records import Record
from chassis.consumer.subscription import Subscription, as_record
from chassis.database import Connection, open_pool
from chassis.testing import record, until
from local_stack.ports import free_port
from local_stack.servers import Servers

from .conftest import Subscribed, Told, effects, letters, reached, reading
from .sample import SERVICE, Letter, Sample


def letter(number: int, name: str = "a", **changes: Any) -> Record:
    """A record of the topic `letters`."""
    return record(Letter(name=name, number=number), source="tester", sequence=number, **changes)


async def ready(subscription: Subscription) -> None:
    async def unproblematic() -> bool:
        return subscription.problem is None

    await until(unproblematic)


async def positions(rt: Runtime[Any]) -> dict[int, int]:
    rows = await rt.pool.fetch("SELECT partition, next_offset FROM chassis.positions WHERE topic = 'letters'")
    return {row["partition"]: row["next_offset"] for row in rows}


@pytest.mark.parametrize("timestamp", [-1, -(10**15), -(2**63)])
def test_a_time_that_no_calendar_has_stops_nobody(timestamp: int) -> None:
    raw = ConsumerRecord("p.letters", 0, 7, timestamp, 0, b"a", b"{}", None, 1, 2, ())
    assert as_record(raw, "p.").timestamp.year == 1970


LOSSES: dict[str, dict[str, Any]] = {
    "a header that is null": {"headers": {"ce_subject": None}},
    "a header that is no UTF-8": {"headers": {"ce_subject": b"\xff\xfe"}},
    "a body that does not decode, said to be JSON": {"value": b"\x00{"},
    "no body": {"value": None},
}


async def test_poison_at_the_head_of_a_batch_loses_nothing(
    rt: Runtime[Any], tell: Told, subscribed: Subscribed, sample: Sample
) -> None:
    for number, change in enumerate(LOSSES.values(), 1):
        await tell(letter(number, f"poison{number}", **change), letter(number))
    async with subscribed():
        assert await reached(rt.pool, len(LOSSES)) == [1, 2, 3, 4]
    assert [reason for reason, _ in await letters(rt.pool)] == ["header-null", "header-not-utf8", "schema", "no-body"]
    assert (await positions(rt))[0] == 2 * len(LOSSES)


async def test_a_batch_that_is_revoked_while_it_waits_is_applied_by_the_next_owner(
    rt: Runtime[Any], tell: Told, subscribed: Subscribed, sample: Sample
) -> None:
    stuck, hanging = asyncio.Event(), Sample()

    async def away(_: Received[Letter], __: Connection) -> None:
        stuck.set()
        raise OSError("the database went away")

    hanging.hook = away
    await tell(*(letter(number) for number in range(1, 6)))
    async with subscribed(hanging):
        await stuck.wait()
        async with subscribed() as other:
            await ready(other)

            async def all_or_none() -> bool:
                hanging.hook = None
                return len(await effects(rt.pool)) == 5

            await until(all_or_none)
    assert await effects(rt.pool) == [1, 2, 3, 4, 5]
    assert await letters(rt.pool) == []


async def test_a_failing_batch_is_never_passed_by_a_later_commit(
    rt: Runtime[Any], tell: Told, subscribed: Subscribed, sample: Sample
) -> None:
    failed = asyncio.Event()

    async def away(received: Received[Letter], _: Connection) -> None:
        if received.event.number == 1:
            failed.set()
            raise OSError("the database went away")

    sample.hook = away
    await tell(letter(1))
    async with subscribed() as first:
        await failed.wait()
        await tell(letter(2), letter(3, partition=1, name="b"))
        await until(lambda: asyncio.sleep(0, (first.problem or "").startswith("waiting: OSError")))
    assert await effects(rt.pool) == []
    assert set((await positions(rt)).values()) == {0}
    sample.hook = None
    async with subscribed():
        assert sorted(await reached(rt.pool, 3)) == [1, 2, 3]
    assert await effects(rt.pool, "a") == [1, 2]


@pytest.mark.parametrize("fault", [TimeoutError(), CommitFailedError()], ids=["never ends", "is refused"])
async def test_a_commit_that_fails_stops_nothing(
    rt: Runtime[Any], tell: Told, subscribed: Subscribed, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    async def commit(*_: Any) -> None:
        raise fault

    monkeypatch.setattr(AIOKafkaConsumer, "commit", commit)
    await tell(letter(1))
    async with subscribed():
        await reached(rt.pool, 1)
        await tell(letter(2))
        assert await reached(rt.pool, 2) == [1, 2]


async def test_a_commit_is_bounded_in_time(
    rt: Runtime[Any], tell: Told, subscribed: Subscribed, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def commit(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(AIOKafkaConsumer, "commit", commit)
    monkeypatch.setattr("chassis.consumer.subscription.COMMIT_SECONDS", 0.1)
    await tell(letter(1))
    async with subscribed():
        await reached(rt.pool, 1)
        await tell(letter(2))
        assert await reached(rt.pool, 2, seconds=5) == [1, 2]


async def test_a_swallowed_sql_error_is_a_failure_of_that_event_alone(
    rt: Runtime[Any], tell: Told, subscribed: Subscribed, sample: Sample
) -> None:
    async def careless(received: Received[Letter], tx: Connection) -> None:
        if received.event.number == 2:
            try:
                await tx.execute("SELECT 1 / 0")
            except asyncpg.PostgresError:
                pass

    sample.handlers.reaction(Letter)(careless)  # the last to run, so that nothing after it fails
    await tell(letter(1, "a"), letter(2, "b"), letter(3, "c"))
    async with subscribed():
        assert await reached(rt.pool, 2) == [1, 3]
    assert await letters(rt.pool) == [("InFailedSQLTransactionError", 1)]


async def test_reply_to_is_not_obeyed(rt: Runtime[Any], tell: Told, subscribed: Subscribed, prefix: str) -> None:
    await tell(letter(1, headers={"reply_to": f"{prefix}notes".encode(), "correlation_id": b"\xff"}))
    async with subscribed():
        assert await reached(rt.pool, 1) == [1]
    async with reading(rt) as consumer:
        ends = await consumer.end_offsets([TopicPartition(f"{prefix}notes", each) for each in range(3)])
    assert set(ends.values()) == {0}


async def test_a_service_starts_without_broker_and_without_database(
    rt: Runtime[Any], tell: Told, subscribed: Subscribed, servers: Servers, database_url: str
) -> None:
    await tell(letter(1))
    port = free_port()
    broker, database = f"127.0.0.1:{port}", database_url.replace(f":{servers.postgres.port}/", f":{port}/")
    absent = await open_pool(database, SERVICE, 2)
    async with subscribed(kafka_bootstrap=broker) as lonely:
        await until(lambda: asyncio.sleep(0, "Kafka" in (lonely.problem or "")))
        async with forward(port, servers.kafka.bootstrap):
            await until(lambda: asyncio.sleep(0, "Kafka" not in (lonely.problem or "")))
            assert await reached(rt.pool, 1) == [1]
    async with subscribed(pool=absent) as blind:
        await until(lambda: asyncio.sleep(0, "Unavailable" in (blind.problem or "")))
        await tell(letter(2))
        async with forward(port, f"127.0.0.1:{servers.postgres.port}"):
            assert await reached(rt.pool, 2) == [1, 2]
        absent.terminate()


@asynccontextmanager
async def forward(port: int, target: str, gate: asyncio.Event | None = None) -> AsyncIterator[None]:
    """A server on a port that was dead until now, and hands everything on; with a gate, while that is set."""
    host, target_port = target.split(":")

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                if gate:
                    await gate.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection(host, int(target_port))
        await asyncio.gather(pump(reader, to_writer), pump(to_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()


async def test_stored_positions_rule_and_not_what_was_committed_to_kafka(
    rt: Runtime[Any], tell: Told, subscribed: Subscribed, prefix: str
) -> None:
    await tell(*(letter(number) for number in range(1, 5)))
    async with reading(rt, group_id=prefix + SERVICE) as liar:
        first = TopicPartition(prefix + "letters", 0)
        liar.assign([first])
        await liar.commit({first: 4})
    async with subscribed():
        assert await reached(rt.pool, 4) == [1, 2, 3, 4]


async def test_a_restored_database_takes_up_what_it_does_not_know(
    rt: Runtime[Any], tell: Told, subscribed: Subscribed
) -> None:
    await tell(*(letter(number) for number in range(1, 5)))
    async with subscribed() as running:
        await reached(rt.pool, 4)
        async with rt.pool.acquire() as connection, connection.transaction():
            await connection.execute("DELETE FROM dsr.effects WHERE number > 2")
            await connection.execute("DELETE FROM chassis.inbox")
            await connection.execute("UPDATE chassis.positions SET next_offset = 2 WHERE partition = 0")
        await tell(letter(5))  # the running consumer notices by the position that is not as it knew
        assert await reached(rt.pool, 5) == [1, 2, 3, 4, 5]
        await ready(running)


async def test_a_position_outside_the_log_is_refused_and_never_reset(
    rt: Runtime[Any], tell: Told, subscribed: Subscribed, prefix: str, admin: AdminClient
) -> None:
    await tell(*(letter(number) for number in range(1, 5)))
    async with subscribed():
        await reached(rt.pool, 4)
    await rt.pool.execute("UPDATE chassis.positions SET next_offset = 9 WHERE partition = 0")
    await refused(subscribed, "position 9 is outside the log (0 to 4)")
    await rt.pool.execute("UPDATE chassis.positions SET next_offset = 1 WHERE partition = 0")
    for future in admin.delete_records([AdminPartition(prefix + "letters", 0, 3)]).values():
        future.result()
    await tell(letter(5))
    await refused(subscribed, "position 1 is outside the log (3 to 5)")
    assert await effects(rt.pool) == [1, 2, 3, 4]
    assert (await positions(rt))[0] == 1


async def refused(subscribed: Subscribed, why: str) -> None:
    async with subscribed() as subscription:
        await until(lambda: asyncio.sleep(0, why in subscription.stopped.get("letters", "")))


async def test_a_log_that_expired_behind_the_consumer_is_not_taken_for_a_lost_one(
    rt: Runtime[Any], tell: Told, subscribed: Subscribed, prefix: str, admin: AdminClient
) -> None:
    """A transaction's marker stands after its last event, and retention takes both."""
    async with writing(rt, "expiry") as producer:
        async with producer.transaction():
            await send(producer, prefix, letter(1))
        async with subscribed():
            await reached(rt.pool, 1)
            await asyncio.sleep(0.3)
            await tell(letter(2, "b", partition=1))
            await reached(rt.pool, 2)
    for future in admin.delete_records([AdminPartition(prefix + "letters", 0, -1)]).values():
        future.result()
    async with subscribed() as again:
        await ready(again)


@asynccontextmanager
async def writing(rt: Runtime[Any], transactional_id: str) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(**kafka(rt.settings), transactional_id=rt.settings.topic_prefix + transactional_id)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def send(producer: AIOKafkaProducer, prefix: str, each: Record) -> None:
    await producer.send_and_wait(
        prefix + each.topic, each.value, each.key, partition=each.partition, headers=list(each.headers)
    )


async def test_only_what_was_committed_is_read(
    rt: Runtime[Any], tell: Told, subscribed: Subscribed, prefix: str
) -> None:
    async with writing(rt, "aborts") as producer, subscribed() as subscription:
        await ready(subscription)
        await producer.begin_transaction()
        await send(producer, prefix, letter(1))
        await producer.abort_transaction()
        async with producer.transaction():
            await send(producer, prefix, letter(2))
        assert await reached(rt.pool, 1) == [2]


async def test_two_members_share_the_work_and_nothing_happens_twice_or_out_of_order(
    rt: Runtime[Any], tell: Told, subscribed: Subscribed
) -> None:
    names = [f"n{each}" for each in range(9)]

    def part(start: int) -> list[Record]:
        return [
            letter(number, name, partition=index % 3)
            for number in range(start, start + 40)
            for index, name in enumerate(names)
        ]

    async with subscribed() as first:
        await tell(*part(1))
        await ready(first)
        async with subscribed(Sample()) as second:
            await tell(*part(41))
            await ready(second)
        await tell(*part(81))
        await reached(rt.pool, 120 * len(names))
    for name in names:
        assert await effects(rt.pool, name) == list(range(1, 121))
    assert sum((await positions(rt)).values()) == 120 * len(names)


async def test_a_database_that_goes_away_pauses_and_loses_nothing(
    rt: Runtime[Any], tell: Told, subscribed: Subscribed, sample: Sample, servers: Servers
) -> None:
    killed = 0

    async def kill(received: Received[Letter], tx: Connection) -> None:
        nonlocal killed
        if received.event.number == 20 and killed < 4:
            killed += 1
            backend = await tx.fetchval("SELECT pg_backend_pid()")
            admin = await asyncpg.connect(servers.postgres.url)
            await admin.execute("SELECT pg_terminate_backend($1)", backend)
            await admin.close()

    sample.hook = kill
    await tell(*(letter(number) for number in range(1, 41)))
    async with subscribed():
        assert await reached(rt.pool, 40) == list(range(1, 41))
    assert killed == 4
    assert await letters(rt.pool) == []


async def test_a_statement_that_takes_too_long_for_one_event_alone_is_its_own_fault(
    rt: Runtime[Any], tell: Told, subscribed: Subscribed, sample: Sample
) -> None:
    async def slow(received: Received[Letter], tx: Connection) -> None:
        if received.event.number == 2:
            await tx.execute("SET LOCAL statement_timeout = '20ms'")
            await tx.execute("SELECT pg_sleep(1)")

    sample.hook = slow
    await tell(letter(1, "a"), letter(2, "b"), letter(3, "c"))
    async with subscribed():
        assert await reached(rt.pool, 2) == [1, 3]
    assert await letters(rt.pool) == [("QueryCanceledError", 1)]


async def test_waiting_for_a_lock_is_nobodys_fault(
    rt: Runtime[Any], tell: Told, subscribed: Subscribed, sample: Sample
) -> None:
    waited = asyncio.Event()

    async def impatient(_: Received[Letter], tx: Connection) -> None:
        await tx.execute("SET LOCAL lock_timeout = '20ms'")
        try:
            await tx.execute("LOCK TABLE dsr.effects IN ROW EXCLUSIVE MODE")
        except asyncpg.LockNotAvailableError:
            waited.set()
            raise

    sample.hook = impatient
    await tell(letter(1))
    async with rt.pool.acquire() as other, other.transaction():
        await other.execute("LOCK TABLE dsr.effects IN SHARE MODE")
        async with asyncio.timeout(20):
            running = asyncio.ensure_future(consume_until(subscribed, waited))
            await waited.wait()
            await running
    assert await letters(rt.pool) == []


async def consume_until(subscribed: Subscribed, event: asyncio.Event) -> None:
    async with subscribed():
        await event.wait()


async def test_a_topic_that_comes_later_is_read(
    rt: Runtime[Any], subscribed: Subscribed, sample: Sample, prefix: str, admin: AdminClient
) -> None:
    later = replace(sample.handlers.topics["letters"], name="later")
    sample.handlers.topics = dict(sample.handlers.topics) | {"later": later}
    async with subscribed() as subscription, writing(rt, "later") as producer:
        assert subscription.problem is not None
        for future in admin.create_topics([NewTopic(prefix + "later", 1, 1)]).values():
            future.result()
        async with producer.transaction():
            await send(producer, prefix, replace(letter(1), topic="later"))
        assert await reached(rt.pool, 1) == [1]
