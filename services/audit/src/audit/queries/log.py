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
    await tx.execute(
        'INSERT INTO audit.entries (index, topic, partition, "offset", key, ce_source, ce_id, ce_type, subject,'
        " request, ce_time, sequence, broker_time, recorded_at, headers, payload, omitted, body_hash, foreign_source)"
        " SELECT $1 + n - 1, topic, partition, at, key, source, id, type, subject, request, time, sequence,"
        " broker_time, $2, headers::jsonb, payload::json, omitted, body_hash, foreign_source"
        " FROM unnest($3::text[], $4::int[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],"
        " $11::uuid[], $12::timestamptz[], $13::bigint[], $14::timestamptz[], $15::text[], $16::text[], $17::text[],"
        " $18::bytea[], $19::boolean[]) WITH ORDINALITY AS fresh (topic, partition, at, key, source, id, type, subject,"
        " request, time, sequence, broker_time, headers, payload, omitted, body_hash, foreign_source, n)",
        start,
        recorded_at,
        *_columns(entries),
    )


def _columns(entries: Sequence[Entry]) -> tuple[list[object], ...]:
    return (
        [entry.topic for entry in entries],
        [entry.partition for entry in entries],
        [entry.offset for entry in entries],
        [entry.key for entry in entries],
        [entry.source for entry in entries],
        [entry.id for entry in entries],
        [entry.type for entry in entries],
        [entry.subject for entry in entries],
        [entry.request for entry in entries],
        [entry.time for entry in entries],
        [entry.sequence for entry in entries],
        [entry.broker_time for entry in entries],
        [as_json(entry.headers) for entry in entries],
        [entry.payload for entry in entries],
        [entry.omitted for entry in entries],
        [entry.body_hash for entry in entries],
        [entry.foreign_source for entry in entries],
    )


async def size(tx: Connection) -> int:
    """How many entries there are."""
    return int(await tx.fetchval("SELECT size FROM audit.log_state"))


async def lag(tx: Connection) -> float:
    """Seconds between the broker's time of the last batch's oldest record and its recording."""
    return float(await tx.fetchval("SELECT lag_seconds FROM audit.log_state"))
