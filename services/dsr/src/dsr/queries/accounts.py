"""The projection of accounts, and the tombstones that no later state gets past."""

from datetime import datetime

from chassis.database import Connection
from dsr.domain.accounts import Held


async def lock(tx: Connection, account: str) -> None:
    """Serialise what is done to one account, its row being there or not, until the transaction ends."""
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('account/' || $1, 0))", account)


async def held(tx: Connection, account: str) -> Held:
    """What is known of an account; lock it first."""
    return Held(
        version=int(await tx.fetchval("SELECT version FROM dsr.accounts WHERE id = $1", account) or 0),
        deleted=bool(await tx.fetchval("SELECT EXISTS (SELECT FROM dsr.deleted_accounts WHERE id = $1)", account)),
    )


async def put(
    tx: Connection, account: str, version: int, email: bytes, fingerprint: bytes, registered_at: datetime
) -> None:
    """Store an account's state in place of what is held; `email` is sealed."""
    await tx.execute(
        "INSERT INTO dsr.accounts (id, version, email, fingerprint, registered_at) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (id) DO UPDATE SET version = excluded.version, email = excluded.email,"
        " fingerprint = excluded.fingerprint, registered_at = excluded.registered_at",
        account,
        version,
        email,
        fingerprint,
        registered_at,
    )


async def bury(tx: Connection, account: str, at: datetime) -> None:
    """Delete the account's row, if there is one, and leave a tombstone."""
    await tx.execute(
        "INSERT INTO dsr.deleted_accounts (id, deleted_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING", account, at
    )
    await tx.execute("DELETE FROM dsr.accounts WHERE id = $1", account)


async def by_fingerprint(tx: Connection, fingerprint: bytes) -> str | None:
    """The account whose known primary address this is; the oldest, where a household shares one."""
    found: str | None = await tx.fetchval(
        "SELECT id FROM dsr.accounts WHERE fingerprint = $1 ORDER BY registered_at, id LIMIT 1", fingerprint
    )
    return found
