"""The policy's versions. They are inserted and read; the runtime role has no right to change or remove one."""

from datetime import datetime

from asyncpg import Record

from chassis.database import Connection
from consent.domain.policies import POLICY, Present, Version
from privacy_contracts.policy import PolicyRevised

_COLUMNS = (
    "version, supersedes, text, text_hash, summary, material, reasons, revised_on, published_at, effective_at,"
    " announced_until"
)


def _version(row: Record) -> Version:
    return Version(**{**row, "reasons": tuple(row["reasons"])})


async def lock(connection: Connection) -> Present | None:
    """Hold the numbering of versions until the transaction ends. The newest one, if there is any."""
    newest = await connection.fetchval("SELECT version FROM consent.policy_heads WHERE policy = $1 FOR UPDATE", POLICY)
    row = await connection.fetchrow(
        """
        SELECT version, text_hash, revised_on, effective_at
        FROM consent.policies WHERE policy = $1 AND version = $2
        """,
        POLICY,
        newest,
    )
    return Present(**row) if row else None


async def put(connection: Connection, revised: PolicyRevised, text: str, summary: str) -> None:
    """Publish a version, under the lock."""
    await connection.execute(
        """
        INSERT INTO consent.policies (policy, version, supersedes, text, text_hash, summary, material, reasons,
                                      revised_on, published_at, effective_at, announced_until, decided_by)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
        """,
        revised.policy,
        revised.version,
        revised.supersedes,
        text,
        revised.text_hash,
        summary,
        revised.material,
        revised.reasons,
        revised.revised_on,
        revised.published_at,
        revised.effective_at,
        revised.announced_until,
        revised.decided_by,
    )
    await connection.execute(
        "UPDATE consent.policy_heads SET version = $2 WHERE policy = $1", revised.policy, revised.version
    )


async def version(connection: Connection, number: int) -> Version | None:
    """One version."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM consent.policies WHERE policy = $1 AND version = $2",  # noqa: S608 — a constant
        POLICY,
        number,
    )
    return _version(row) if row else None


async def versions(connection: Connection, before: int | None = None, limit: int | None = None) -> list[Version]:
    """Versions from the newest, all or those below `before`."""
    rows = await connection.fetch(
        f"""
        SELECT {_COLUMNS} FROM consent.policies
        WHERE policy = $1 AND ($2::integer IS NULL OR version < $2)
        ORDER BY version DESC LIMIT $3
        """,  # noqa: S608 — a constant
        POLICY,
        before,
        limit,
    )
    return [_version(row) for row in rows]


async def in_force(connection: Connection, at: datetime) -> int | None:
    """The version that applied at a time."""
    number: int | None = await connection.fetchval(
        "SELECT max(version) FROM consent.policies WHERE policy = $1 AND effective_at <= $2", POLICY, at
    )
    return number
