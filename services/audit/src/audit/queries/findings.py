"""Findings, and that they are resolved. Both are only ever added to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from audit.domain.intake import Odd
from audit.domain.reading import Access, Place
from audit.domain.sequences import Source, Span
from audit.queries.recording import record
from audit.queries.tracks import ranges, spans
from chassis.database import Connection


@dataclass(frozen=True)
class Finding:
    """A row with its resolution. `missing` are the numbers a gap complained of, each span without its end."""

    id: int
    kind: str
    topic: str
    source: str | None
    entry: int | None
    partition: int | None
    offset: int | None
    body_hash: bytes | None
    missing: tuple[Span, ...]
    found_at: datetime
    resolved_at: datetime | None
    resolution: str | None


async def about_records(tx: Connection, odd: Sequence[Odd], now: datetime) -> None:
    """Add findings about records; one that is there already is not repeated."""
    if not odd:
        return
    await tx.execute(
        'INSERT INTO audit.findings (kind, topic, source, entry, partition, "offset", body_hash, found_at)'
        " SELECT kind, topic, source, entry, partition, at, body_hash, $8 FROM unnest($1::text[], $2::text[],"
        " $3::text[], $4::bigint[], $5::int[], $6::bigint[], $7::bytea[])"
        " AS odd (kind, topic, source, entry, partition, at, body_hash) ON CONFLICT DO NOTHING",
        [each.kind for each in odd],
        [each.entry.topic for each in odd],
        [each.entry.source for each in odd],
        [each.index for each in odd],
        [each.entry.partition for each in odd],
        [each.entry.offset for each in odd],
        [each.entry.body_hash for each in odd],
        now,
    )


async def gap(tx: Connection, source: Source, missing: Sequence[Span], now: datetime) -> int:
    """Add the finding that these numbers of a source have not come; its id."""
    added = await tx.fetchval(
        "INSERT INTO audit.findings (kind, topic, source, missing, found_at) VALUES ('gap', $1, $2, $3, $4)"
        " RETURNING id",
        *source,
        ranges(missing),
        now,
    )
    return int(added)


async def open_gaps(tx: Connection) -> dict[Source, dict[int, tuple[Span, ...]]]:
    """The open findings about gaps by source and id."""
    rows = await tx.fetch(
        "SELECT id, topic, source, missing FROM audit.findings AS f WHERE kind = 'gap'"
        " AND NOT EXISTS (SELECT FROM audit.resolutions AS r WHERE r.finding = f.id) ORDER BY id"
    )
    found: dict[Source, dict[int, tuple[Span, ...]]] = {}
    for row in rows:
        found.setdefault((row["topic"], row["source"]), {})[row["id"]] = spans(row["missing"])
    return found


async def resolve(tx: Connection, findings: Sequence[int], reason: str, now: datetime) -> None:
    """Mark findings as resolved; the first resolution of one stays."""
    await tx.execute(
        "INSERT INTO audit.resolutions (finding, reason, resolved_at) SELECT finding, $2, $3"
        " FROM unnest($1::bigint[]) AS finding ON CONFLICT DO NOTHING",
        findings,
        reason,
        now,
    )


async def page(tx: Connection, access: Access, place: Place, limit: int) -> tuple[list[Finding], bool]:
    """Up to `limit` findings after `place` up to its end, oldest first, and whether there are more.

    Only open or only resolved ones if the query says so.
    """
    rows = await tx.fetch(
        'SELECT f.id, f.kind, f.topic, f.source, f.entry, f.partition, f."offset", f.body_hash, f.missing, f.found_at,'
        " r.resolved_at, r.reason FROM audit.findings AS f LEFT JOIN audit.resolutions AS r ON r.finding = f.id"
        " WHERE f.id > $1 AND f.id <= $2 AND ($3::boolean IS NULL OR $3 = (r.finding IS NULL)) ORDER BY f.id LIMIT $4",
        place.after,
        place.end,
        access.query.open,
        limit + 1,
    )
    shown = [
        Finding(
            id=row["id"],
            kind=row["kind"],
            topic=row["topic"],
            source=row["source"],
            entry=row["entry"],
            partition=row["partition"],
            offset=row["offset"],
            body_hash=row["body_hash"],
            missing=spans(row["missing"] or ()),
            found_at=row["found_at"],
            resolved_at=row["resolved_at"],
            resolution=row["reason"],
        )
        for row in rows[:limit]
    ]
    await record(tx, access, [], len(shown))
    return shown, len(rows) > limit


async def last(tx: Connection) -> int:
    """The newest finding's id, 0 when there is none."""
    return int(await tx.fetchval("SELECT coalesce(max(id), 0) FROM audit.findings"))


async def still_open(tx: Connection) -> float:
    """How many findings are open."""
    return float(
        await tx.fetchval(
            "SELECT count(*) FROM audit.findings AS f"
            " WHERE NOT EXISTS (SELECT FROM audit.resolutions AS r WHERE r.finding = f.id)"
        )
    )
