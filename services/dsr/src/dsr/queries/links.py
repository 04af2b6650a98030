"""Links to a request, mails counted per address, wrong secrets counted per link and network, and findings."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from uuid_utils.compat import uuid7

from chassis.database import Connection
from dsr.domain.verification import HOUR, MINUTE


@dataclass(frozen=True)
class Finding:
    """Something to look at: `count` times `kind` about one thing within one hour."""

    id: UUID
    kind: str
    scope: str
    about: str
    count: int
    first_at: datetime
    last_at: datetime


async def insert(tx: Connection, request_id: UUID, secret_hash: bytes, at: datetime, traceparent: str | None) -> None:
    """One more link to a request, made in a trace; those before stay valid."""
    await tx.execute(
        "INSERT INTO dsr.links (request_id, secret_hash, minted_at, traceparent) VALUES ($1, $2, $3, $4)",
        request_id,
        secret_hash,
        at,
        traceparent,
    )


async def minted(tx: Connection, request_id: UUID | None) -> dict[bytes, str | None]:
    """The hashes of all secrets that open a request, each with the trace in which it was made."""
    rows = await tx.fetch("SELECT secret_hash, traceparent FROM dsr.links WHERE request_id = $1", request_id)
    return {row["secret_hash"]: row["traceparent"] for row in rows}


async def requests_written_about(tx: Connection, fingerprint: bytes, now: datetime) -> int:
    """How many requests led to a mail to this address within the hour. Serialised per address; older ones go."""
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended(encode($1, 'hex'), 0))", fingerprint)
    await tx.execute("DELETE FROM dsr.messages WHERE written_at <= $1", now - HOUR)
    return int(await tx.fetchval("SELECT count(*) FROM dsr.messages WHERE fingerprint = $1", fingerprint))


async def was_written_about(tx: Connection, fingerprint: bytes, request_id: UUID) -> bool:
    """Whether this request led to a mail within the hour already, so that fetching it again counts nothing."""
    return bool(
        await tx.fetchval(
            "SELECT EXISTS (SELECT FROM dsr.messages WHERE fingerprint = $1 AND request_id = $2)",
            fingerprint,
            request_id,
        )
    )


async def count_message(tx: Connection, fingerprint: bytes, request_id: UUID, now: datetime) -> None:
    """This request leads to a mail; nothing when it is counted already."""
    await tx.execute(
        "INSERT INTO dsr.messages (fingerprint, request_id, written_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        fingerprint,
        request_id,
        now,
    )


async def count_wrong_secret(tx: Connection, scope: str, about: str, now: datetime) -> int:
    """Count one more and return how many there were in the last hour; those before are forgotten.

    Minutes are counted whole, so the hour is up to a minute longer, never shorter.
    """
    await tx.execute("DELETE FROM dsr.wrong_secrets WHERE minute <= $1", now - HOUR - MINUTE)
    await tx.execute(
        "INSERT INTO dsr.wrong_secrets (scope, about, minute, count)"
        " VALUES ($1, $2, date_trunc('minute', $3::timestamptz), 1)"
        " ON CONFLICT (scope, about, minute) DO UPDATE SET count = wrong_secrets.count + 1",
        scope,
        about,
        now,
    )
    return int(
        await tx.fetchval("SELECT sum(count) FROM dsr.wrong_secrets WHERE scope = $1 AND about = $2", scope, about)
    )


async def forget_counts(tx: Connection, now: datetime) -> None:
    """Forget what was counted more than an hour ago."""
    await tx.execute("DELETE FROM dsr.messages WHERE written_at <= $1", now - HOUR)
    await tx.execute("DELETE FROM dsr.wrong_secrets WHERE minute <= $1", now - HOUR - MINUTE)


async def put_finding(tx: Connection, kind: str, scope: str, about: str, count: int, now: datetime) -> bool:
    """Write a finding, or bring this hour's up to date. Returns whether it is new."""
    return bool(
        await tx.fetchval(
            "INSERT INTO dsr.findings (id, kind, scope, about, hour, count, first_at, last_at)"
            " VALUES ($1, $2, $3, $4, date_trunc('hour', $6::timestamptz), $5, $6, $6)"
            " ON CONFLICT (kind, scope, about, hour) DO UPDATE"
            " SET count = greatest(findings.count, excluded.count), last_at = excluded.last_at RETURNING xmax = 0",
            uuid7(),
            kind,
            scope,
            about,
            count,
            now,
        )
    )


async def list_findings(tx: Connection, after: UUID | None, limit: int) -> list[Finding]:
    """Findings, oldest first, behind `after`."""
    rows = await tx.fetch(
        "SELECT id, kind, scope, about, count, first_at, last_at FROM dsr.findings"
        " WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $2",
        after,
        limit,
    )
    return [Finding(**row) for row in rows]
