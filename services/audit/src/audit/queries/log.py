"""Appending to the record. Whoever appends holds the row of `log_state` until the transaction ends."""

from collections.abc import Sequence
from datetime import datetime

from audit.domain.entries import Entry, Identity
from audit.domain.intake import Known
from chassis.database import Connection, as_json


async def lock(tx: Connection) -> int:
    """Wait for the right to append; returns the record's size, which is the next index."""
    return int(await tx.fetchval("SELECT size FROM audit.log_state FOR UPDATE"))


async def known(tx: Connection, entries: Sequence[Entry]) -> dict[Identity, Known]:
    """Which of these are recorded already, by identity. The lock must be held."""
    named = [entry for entry in entries if entry.source is not None and entry.id is not None]
    nameless = [entry for entry in entries if entry.source is None or entry.id is None]
    found: dict[Identity, Known] = {}
    if named:
        rows = await tx.fetch(
            "SELECT e.topic, e.ce_source, e.ce_id, e.index, e.body_hash"
            " FROM unnest($1::text[], $2::text[], $3::text[]) AS asked (topic, source, id)"
            " JOIN audit.entries AS e"
            " ON e.topic = asked.topic AND e.ce_source = asked.source AND e.ce_id = asked.id",
            [entry.topic for entry in named],
            [entry.source for entry in named],
            [entry.id for entry in named],
        )
        for row in rows:
            found[row["topic"], row["ce_source"], row["ce_id"]] = Known(row["index"], row["body_hash"])
    if nameless:
        rows = await tx.fetch(
            'SELECT e.topic, e.partition, e."offset", e.index, e.body_hash'
            " FROM unnest($1::text[], $2::int[], $3::bigint[]) AS asked (topic, partition, at)"
            " JOIN audit.entries AS e"
            ' ON e.topic = asked.topic AND e.partition = asked.partition AND e."offset" = asked.at'
            " AND (e.ce_source IS NULL OR e.ce_id IS NULL)",
            [entry.topic for entry in nameless],
            [entry.partition for entry in nameless],
            [entry.offset for entry in nameless],
        )
        for row in rows:
            found[row["topic"], row["partition"], row["offset"]] = Known(row["index"], row["body_hash"])
    return found


async def append(tx: Connection, start: int, entries: Sequence[Entry], now: datetime, lag: float) -> None:
    """Write entries from index `start` on; the database refuses any other start. `lag` is in seconds.

    Times never run backwards by index: an entry is recorded at `now` or, if that is later, when the last one was.
    """
    recorded_at = await tx.fetchval(
        "UPDATE audit.log_state SET recorded_at = greatest(recorded_at, $1), lag_seconds = $2 RETURNING recorded_at",
        now,
        lag,
    )
    if not entries:
        return
    await tx.copy_records_to_table(
        "entries",
        schema_name="audit",
        columns=_COLUMNS,
        records=(_row(index, entry, recorded_at) for index, entry in enumerate(entries, start)),
    )


_COLUMNS = (
    *("index", "topic", "partition", "offset", "key", "ce_source", "ce_id", "ce_type", "subject", "request", "ce_time"),
    *("sequence", "broker_time", "recorded_at", "headers", "payload", "omitted", "body_hash", "foreign_source"),
)


def _row(index: int, entry: Entry, recorded_at: datetime) -> tuple[object, ...]:
    return (
        index,
        entry.topic,
        entry.partition,
        entry.offset,
        entry.key,
        entry.source,
        entry.id,
        entry.type,
        entry.subject,
        entry.request,
        entry.time,
        entry.sequence,
        entry.broker_time,
        recorded_at,
        as_json(entry.headers),
        entry.payload,
        entry.omitted,
        entry.body_hash,
        entry.foreign_source,
    )


async def size(tx: Connection) -> int:
    """How many entries there are."""
    return int(await tx.fetchval("SELECT size FROM audit.log_state"))


async def lag(tx: Connection) -> float:
    """Seconds between the broker's time of the last batch's oldest record and its recording."""
    return float(await tx.fetchval("SELECT lag_seconds FROM audit.log_state"))
