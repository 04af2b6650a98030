"""Reading the record, with a record of it. Entries are returned in the order in which they were recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from audit.domain.reading import Access, Place
from audit.queries.recording import record
from chassis.database import Connection
from privacy_contracts import EVENTS, Event

_COLUMNS = (
    'index, topic, partition, "offset", key, ce_source, ce_id, ce_type, subject, request, ce_time, sequence,'
    " broker_time, recorded_at, headers, payload, omitted, body_hash, foreign_source"
)


async def entries(tx: Connection, access: Access, place: Place, limit: int) -> tuple[list[asyncpg.Record], bool]:
    """Up to `limit` entries that match, from `place` on, and whether there are more.

    `since` is included, `until` is not.
    """
    query = access.query
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM audit.entries"  # noqa: S608 - constants
        " WHERE index > $1 AND index < $2"
        " AND ($3::text IS NULL OR subject = $3) AND ($4::uuid IS NULL OR request = $4)"
        " AND ($5::text IS NULL OR ce_type = $5)"
        " AND ($6::timestamptz IS NULL OR index >= coalesce((SELECT f.index FROM audit.entries AS f"
        "  WHERE f.recorded_at >= $6 ORDER BY f.recorded_at, f.index LIMIT 1), $2))"
        " AND ($7::timestamptz IS NULL OR index < coalesce((SELECT u.index FROM audit.entries AS u"
        "  WHERE u.recorded_at >= $7 ORDER BY u.recorded_at, u.index LIMIT 1), $2))"
        " ORDER BY index LIMIT $8",
        place.after,
        place.end,
        query.subject,
        query.request,
        query.type,
        query.since,
        query.until,
        limit + 1,
    )
    shown = rows[:limit]
    await record(tx, access, [row["subject"] for row in shown], len(shown))
    return shown, len(rows) > limit


async def entry(tx: Connection, access: Access) -> asyncpg.Record | None:
    """The entry of the query's index."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM audit.entries WHERE index = $1",  # noqa: S608 - constants
        access.query.index,
    )
    await record(tx, access, [row["subject"] for row in rows], len(rows))
    return next(iter(rows), None)


async def of_request(tx: Connection, access: Access) -> list[Event]:
    """The events of the query's request, in the order recorded; none from a foreign source."""
    rows = await tx.fetch(
        "SELECT ce_type, payload FROM audit.entries"
        " WHERE request = $1 AND payload IS NOT NULL AND NOT foreign_source ORDER BY index",
        access.query.request,
    )
    events = [EVENTS[row["ce_type"]].model_validate_json(row["payload"]) for row in rows]
    await record(tx, access, [event.subject for event in events], len(events))
    return events


async def is_recorded(tx: Connection, subjects: Sequence[str], event_type: str) -> bool:
    """Whether an event of this type about any of the subjects is recorded from its own source."""
    return bool(
        await tx.fetchval(
            "SELECT EXISTS (SELECT FROM audit.entries"
            " WHERE subject = ANY($1::text[]) AND ce_type = $2 AND NOT foreign_source)",
            subjects,
            event_type,
        )
    )


@dataclass(frozen=True)
class Told:
    """What one recipient was given about a person, or was not: `outcome` is `disclosed` or `refused`."""

    outcome: str
    recipient: str
    recipient_class: str | None
    purpose: str
    basis: str | None
    reason: str | None
    systems: list[str]
    categories: list[str]
    times: int
    first: datetime
    last: datetime


@dataclass(frozen=True)
class Seen:
    """What one actor read about a person in one system."""

    actor: str
    system: str
    purpose: str
    categories: list[str]
    times: int
    first: datetime
    last: datetime


async def recipients(tx: Connection, access: Access) -> tuple[list[Told], list[Seen]]:
    """Who received or was refused the data of the query's subject, and who read it.

    An account is also the person of the requests that became its own: before that they were known by the request alone.
    """
    subjects = [access.query.subject, *await _matched(tx, access.query.subject)]
    told, seen = await _told(tx, subjects), await _seen(tx, subjects)
    await record(tx, access, subjects, len(told) + len(seen))
    return told, seen


async def _matched(tx: Connection, subject: str | None) -> list[str]:
    """The requests, as subjects, that became this account's."""
    rows = await tx.fetch(
        "SELECT DISTINCT 'request/' || request AS subject FROM audit.entries WHERE subject = $1"
        " AND ce_type = 'request.matched' AND payload IS NOT NULL AND NOT foreign_source ORDER BY 1",
        subject,
    )
    return [row["subject"] for row in rows]


async def _told(tx: Connection, subjects: Sequence[str | None]) -> list[Told]:
    """Who received this person's data, or was refused it; one row per recipient, purpose and basis or reason."""
    rows = await tx.fetch(
        "WITH facts AS (SELECT ce_type, payload FROM audit.entries WHERE subject = ANY($1::text[])"
        " AND payload IS NOT NULL AND NOT foreign_source"
        " AND ce_type = ANY('{personal_data.disclosed,disclosure.refused}'))"
        " SELECT CASE ce_type WHEN 'disclosure.refused' THEN 'refused' ELSE 'disclosed' END AS outcome,"
        " payload->>'recipient' AS recipient, payload->>'recipient_class' AS recipient_class,"
        " payload->>'purpose' AS purpose, payload->>'basis' AS basis, payload->>'reason' AS reason,"
        " array_agg(DISTINCT payload->>'system') AS systems,"
        " array_remove(array_agg(DISTINCT category), NULL) AS categories,"
        " count(DISTINCT payload->>'disclosure')::int AS times,"
        " min(coalesce(payload->>'disclosed_at', payload->>'refused_at')::timestamptz) AS first,"
        " max(coalesce(payload->>'disclosed_at', payload->>'refused_at')::timestamptz) AS last"
        " FROM facts LEFT JOIN LATERAL json_array_elements_text(payload->'categories') AS category ON true"
        " GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY first, recipient",
        subjects,
    )
    return [Told(**row) for row in rows]


async def _seen(tx: Connection, subjects: Sequence[str | None]) -> list[Seen]:
    """Who read this person's data; one row per actor, system and purpose."""
    rows = await tx.fetch(
        "WITH facts AS (SELECT payload FROM audit.entries WHERE subject = ANY($1::text[]) AND payload IS NOT NULL"
        " AND NOT foreign_source AND (ce_type = 'personal_data.accessed'"
        "  OR ce_type = 'operator.acted' AND payload->>'action' = 'dead_letter_shown'))"
        " SELECT payload->>'actor' AS actor, payload->>'system' AS system,"
        " coalesce(payload->>'purpose', 'operation') AS purpose,"
        " array_remove(array_agg(DISTINCT category), NULL) AS categories,"
        " count(DISTINCT coalesce(payload->>'access', payload->>'act'))::int AS times,"
        " min(coalesce(payload->>'accessed_at', payload->>'acted_at')::timestamptz) AS first,"
        " max(coalesce(payload->>'accessed_at', payload->>'acted_at')::timestamptz) AS last"
        " FROM facts LEFT JOIN LATERAL json_array_elements_text(payload->'categories') AS category ON true"
        " GROUP BY 1, 2, 3 ORDER BY first, actor",
        subjects,
    )
    return [Seen(**row) for row in rows]
