"""Whether the database and Kafka are of one age, and how a service goes on where a restored backup made them differ.

The database holds the last number given on each topic that this service writes, and each record carries its own. So the
newest record tells which is older: a higher number than ours, the database; a lower one, Kafka. Neither is passed over:
a service that went on would repeat, contradict or forget what it has said.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition
from uuid_utils.compat import uuid7

from chassis import outbox
from chassis.app.runtime import App, Runtime, kafka
from chassis.consumer.records import Record, Undecodable, decode
from chassis.consumer.subscription import as_record
from chassis.database import Connection, Pool, transaction
from chassis.settings import Settings
from privacy_contracts import EVENTS
from privacy_contracts.accesses import MovedPosition, Renumbered, ServiceRecovered
from privacy_contracts.topology import topics

_LOOK = 16
"""Offsets to read first at the end of a partition; eight times as many where they do not hold what is looked for."""
_SECONDS = 30


class OutOfStep(Exception):
    """Database and Kafka are not of one age; the message says which is older, and what to do."""


class CannotRebuild(Exception):
    """The message says why, and what to do."""


class _OnlyLooked(Exception):
    """Nothing is to stay changed."""


@dataclass(frozen=True)
class Age:
    """A topic of ours. `published` is the last number that was published for certain, `given` the last given, `log` the
    newest on Kafka; `records` are those behind `published` that stand there, in their order.
    """

    topic: str
    published: int
    given: int
    log: int
    records: Sequence[Record]

    @property
    def differs(self) -> bool:
        """Whether one of the two is older."""
        return not self.published <= self.log <= self.given

    @property
    def told(self) -> Renumbered:
        """The same for the record: what was given and never published is not lost."""
        return Renumbered(topic=self.topic, database=max(self.published, min(self.given, self.log)), log=self.log)


async def check(name: str, settings: Settings, pool: Pool) -> None:
    """Raises `OutOfStep`."""
    async with asyncio.timeout(_SECONDS), _reader(settings) as reader:
        ages = [each for each in await _ages(reader, name, settings.topic_prefix, pool) if each.differs]
    if ages:
        older, other = ("the database", "Kafka") if ages[0].log > ages[0].given else ("Kafka", "the database")
        numbers = ", ".join(f"{each.topic} at {each.given} here, {each.log} there" for each in ages)
        raise OutOfStep(f"{older} is older than {other} ({numbers}): stop {name}, then run `python -m {name} recover`")


async def recover(
    runtime: Runtime[Settings], app: App, who: Mapping[str, str] | None, read_on: str | None
) -> list[dict[str, Any]]:
    """Bring the database forward by what it does not know, number on behind both, move positions outside the log.

    Tells of each such event, topic and position. `who` are `actor` and `reason` of the act, which is an event; without
    them nothing stays changed. `read_on` is `beginning` or `end`, where positions behind the log's end are moved to.
    Raises `CannotRebuild` when the service runs, or when somebody has to say where to read on.
    """
    prefix, told = runtime.settings.topic_prefix, list[dict[str, Any]]()
    with suppress(_OnlyLooked):
        async with _reader(runtime.settings) as reader, transaction(runtime.pool) as tx:
            await must_be_stopped(tx)
            ages = await _ages(reader, runtime.name, prefix, runtime.pool)
            for age in ages:
                told += await _bring_forward(tx, app, age)
            numbers = [each.told for each in ages if each.differs]
            moved = await _move_positions(tx, reader, prefix, read_on if who else "end")
            told += [each.model_dump() for each in (*numbers, *moved)]
            if who is None:
                raise _OnlyLooked
            if told:
                now = runtime.clock.now()
                act = {"recovery": uuid7(), "system": runtime.name, "recovered_at": now, **who}
                await outbox.emit(tx, ServiceRecovered(**act, topics=numbers, positions=moved), now)
    return told


async def must_be_stopped(tx: Connection) -> None:
    """Raises `CannotRebuild` while the service runs; one that starts now waits until the transaction has ended."""
    await tx.execute("SET LOCAL idle_in_transaction_session_timeout = 0")  # long may the log be read meanwhile
    if await tx.fetchval("SELECT expires_at > now() FROM chassis.leases WHERE name = 'relay' FOR UPDATE"):
        raise CannotRebuild("the service runs, or ran 10 seconds ago: stop it and try again")


async def _bring_forward(tx: Connection, app: App, age: Age) -> list[dict[str, Any]]:
    """Apply what we once said and do not know. What of it stands in the outbox we know, and is published.

    So is what stands there before it for the same key, even where compaction has taken it from the topic since.
    """
    last = {record.key.decode(): record.header("ce_id") for record in age.records if record.key}
    published = await tx.fetch(
        "DELETE FROM chassis.outbox USING unnest($2::text[], $3::uuid[]) AS last (said, event) WHERE topic = $1 AND"
        " key = said AND id <= coalesce((SELECT id FROM chassis.outbox WHERE event_id = event), id) RETURNING event_id",
        *(age.topic, list(last), list(last.values())),
    )
    known, told = {str(row["event_id"]) for row in published}, []
    for record in age.records:
        if record.header("ce_id") not in known and _number(record) > age.given:
            received = decode(record, topics()[age.topic], EVENTS)
            restored = received is not None and app.restate is not None and await app.restate(received, tx)
            said = {name: record.header(f"ce_{name}") for name in ("id", "type", "subject", "time")}
            told.append({"topic": age.topic, "number": _number(record), **said, "restored": restored})
    number = "INSERT INTO chassis.sequences AS s (topic, last) VALUES ($1, $2) ON CONFLICT (topic) DO UPDATE"
    await tx.execute(f"{number} SET last = greatest(s.last, excluded.last)", age.topic, age.log)
    if age.log < age.published:
        lost = "INSERT INTO chassis.lost VALUES ($1, $2, $3) ON CONFLICT (topic) DO UPDATE SET log = $2, given = $3"
        await tx.execute(lost, age.topic, age.log, age.published)
    return told


async def _move_positions(
    tx: Connection, reader: AIOKafkaConsumer, prefix: str, read_on: str | None
) -> list[MovedPosition]:
    rows = await tx.fetch("SELECT topic, partition, next_offset FROM chassis.positions ORDER BY topic, partition")
    places = {TopicPartition(prefix + topic, partition): position for topic, partition, position in rows}
    reader.assign(list(places))  # asks about all topics at once, not one after the other
    first, end = await reader.beginning_offsets(list(places)), await reader.end_offsets(list(places))
    moved = []
    for each, was in places.items():
        if not first[each] <= was <= end[each]:
            now, topic = max(first[each], 0 if read_on == "beginning" else min(was, end[each])), each.topic
            moved.append(MovedPosition(topic=topic.removeprefix(prefix), partition=each.partition, was=was, now=now))
    if moved and read_on is None:
        raise CannotRebuild("positions are outside the log: say where to read on, by --read-on beginning or end")
    move = "UPDATE chassis.positions SET next_offset = $3 WHERE topic = $1 AND partition = $2"
    await tx.executemany(move, [(each.topic, each.partition, each.now) for each in moved])
    return moved


@asynccontextmanager
async def _reader(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    reader = AIOKafkaConsumer(**kafka(settings), isolation_level="read_committed", auto_offset_reset="earliest")
    try:
        await reader.start()
        yield reader
    finally:
        await reader.stop()


async def _ages(reader: AIOKafkaConsumer, name: str, prefix: str, pool: Pool) -> list[Age]:
    """How each topic that we write and count stands. Our numbers are read before the log and after it: both grow.

    A topic from which everything has expired says nothing.
    """
    own = {each.name: each.partitions for each in topics().values() if each.writer == name and each.sequenced}
    before, there = await _given(pool), await reader.topics()
    places = [TopicPartition(prefix + topic, n) for topic in own if prefix + topic in there for n in range(own[topic])]
    first = await reader.beginning_offsets(places) if places else {}
    expired = {each.topic.removeprefix(prefix) for each, offset in first.items() if offset}
    published = {topic: before.get(topic, (0, 0))[0] for topic in own}
    newest = sorted(await _newest(reader, prefix, first, name, published), key=_number)
    after, ages = await _given(pool), []
    for topic, upto in published.items():
        ours = [each for each in newest if each.topic == topic]
        log = max(map(_number, ours), default=upto if topic in expired else 0)
        behind = [each for each in ours if _number(each) > upto]
        ages.append(Age(topic, upto, after.get(topic, (0, 0))[1], log, behind))
    return ages


async def _given(pool: Pool) -> dict[str, tuple[int, int]]:
    """By topic the last number that was published for certain, and stayed so, and the last that was given."""
    async with transaction(pool) as tx:
        rows = await tx.fetch(
            "SELECT s.topic, last, coalesce(log, published) AS published FROM chassis.sequences AS s"
            " CROSS JOIN LATERAL (SELECT coalesce(min(sequence) - 1, last) AS published FROM chassis.outbox AS o"
            "  WHERE o.topic = s.topic) AS o LEFT JOIN chassis.lost AS l ON l.topic = s.topic AND given = published"
        )
    return {row["topic"]: (row["published"], row["last"]) for row in rows}


async def _newest(
    reader: AIOKafkaConsumer,
    prefix: str,
    first: Mapping[TopicPartition, int],
    source: str,
    known: Mapping[str, int],
) -> list[Record]:
    """Our records at the end of each partition, back to one whose number is known."""
    found, wanted, span = list[Record](), list(first), _LOOK
    while wanted:
        end = await reader.end_offsets(wanted)
        reader.assign(wanted)
        for each in wanted:
            reader.seek(each, max(first[each], end[each] - span))
        read: dict[TopicPartition, list[Record]] = defaultdict(list)
        while left := [each for each in wanted if await reader.position(each) < end[each]]:
            for each, batch in (await reader.getmany(*left, timeout_ms=500)).items():
                read[each] += [record for raw in batch if _is_ours(record := as_record(raw, prefix), source)]
        more = []
        for each in wanted:
            if end[each] - span > first[each] and not any(_number(it) <= known[it.topic] for it in read[each]):
                more.append(each)
            else:
                found += read[each]
        wanted, span = more, span * 8
    return found


def _is_ours(record: Record, source: str) -> bool:
    """Whether our relay wrote it: its ids are UUIDs and its numbers numbers."""
    with suppress(Undecodable, ValueError):
        return bool(record.header("ce_source") == source and UUID(record.header("ce_id") or "") and _number(record))
    return False


def _number(record: Record) -> int:
    return int(record.header("ce_sequence") or 0)
