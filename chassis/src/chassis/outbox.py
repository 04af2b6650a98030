"""Events leave through the outbox: a state change and its event commit together, and one relay publishes in order.

The relay numbers each row (`ce_sequence`) before it first publishes it, so that a repeat carries the same number; it
publishes in a Kafka transaction and deletes what was committed. Who may publish is a lease with an epoch that every
numbering and deletion checks; `transactional.id` fences a predecessor that was paused in mid-publish, so that it can
never overwrite what its successor wrote.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from uuid_utils.compat import uuid7

from chassis import crash, telemetry
from chassis.database import Connection, Pool, as_json, transaction
from privacy_contracts import Event

log = logging.getLogger(__name__)
_EMITTED = telemetry.counter("outbox_emitted", "events put into the outbox")
_PUBLISHED = telemetry.counter("outbox_published", "rows published, repeats included")

LARGEST = 64 * 1024
"""Bytes of the largest event; larger things travel over HTTP."""
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
    if max(map(len, bodies)) > LARGEST:
        raise EventTooLarge(f"an event of {max(map(len, bodies))} bytes; the limit is {LARGEST}")
    trace = telemetry.traceparent()
    ids = [uuid7() for _ in events]
    headers = [
        {
            "ce_specversion": "1.0",
            "ce_id": str(event_id),
            "ce_type": event.type,
            "ce_subject": event.subject,
            "ce_time": at.isoformat(),
            "content-type": "application/json",
        }
        | ({"traceparent": trace} if trace else {})
        for event, event_id in zip(events, ids, strict=True)
    ]
    await tx.execute(
        "WITH put AS (INSERT INTO chassis.outbox (event_id, topic, key, headers, body)"
        " SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[]::jsonb[], $5::bytea[]))"
        " SELECT pg_notify($6, '')",
        ids,
        [event.topic for event in events],
        [event.key for event in events],
        [as_json(each) for each in headers],
        bodies,
        _CHANNEL,
    )
    _EMITTED.add(len(events))
    return ids


async def oldest_age(tx: Connection) -> float:
    """Seconds since the oldest unpublished event was put in; 0 when there is none."""
    age = await tx.fetchval("SELECT extract(epoch FROM now() - min(created_at)) FROM chassis.outbox")
    return float(age or 0)


@contextlib.asynccontextmanager
async def _woken(listener: Connection) -> AsyncIterator[asyncio.Event]:
    """An event that is set when something was put in."""
    wake = asyncio.Event()

    def on_notify(*_: object) -> None:
        wake.set()

    await listener.add_listener(_CHANNEL, on_notify)
    try:
        yield wake
    finally:
        if not listener.is_closed():
            await listener.remove_listener(_CHANNEL, on_notify)


class Relay:
    """Publishes one service's outbox. `source` is the service; `holder` names this instance of it."""

    def __init__(
        self, pool: Pool, source: str, prefix: str, holder: str, producer: Callable[[], AIOKafkaProducer]
    ) -> None:
        self._pool = pool
        self._source = source
        self._prefix = prefix
        self._holder = holder
        self._producer = producer
        self._epoch = 0
        self.problem: str | None = "not started"

    async def run(self) -> None:
        """Publish for ever; without Kafka, Postgres or the lease, wait and try again. Cancelled, give the lease up."""
        try:
            while True:
                try:
                    await self._take_lease()
                    await self._publish_all()
                except Exception as error:
                    self.problem = None if isinstance(error, LostLease) else f"waiting: {type(error).__name__}"
                    log.info("relay waits: %s", type(error).__name__)
                    await asyncio.sleep(0.5)
        finally:
            with contextlib.suppress(Exception):  # then it runs out
                async with asyncio.timeout(2):
                    await self._give_up_lease()

    async def _take_lease(self) -> None:
        """Ours at once if this instance held it, else when it has run out. Raises `LostLease`."""
        async with transaction(self._pool) as tx:
            epoch = await tx.fetchval(
                "INSERT INTO chassis.leases (name, holder, epoch, expires_at)"
                " VALUES ('relay', $1, 1, now() + $2 * interval '1 second')"
                " ON CONFLICT (name) DO UPDATE SET holder = $1, epoch = leases.epoch + 1,"
                " expires_at = excluded.expires_at"
                " WHERE leases.holder = $1 OR leases.expires_at < now() RETURNING epoch",
                self._holder,
                LEASE_SECONDS,
            )
        if epoch is None:
            raise LostLease
        self._epoch = epoch

    async def _give_up_lease(self) -> None:
        async with transaction(self._pool) as tx:
            await tx.execute(
                "UPDATE chassis.leases SET expires_at = now() WHERE name = 'relay' AND epoch = $1", self._epoch
            )

    async def _publish_all(self) -> None:
        """Publish what is there and what comes. Ends by an error only; a new producer then takes over."""
        producer = self._producer()
        try:
            await producer.start()
            async with self._pool.acquire() as listener, _woken(listener) as wake:
                while not listener.is_closed():
                    wake.clear()
                    self.problem = None
                    if rows := await self._number():
                        await self._publish(producer, rows)
                        await self._delete([row["id"] for row in rows])
                        continue
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(1):
                            await wake.wait()
        finally:
            with contextlib.suppress(KafkaError, OSError):
                async with asyncio.timeout(2):
                    await producer.stop()

    async def _number(self) -> list[asyncpg.Record]:
        """The next rows in order, each with its sequence; those numbered before a crash come first."""
        async with transaction(self._pool) as tx:
            await self._hold_lease(tx)
            rows = await tx.fetch(
                "SELECT id, topic, key, headers, body, sequence FROM chassis.outbox"
                " WHERE sequence IS NOT NULL ORDER BY topic, sequence LIMIT $1",
                BATCH,
            )
            if rows:
                return rows
            rows = await tx.fetch(
                "SELECT id, topic FROM chassis.outbox WHERE sequence IS NULL ORDER BY id LIMIT $1", BATCH
            )
            if not rows:
                return []
            last = {
                row["topic"]: row["last"]
                for row in await tx.fetch(
                    "INSERT INTO chassis.sequences AS s (topic, last)"
                    " SELECT topic, count(*) FROM unnest($1::text[]) AS topic GROUP BY topic ORDER BY topic"
                    " ON CONFLICT (topic) DO UPDATE SET last = s.last + excluded.last"
                    " RETURNING topic, last",
                    [row["topic"] for row in rows],
                )
            }
            numbers = []
            for row in reversed(rows):
                numbers.append(last[row["topic"]])
                last[row["topic"]] -= 1
            numbers.reverse()
            numbered = await tx.fetch(
                "UPDATE chassis.outbox SET sequence = numbered.sequence"
                " FROM unnest($1::bigint[], $2::bigint[]) AS numbered (id, sequence) WHERE outbox.id = numbered.id"
                " RETURNING outbox.id, topic, key, headers, body, outbox.sequence",
                [row["id"] for row in rows],
                numbers,
            )
        crash.point("relay.after-numbering")
        return sorted(numbered, key=lambda row: int(row["id"]))

    async def _hold_lease(self, tx: Connection) -> None:
        """Extend the lease within this transaction. Raises `LostLease` when a higher epoch stands there."""
        held = await tx.fetchval(
            "UPDATE chassis.leases SET expires_at = now() + $2 * interval '1 second'"
            " WHERE name = 'relay' AND epoch = $1 RETURNING true",
            self._epoch,
            LEASE_SECONDS,
        )
        if not held:
            raise LostLease

    async def _publish(self, producer: AIOKafkaProducer, rows: Sequence[asyncpg.Record]) -> None:
        async with producer.transaction():
            sent = [
                await producer.send(
                    self._prefix + row["topic"], row["body"], row["key"].encode(), headers=self._headers(row)
                )
                for row in rows
            ]
            crash.point("relay.in-transaction")
            await asyncio.gather(*sent)
        crash.point("relay.after-produce")
        _PUBLISHED.add(len(rows))

    def _headers(self, row: asyncpg.Record) -> list[tuple[str, bytes]]:
        given = row["headers"] | {"ce_source": self._source, "ce_sequence": str(row["sequence"])}
        return [(name, value.encode()) for name, value in given.items()]

    async def _delete(self, ids: Sequence[int]) -> None:
        async with transaction(self._pool) as tx:
            await self._hold_lease(tx)
            await tx.execute("DELETE FROM chassis.outbox WHERE id = ANY($1)", ids)
        crash.point("relay.after-delete")
