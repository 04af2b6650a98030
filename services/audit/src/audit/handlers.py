"""The Kafka edge: whole batches as they come, every record an entry; and the check for gaps.

Nothing is decoded before this, and nothing is dead-lettered: a batch that fails is tried again for ever.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from audit import queries
from audit.domain import entries, intake, sequences
from audit.domain.entries import Entry
from audit.domain.sequences import Source
from audit.settings import Settings
from chassis import outbox, timers
from chassis.app import Runtime
from chassis.clock import real
from chassis.consumer import Handlers, Record
from chassis.database import Connection
from chassis.telemetry import span
from chassis.timers import Timer, TimerHandler
from privacy_contracts.topology import read_by

LOST = "lost"
"""How a gap is resolved whose numbers an operator has declared lost, by `service.recovered`."""
CHECK = "gaps"
"""The kind of the timer that looks for overdue gaps."""


def record_handlers(runtime: Runtime[Settings]) -> Handlers:
    """Intake of every topic that this service reads."""
    handlers, zone = Handlers(read_by(intake.NAME)), ZoneInfo(runtime.company.time_zone)

    def keyed(body: bytes) -> bytes:
        return runtime.sealing.fingerprint("audit.body", hashlib.sha256(body).hexdigest())

    @handlers.raw
    async def record(records: Sequence[Record], tx: Connection) -> None:
        now = runtime.clock.now()
        prepared = [entries.entry_of(each, handlers.topics[each.topic], keyed) for each in records]
        size = await queries.log.lock(tx)
        taken = intake.take(prepared, await queries.log.known(tx, prepared), size, handlers.topics)
        await queries.log.append(tx, size, taken.new, now, _lag(records))
        arrived = intake.numbered(taken, handlers.topics)
        tracks, reused = intake.follow(arrived, await queries.tracks.lock(tx, sorted(arrived)))
        await queries.tracks.save(tx, tracks)
        await queries.findings.about_records(tx, [*taken.odd, *reused], now)
        await _give_up(tx, intake.lost(taken.new, handlers.topics), now)
        await _answer(tx, taken.new, zone, now)

    return handlers


async def _answer(tx: Connection, new: Sequence[Entry], zone: ZoneInfo, now: datetime) -> None:
    """Answer the deletions that name this service, each within the trace that asked."""
    for entry in new:
        if answer := intake.retained(entry, zone, now):
            with span("event deletion.requested", dict(entry.headers).get("traceparent"), **answer.about):
                await outbox.emit(tx, answer, now)


async def _give_up(tx: Connection, lost: Iterable[tuple[Source, int, int]], now: datetime) -> None:
    """Numbers that an operator has declared lost: those that never came are a finding, and resolved by this."""
    for source, low, high in lost:
        track = (await queries.tracks.lock(tx, [source]))[source]
        complaints = (await queries.findings.open_gaps(tx)).get(source, {})
        given_up = sequences.give_up(track, complaints, low, high)
        await queries.tracks.save(tx, {source: given_up.track})
        found = [await queries.findings.gap(tx, source, given_up.overdue, now)] if given_up.overdue else []
        await queries.findings.resolve(tx, [*given_up.resolved, *found], LOST, now)


def _lag(records: Sequence[Record]) -> float:
    return max(0.0, (real() - min(each.timestamp for each in records)).total_seconds())


async def check_gaps(tx: Connection, found_at: datetime, waited_until: datetime) -> None:
    """Make findings of overdue gaps, and resolve those whose numbers have come.

    `waited_until` is real time, `found_at` is written into the record.
    """
    tracks = await queries.tracks.lock_all(tx)
    complaints = await queries.findings.open_gaps(tx)
    for source, track in tracks.items():
        checked = sequences.check(track, complaints.get(source, {}), waited_until)
        if checked.overdue:
            await queries.findings.gap(tx, source, checked.overdue, found_at)
        await queries.findings.resolve(tx, checked.resolved, "arrived", found_at)
        if checked.track != track:
            await queries.tracks.save(tx, {source: checked.track})


def gap_timer(runtime: Runtime[Settings]) -> TimerHandler:
    """Checks for gaps, and sets itself again."""

    async def check(_: Timer, tx: Connection) -> None:
        await check_gaps(tx, runtime.clock.now(), real())
        await timers.put(tx, CHECK, "all", runtime.clock.now() + sequences.CHECK_EVERY)

    return check
