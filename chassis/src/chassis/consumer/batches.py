"""A batch of records, applied in one transaction with the positions behind it.

Positions are stored with what was applied and fenced by the stored old ones: a predecessor that was paused finds
another position there and applies nothing. Each event's id enters the inbox with its effect, so that a producer's
repeat is recognised. A batch that fails is rolled back and split at the failing record, which is then tried alone.
"""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from chassis import crash
from chassis.consumer import dead_letters
from chassis.consumer.handlers import Handlers
from chassis.consumer.records import Partition, Record, Rejected, Undecodable, code_of, decode, identity
from chassis.database import Connection, Pool, affected, columns, is_transient, transaction, will_pass
from chassis.sealing import Sealing
from chassis.telemetry import counter, span

log = logging.getLogger(__name__)
_APPLIED = counter("consumer_applied", "records whose transaction committed")
_REPEATED = counter("consumer_repeated", "events that were recognised as repeats")
_DEAD = counter("consumer_dead_letters", "records that became dead letters, by reason")
_PAUSED = counter("consumer_pauses", "times the consumer waited for something to come back")

EVERY = ""
"""Stands for every topic."""


class Fenced(Exception):
    """The stored position is not the one we knew: another consumer applied these records."""


class Stopped(Exception):
    """Partitions are being taken away, or the process ends; nothing of the batch under way was applied."""


@dataclass
class ItemFailed(Exception):
    """The record at `index` raised `cause`; the transaction was rolled back."""

    index: int
    cause: Exception


@dataclass
class Breaker:
    """Counts distinct keys of the last minute, and those of them that failed."""

    least: int = 20
    share: float = 0.05
    window: float = 60.0
    seen: dict[object, float] = field(default_factory=dict)
    failed: dict[object, float] = field(default_factory=dict)

    def passed(self, keys: Sequence[object], now: float) -> None:
        """These keys were applied."""
        self.seen.update(dict.fromkeys(keys, now))
        if len(self.seen) > 100_000:
            self._forget(now)

    def opens(self, key: object, now: float) -> str | None:
        """This key failed for the first time. Why to stop, if this is not about single events."""
        self.failed[key] = self.seen[key] = now
        self._forget(now)
        if len(self.failed) < self.least or len(self.failed) <= self.share * len(self.seen):
            return None
        return f"{len(self.failed)} of {len(self.seen)} keys failed within a minute"

    def _forget(self, now: float) -> None:
        for table in (self.seen, self.failed):
            for key in [key for key, at in table.items() if at < now - self.window]:
                del table[key]


@dataclass
class Batches:
    """Applies batches for one consumer group. `positions` is what this consumer knows of its partitions.

    `passed` holds how far the log was read where no record of the batch is: nothing but transaction markers stands
    between, and the positions follow, so that a log that expired behind them does not look like one that lost events.
    `stopped` says why nothing more is applied, by topic, or for `EVERY` one. What our handlers fail at stops them
    all, before everybody's event is a dead letter; what a topic's writer made unreadable stops that topic alone.
    `backoff` are the seconds between the attempts of one event, `pause` those of waiting for something to come back.
    """

    pool: Pool
    handlers: Handlers
    sealing: Sealing
    breakers: dict[str, Breaker] = field(default_factory=lambda: defaultdict(Breaker))
    stopped: dict[str, str] = field(default_factory=dict)
    positions: dict[Partition, int] = field(default_factory=dict)
    passed: dict[Partition, int] = field(default_factory=dict)
    waiting_for: str | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    backoff: tuple[float, ...] = (0.2, 1.0)
    pause: float = 0.5

    async def assigned(self, beginnings: Mapping[Partition, int]) -> dict[Partition, int]:
        """Where to go on, by partition; a partition seen for the first time starts at its beginning."""
        async with transaction(self.pool) as tx:
            await tx.executemany(
                "INSERT INTO chassis.positions (topic, partition, next_offset) VALUES ($1, $2, $3)"
                " ON CONFLICT DO NOTHING",
                [(topic, partition, offset) for (topic, partition), offset in beginnings.items()],
            )
        self.positions, self.passed, self.waiting_for = await self._stored(beginnings), {}, None
        return dict(self.positions)

    async def handle(self, records: Sequence[Record]) -> None:
        """Apply all of them. Raises `Fenced` and `Stopped`; anything else is dealt with here."""
        rest = records
        while rest := self._ahead(rest):
            failure = await self._try(rest)
            if isinstance(failure, ItemFailed):
                log.info("splitting a batch of %d: %s", len(rest), type(failure.cause).__name__)
                await self.handle(rest[: failure.index])
                await self._single(rest[failure.index])
                rest = rest[failure.index + 1 :]
            elif failure:
                for record in rest:
                    await self._single(record)

    async def _single(self, record: Record) -> None:
        """Try one record alone, a bounded number of times, then make it a dead letter."""
        failures, dead = 0, None
        while self._ahead([record]):
            failure = await self._try([record], dead)
            if failure is None:
                continue
            if dead:
                raise failure
            cause, failures = _cause(failure), failures + 1
            scope = record.topic if isinstance(cause, Undecodable) else EVERY
            if failures == 1 and (why := self.breakers[scope].opens(_breaker_key(record), time.monotonic())):
                self.halt(scope, why)
            elif failures > len(self.backoff) or isinstance(cause, Rejected | Undecodable):
                dead = code_of(cause)
            else:
                await self._sleep(self.backoff[failures - 1])

    async def _try(self, records: Sequence[Record], dead: str | None = None) -> Exception | None:
        """Apply them once. What will pass is waited for; any other failure is returned, and is the events' own.

        A handler of raw records passes none: whatever one alone fails at is waited for.
        """
        try:
            await self._once(records, dead)
        except (Fenced, Stopped):
            raise
        except Exception as error:
            if not (_is_not_the_events_fault(error) or (self.handlers.raw_handler and len(records) == 1)):
                return error
            await self._wait(error)
        return None

    def halt(self, scope: str, why: str) -> None:
        """Apply nothing more of a topic, or of `EVERY` one, until a restart."""
        log.error("the consumer has stopped %s: %s", scope or "everything", why)
        self.stopped[scope] = why

    async def _once(self, records: Sequence[Record], dead: str | None) -> None:
        """One transaction. `dead` is the reason for which the only record becomes a dead letter."""
        with span("batch", links=[each.traceparent for each in records]):
            async with transaction(self.pool) as tx:
                advanced = await self._advance(tx, records)
                if self.handlers.raw_handler:
                    await self.handlers.raw_handler(records, tx)
                else:
                    await self._apply(tx, records, dead)
                crash.point("consumer.before-commit")
        self.positions.update(advanced)
        self.waiting_for = None
        for scope in (EVERY, *{record.topic for record in records}):
            keys = [_breaker_key(record) for record in records if scope in (EVERY, record.topic)]
            self.breakers[scope].passed(keys, time.monotonic())
        _APPLIED.add(len(records))
        crash.point("consumer.after-commit")

    async def _advance(self, tx: Connection, records: Sequence[Record]) -> dict[Partition, int]:
        """Move the stored positions behind these records; raises `Fenced` where a stored one is not as known."""
        ends = {each: upto for each, upto in self.passed.items() if upto > self.positions.get(each, upto)}
        ends |= {record.place: record.offset + 1 for record in records}
        moved = await tx.execute(
            "UPDATE chassis.positions SET next_offset = moved.upto"
            " FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[]) AS moved (topic, partition, known, upto)"
            " WHERE positions.topic = moved.topic AND positions.partition = moved.partition"
            " AND positions.next_offset = moved.known",
            *columns([(*each, self.positions[each], upto) for each, upto in ends.items()], 4),
        )
        if affected(moved) != len(ends):
            raise Fenced
        return ends

    async def _apply(self, tx: Connection, records: Sequence[Record], dead: str | None) -> None:
        fresh = await _remember(tx, [identity(record, self.handlers.topics[record.topic]) for record in records])
        crash.point("consumer.after-inbox")
        keys = {key for record in records if (key := self._held_key(record))}
        held = await dead_letters.held(tx, sorted(keys))
        for index, record in enumerate(records):
            topic = self.handlers.topics[record.topic]
            if not fresh[index]:
                _REPEATED.add(1)
            elif self._held_key(record) in held:
                await dead_letters.insert(tx, self.sealing, topic, record, None)
            elif dead:
                await dead_letters.insert(tx, self.sealing, topic, record, dead)
                _DEAD.add(1, {"topic": record.topic, "reason": dead})
                log.warning("dead letter on %s: %s", record.topic, dead)
            else:
                try:
                    if received := decode(record, topic, self.handlers.events):
                        await self.handlers.apply(received, tx)
                except Exception as error:
                    raise ItemFailed(index, error) from error

    def _held_key(self, record: Record) -> tuple[str, bytes] | None:
        """What a dead letter would hold; None where order does not matter or there is no key."""
        if record.key is None or not self.handlers.topics[record.topic].ordered:
            return None
        return record.topic, record.key

    def _ahead(self, records: Sequence[Record]) -> Sequence[Record]:
        """Those that are still to be applied: of our partitions, not applied yet, of no topic that is stopped."""
        positions, nothing = ({} if EVERY in self.stopped else self.positions), float("inf")
        ahead = [each for each in records if each.offset >= positions.get(each.place, nothing)]
        return [each for each in ahead if each.topic not in self.stopped]

    async def _wait(self, error: Exception) -> None:
        """Wait, then read our positions anew: after a lost connection nobody knows if the last commit happened."""
        while True:
            self.waiting_for = type(_cause(error)).__name__
            _PAUSED.add(1)
            await self._sleep(self.pause)
            try:
                stored = await self._stored(self.positions)
            except Exception as again:
                error = again
                continue
            if any(stored[each] < known for each, known in self.positions.items()):
                raise Fenced  # an older database came back: what lies between is to be read again
            self.positions = stored
            return

    async def _stored(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        async with transaction(self.pool) as tx:
            rows = await tx.fetch("SELECT topic, partition, next_offset FROM chassis.positions")
        stored = {(row["topic"], row["partition"]): row["next_offset"] for row in rows}
        return {partition: stored.get(partition, -1) for partition in partitions}

    async def _sleep(self, seconds: float) -> None:
        """Raises `Stopped` when partitions are taken away meanwhile."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stop.wait()
                raise Stopped


def _is_not_the_events_fault(failure: Exception) -> bool:
    """A statement that takes too long is an event's fault only where its handler ran it."""
    return will_pass(failure.cause) if isinstance(failure, ItemFailed) else is_transient(failure)


def _cause(error: Exception) -> Exception:
    return error.cause if isinstance(error, ItemFailed) else error


def _breaker_key(record: Record) -> object:
    return (record.topic, record.key) if record.key is not None else (record.place, record.offset)


async def _remember(tx: Connection, names: Sequence[tuple[str, str] | None]) -> list[bool]:
    """Put the ids into the inbox, sorted so that two consumers cannot deadlock. Which of them are new, in order.

    A record without a usable id counts as new. Of two with the same id in one batch the first is new.
    """
    wanted = sorted({name for name in names if name})
    rows = await tx.fetch(
        "INSERT INTO chassis.inbox (source, id)"
        " SELECT given.source, given.id FROM unnest($1::text[], $2::text[]) AS given (source, id)"
        " WHERE NOT EXISTS (SELECT FROM chassis.inbox AS seen WHERE seen.source = given.source AND seen.id = given.id)"
        " ORDER BY 1, 2 ON CONFLICT DO NOTHING RETURNING source, id",
        *columns(wanted, 2),
    )
    new = {(row["source"], row["id"]) for row in rows}
    fresh = []
    for name in names:
        fresh.append(name is None or name in new)
        new.discard(name) if name else None
    return fresh
