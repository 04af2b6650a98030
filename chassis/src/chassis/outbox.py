"""Events leave through the outbox: a state change and its event commit together, and one relay publishes in order.

The relay numbers each row (`ce_sequence`) before it first publishes it, so that a repeat carries the same number; it
publishes in a Kafka transaction and deletes what was committed. Who may publish is a lease with an epoch that every
numbering and deletion checks; `transactional.id` fences a predecessor that was paused in mid-publish, so that it can
never overwrite what its successor wrote.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from uuid_utils.compat import uuid7

from chassis import crash, telemetry
from chassis.database import Connection, Pool, as_json, repeat, transaction
from privacy_contracts import Event
from privacy_contracts.envelope import LARGEST_BODY

_EMITTED = telemetry.counter("outbox_emitted", "events put into the outbox")
_PUBLISHED = telemetry.counter("outbox_published", "rows published, repeats included")

BATCH = 500
LEASE_SECONDS = 10
_CHANNEL = "chassis_outbox"


class EventTooLarge(Exception):
    """An event over 64 KiB. Send a reference and a hash instead."""


class LostLease(Exception):
    """Another relay publishes now."""


async def emit(tx: Connection, event: Event, at: datetime) -> UUID:
    """Put one event into the outbox; returns its id. Lock the aggregate's row first: outbox order is commit order."""
    return (await emit_all(tx, [event], at))[0]


async def emit_all(tx: Connection, events: Sequence[Event], at: datetime) -> list[UUID]:
    """Put events into the outbox in this order. `at` is domain time. Raises `EventTooLarge`."""
    if not events:
        return []
    bodies = [event.to_bytes() for event in events]
    if (largest := max(map(len, bodies))) > LARGEST_BODY:
        raise EventTooLarge(f"an event of {largest} bytes; the limit is {LARGEST_BODY}")
    trace = telemetry.traceparent()
    ids = [uuid7() for _ in events]
    headers = [
        {"ce_specversion": "1.0", "ce_id": str(event_id), "ce_type": event.type, "ce_subject": event.subject}
        | {"ce_time": at.isoformat(), "content-type": "application/json"}
        | ({"traceparent": trace} if trace else {})
        for event, event_id in zip(events, ids, strict=True)
    ]
    topics, keys = [event.topic for event in events], [event.key for event in events]
    await tx.execute(
        "WITH put AS (INSERT INTO chassis.outbox (event_id, topic, key, headers, body)"
        " SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[]::jsonb[], $5::bytea[]))"
        " SELECT pg_notify($6, '')",
        *(ids, topics, keys, [as_json(each) for each in headers], bodies, _CHANNEL),
    )
    _EMITTED.add(len(events))
    return ids


async def oldest_age(tx: Connection) -> float:
    """Seconds since the oldest unpublished event was put in; 0 when there is none."""
    age = await tx.fetchval("SELECT extract(epoch FROM now() - min(created_at)) FROM chassis.outbox")
    return float(age or 0)


@dataclass
class Relay:
    """Publishes one service's outbox. `source` is the service, `holder` this instance of it, `kafka` how to connect.

    `check` is asked before anything is published under a new lease; where it raises, nothing is.
    """

    pool: Pool
    source: str
    prefix: str
    holder: str
    kafka: dict[str, Any]
    check: Callable[[], Awaitable[None]] | None = None
    problem: str | None = "not started"
    _epoch: int = 0

    async def run(self) -> None:
        """Publish for ever; without Kafka, Postgres or the lease, wait and try again. Cancelled, give the lease up."""
        try:
            await repeat("relay", self._lead, 0.5)
        finally:
            with contextlib.suppress(Exception):  # then it runs out
                async with asyncio.timeout(2), transaction(self.pool) as tx:
                    await self._give_up_lease(tx)

    async def _lead(self) -> None:
        try:
            await self._take_lease()
            await self._publish_all()
        except LostLease:
            self.problem = None  # another instance publishes
        except Exception as error:
            self.problem = f"waiting: {type(error).__name__}"
            raise

    async def _take_lease(self) -> None:
        """Ours at once if this instance held it, else when it has run out. Raises `LostLease`."""
        async with transaction(self.pool) as tx:
            epoch = await tx.fetchval(
                "INSERT INTO chassis.leases (name, holder, epoch, expires_at)"
                " VALUES ('relay', $1, 1, now() + $2 * interval '1 second')"
                " ON CONFLICT (name) DO UPDATE SET holder = $1, epoch = leases.epoch + 1,"
                " expires_at = excluded.expires_at"
                " WHERE leases.holder = $1 OR leases.expires_at < now() RETURNING epoch",
                *(self.holder, LEASE_SECONDS),
            )
        if epoch is None:
            raise LostLease
        self._epoch = epoch

    async def _give_up_lease(self, tx: Connection) -> None:
        give_up = "UPDATE chassis.leases SET expires_at = now() WHERE name = 'relay' AND epoch = $1"
        await tx.execute(give_up, self._epoch)

    async def _publish_all(self) -> None:
        """Publish what is there and what comes. Ends by an error only; a new producer then takes over."""
        name, wake = f"{self.prefix}{self.source}-relay", asyncio.Event()
        producer = AIOKafkaProducer(**self.kafka, transactional_id=name, acks="all")

        def on_notify(*_: object) -> None:
            wake.set()

        try:
            await producer.start()  # our predecessor, if there was one, publishes nothing from here on
            if self.check:
                await self.check()
            async with self.pool.acquire() as listener:
                await listener.add_listener(_CHANNEL, on_notify)
                try:
                    while not listener.is_closed():
                        await self._publish_next(producer, wake)
                finally:
                    if not listener.is_closed():
                        await listener.remove_listener(_CHANNEL, on_notify)
        finally:
            with contextlib.suppress(KafkaError, OSError):
                async with asyncio.timeout(2):
                    await producer.stop()

    async def _publish_next(self, producer: AIOKafkaProducer, wake: asyncio.Event) -> None:
        wake.clear()
        self.problem = None
        if rows := await self._number():
            await self._publish(producer, rows)
            await self._delete([row["id"] for row in rows])
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await wake.wait()

    async def _number(self) -> list[asyncpg.Record]:
        """The next rows in order, each with its sequence; those numbered before a crash come first."""
        async with transaction(self.pool) as tx:
            await self._hold_lease(tx)
            rows = await tx.fetch(
                "SELECT id, topic, key, headers, body, sequence FROM chassis.outbox"
                " WHERE sequence IS NOT NULL ORDER BY topic, sequence LIMIT $1",
                BATCH,
            )
            if rows:
                return rows
            rows = await tx.fetch(
                "WITH fresh AS (SELECT id, topic, count(*) OVER (PARTITION BY topic) AS many,"
                "  row_number() OVER (PARTITION BY topic ORDER BY id) AS nth"
                "  FROM (SELECT id, topic FROM chassis.outbox WHERE sequence IS NULL ORDER BY id LIMIT $1) AS next),"
                " given AS (INSERT INTO chassis.sequences AS s (topic, last)"
                "  SELECT topic, count(*) FROM fresh GROUP BY topic ORDER BY topic"
                "  ON CONFLICT (topic) DO UPDATE SET last = s.last + excluded.last RETURNING topic, last)"
                " UPDATE chassis.outbox SET sequence = last - many + nth FROM fresh JOIN given USING (topic)"
                " WHERE outbox.id = fresh.id"
                " RETURNING outbox.id, outbox.topic, key, headers, body, sequence",
                BATCH,
            )
        crash.point("relay.after-numbering")
        return sorted(rows, key=lambda row: int(row["id"]))

    async def _hold_lease(self, tx: Connection) -> None:
        """Extend the lease within this transaction. Raises `LostLease` when a higher epoch stands there."""
        held = await tx.fetchval(
            "UPDATE chassis.leases SET expires_at = now() + $2 * interval '1 second'"
            " WHERE name = 'relay' AND epoch = $1 RETURNING true",
            *(self._epoch, LEASE_SECONDS),
        )
        if not held:
            raise LostLease

    async def _publish(self, producer: AIOKafkaProducer, rows: Sequence[asyncpg.Record]) -> None:
        async with producer.transaction():
            sent = []
            for row in rows:
                topic, key, headers = self.prefix + row["topic"], row["key"].encode(), self._headers(row)
                sent.append(await producer.send(topic, row["body"], key, headers=headers))
            crash.point("relay.in-transaction")
            await asyncio.gather(*sent)
        crash.point("relay.after-produce")
        _PUBLISHED.add(len(rows))

    def _headers(self, row: asyncpg.Record) -> list[tuple[str, bytes]]:
        given = row["headers"] | {"ce_source": self.source, "ce_sequence": str(row["sequence"])}
        return [(name, value.encode()) for name, value in given.items()]

    async def _delete(self, ids: Sequence[int]) -> None:
        async with transaction(self.pool) as tx:
            await self._hold_lease(tx)
            await tx.execute("DELETE FROM chassis.outbox WHERE id = ANY($1)", ids)
        crash.point("relay.after-delete")
