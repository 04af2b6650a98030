"""The projection of accounts, and the tombstones of those that are gone.

Addresses are sealed and opened here alone; opening one takes an `Access` and leaves its record.
"""

from datetime import datetime

from uuid_utils.compat import uuid7

from chassis.database import Connection
from chassis.outbox import emit
from chassis.sealing import KeyErased, Sealing
from notifier.domain.accounts import Held
from notifier.domain.addresses import Access, accessed

ADDRESS = "accounts.email"
"""The column that a sealed address is bound to."""
_ACCOUNTS = 6_203_417
"""Names the lock on the projection as a whole."""


async def lock(tx: Connection, *, still: bool) -> None:
    """Shared by account states; `still` keeps them waiting until the caller commits.

    A mailing's snapshot and a deletion each see every state that committed, and every later state sees them.
    """
    await tx.execute(
        "SELECT pg_advisory_xact_lock($1)" if still else "SELECT pg_advisory_xact_lock_shared($1)", _ACCOUNTS
    )


async def held(tx: Connection, account: str) -> Held:
    """What is known of an account."""
    [row] = await tx.fetch(
        "SELECT coalesce((SELECT version FROM accounts WHERE id = $1), 0) AS version,"
        " EXISTS (SELECT FROM tombstones WHERE account = $1) AS deleted",
        account,
    )
    return Held(**row)


async def put(
    tx: Connection, sealing: Sealing, account: str, version: int, email: str, registered_at: datetime
) -> None:
    """Insert or replace a row of the projection, its address sealed under the account's own key."""
    await tx.execute(
        "INSERT INTO accounts (id, version, email, registered_at) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (id) DO UPDATE SET version = excluded.version, email = excluded.email,"
        " registered_at = excluded.registered_at",
        account,
        version,
        await sealing.seal(tx, _owner(account), email, ADDRESS),
        registered_at,
    )


async def address(tx: Connection, sealing: Sealing, account: str, access: Access) -> str | None:
    """The primary address, opened, with its record; None when the account or its key is gone."""
    sealed: bytes | None = await tx.fetchval("SELECT email FROM accounts WHERE id = $1", account)
    if sealed is None:
        return None
    try:
        opened = await sealing.open(tx, _owner(account), sealed, ADDRESS)
    except KeyErased:
        return None
    await emit(tx, accessed(_owner(account), access, uuid7()), access.at)
    return opened


def _owner(account: str) -> str:
    """Under whose key the address is sealed, and whom a record is about."""
    return f"account/{account}"


async def bury(tx: Connection, account: str, at: datetime) -> None:
    """Leave a tombstone, take the account's row and its addresses in the ledger."""
    await tx.execute(
        "INSERT INTO tombstones (account, records, deleted_at)"
        " SELECT $1, (SELECT count(*) FROM accounts WHERE id = $1)"
        " + (SELECT count(*) FROM notices WHERE account = $1 AND address IS NOT NULL), $2"
        " ON CONFLICT (account) DO NOTHING",
        account,
        at,
    )
    await tx.execute("DELETE FROM accounts WHERE id = $1", account)
    # Every row of the account, whatever its address: this waits for a mail that is just noting one.
    await tx.execute("UPDATE notices SET address = NULL WHERE account = $1", account)


async def is_buried(tx: Connection, account: str) -> bool:
    """Whether the account is gone."""
    return bool(await tx.fetchval("SELECT EXISTS (SELECT FROM tombstones WHERE account = $1)", account))


async def buried_records(tx: Connection, account: str) -> int:
    """How many values were held about an account that is gone."""
    return int(await tx.fetchval("SELECT records FROM tombstones WHERE account = $1", account) or 0)


async def registered_before(tx: Connection, published_at: datetime) -> list[str]:
    """Every account registered before the publication, whatever was chosen about marketing."""
    rows = await tx.fetch("SELECT id FROM accounts WHERE registered_at < $1 ORDER BY id", published_at)
    return [row["id"] for row in rows]
