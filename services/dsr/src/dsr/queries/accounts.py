"""The projection of accounts, and the tombstones that no later state gets past."""

from datetime import datetime

from chassis.database import Connection


async def lock(tx: Connection, account: str) -> None:
    """Serialise what is done to one account, its row being there or not, until the transaction ends."""
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('account/' || $1, 0))", account)


async def is_deleted(tx: Connection, account: str) -> bool:
    """Whether the account has a tombstone."""
    return bool(await tx.fetchval("SELECT EXISTS (SELECT FROM dsr.deleted_accounts WHERE id = $1)", account))


async def version(tx: Connection, account: str) -> int:
    """The version held, 0 when there is none."""
    return int(await tx.fetchval("SELECT version FROM dsr.accounts WHERE id = $1", account) or 0)


async def put(
    tx: Connection, account: str, version: int, email: bytes, fingerprint: bytes, registered_at: datetime
) -> None:
    """Store an account's state; `email` is sealed."""
    await tx.execute(
        "INSERT INTO dsr.accounts (id, version, email, fingerprint, registered_at) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (id) DO UPDATE SET version = excluded.version, email = excluded.email,"
        " fingerprint = excluded.fingerprint, registered_at = excluded.registered_at"
        " WHERE accounts.version < excluded.version",
        account,
        version,
        email,
        fingerprint,
        registered_at,
    )


async def bury(tx: Connection, account: str, at: datetime) -> bool:
    """Delete the account's row and leave a tombstone. Returns whether there was a row."""
    await tx.execute(
        "INSERT INTO dsr.deleted_accounts (id, deleted_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING", account, at
    )
    return bool(await tx.fetchval("DELETE FROM dsr.accounts WHERE id = $1 RETURNING true", account))


async def by_fingerprint(tx: Connection, fingerprint: bytes) -> str | None:
    """The account whose known primary address this is; the oldest, where a household shares one."""
    found: str | None = await tx.fetchval(
        "SELECT id FROM dsr.accounts WHERE fingerprint = $1 ORDER BY registered_at, id LIMIT 1", fingerprint
    )
    return found


async def sealed_email(tx: Connection, account: str) -> bytes | None:
    """The sealed primary address, None when the account is unknown."""
    sealed: bytes | None = await tx.fetchval("SELECT email FROM dsr.accounts WHERE id = $1", account)
    return sealed
