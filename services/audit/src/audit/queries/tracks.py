"""The numbers seen of each source on each topic."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from asyncpg import Range

from audit.domain.sequences import Mark, Source, Span, Track
from chassis.database import Connection, as_json


async def lock(tx: Connection, sources: Sequence[Source]) -> dict[Source, Track]:
    """The tracks of these sources, locked; one that was never seen is new."""
    rows = await tx.fetch(
        "SELECT topic, source, high, missing, marks FROM audit.tracks"
        " WHERE (topic, source) IN (SELECT * FROM unnest($1::text[], $2::text[])) ORDER BY topic, source FOR UPDATE",
        [topic for topic, _ in sources],
        [source for _, source in sources],
    )
    found = {(row["topic"], row["source"]): _track(row["high"], row["missing"], row["marks"]) for row in rows}
    return {source: found.get(source, Track()) for source in sources}


async def lock_all(tx: Connection) -> dict[Source, Track]:
    """Every track, locked."""
    rows = await tx.fetch(
        "SELECT topic, source, high, missing, marks FROM audit.tracks ORDER BY topic, source FOR UPDATE"
    )
    return {(row["topic"], row["source"]): _track(row["high"], row["missing"], row["marks"]) for row in rows}


async def save(tx: Connection, tracks: Mapping[Source, Track]) -> None:
    """Write tracks."""
    for (topic, source), track in sorted(tracks.items()):
        await tx.execute(
            "INSERT INTO audit.tracks (topic, source, high, missing, marks) VALUES ($1, $2, $3, $4, $5::text::jsonb)"
            " ON CONFLICT (topic, source) DO UPDATE"
            " SET high = excluded.high, missing = excluded.missing, marks = excluded.marks",
            topic,
            source,
            track.high,
            ranges(track.missing),
            as_json([[mark.at.isoformat(), mark.high] for mark in track.marks]),
        )


async def open_gaps(tx: Connection) -> float:
    """How many spans of numbers are missing now, overdue or not."""
    return float(await tx.fetchval("SELECT count(*) FROM audit.tracks, LATERAL unnest(tracks.missing) AS span"))


def ranges(spans: Sequence[Span]) -> "list[Range[int]]":
    """Spans as a multirange."""
    return [Range(low, end) for low, end in spans]


def spans(multirange: "Sequence[Range[int]]") -> tuple[Span, ...]:
    """A multirange as spans."""
    return tuple((s.lower, s.upper) for s in multirange if s.lower is not None and s.upper is not None)


def _track(high: int, missing: "Sequence[Range[int]]", marks: Sequence[tuple[str, int]]) -> Track:
    return Track(high, spans(missing), tuple(Mark(datetime.fromisoformat(at), at_high) for at, at_high in marks))
