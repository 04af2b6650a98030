"""All SQL of the accounts system. The connection comes first; the caller commits.

Whatever reads names or addresses takes an `Access` and leaves its records in the same transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from accounts.domain import SYSTEM, Account, Deletion, Delivery, Feed, Held
from chassis.database import Connection, affected
from chassis.outbox import emit_all
from privacy_contracts.accesses import PersonalDataAccessed
from privacy_contracts.accounts import AccountDeleted

_ADDRESS, _WHO = ("contact",), ("identity", "contact")
"""The categories of a reading: the address alone, or with the name."""


@dataclass(frozen=True)
class Access:
    """Who reads, what for, at which time, and for which case (a feed's id) where there is one."""

    actor: str
    purpose: str
    at: datetime
    case: UUID | None = None


async def insert(connection: Connection, account: Account) -> bool:
    """Keep a new account. False when its address has one already."""
    status = await connection.execute(
        """
        INSERT INTO accounts.accounts (id, version, email, name, region, offers, registered_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (lower(email)) DO NOTHING
        """,
        account.id,
        account.version,
        account.email,
        account.name,
        account.region,
        account.offers,
        account.registered_at,
    )
    return affected(status) == 1


async def restore(connection: Connection, account: Account) -> bool:
    """Keep a state that was published once, unless a newer one is there. False when another account has the address."""
    try:
        async with connection.transaction():
            await connection.execute(
                """
                INSERT INTO accounts.accounts AS held (id, version, email, name, region, offers, registered_at)
                VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE SET version = excluded.version,
                    email = excluded.email, name = excluded.name, region = excluded.region
                WHERE held.version < excluded.version
                """,
                account.id,
                account.version,
                account.email,
                account.name,
                account.region,
                account.offers,
                account.registered_at,
            )
    except asyncpg.UniqueViolationError:
        return False
    return True


async def hold(connection: Connection, account: str) -> Held | None:
    """Hold an account until the transaction ends; nothing about the person is read."""
    row = await connection.fetchrow("SELECT id, version FROM accounts.accounts WHERE id = $1 FOR UPDATE", account)
    return Held(**row) if row else None


async def read(connection: Connection, account: str, access: Access) -> Account | None:
    """The whole account with its record, held until the transaction ends, for publishing its next state."""
    row = await connection.fetchrow(
        """
        SELECT id, version, email, name, region, offers, registered_at
        FROM accounts.accounts WHERE id = $1 FOR UPDATE
        """,
        account,
    )
    if row is None:
        return None
    await _record(connection, access, "view", [account], categories=_WHO)
    return Account(**row)


async def update(connection: Connection, account: Account) -> bool:
    """Keep a locked account's new state. False when another account has the address."""
    try:
        async with connection.transaction():
            await connection.execute(
                """
                UPDATE accounts.accounts SET version = $2, email = $3, name = $4, region = $5, offers = $6
                WHERE id = $1
                """,
                account.id,
                account.version,
                account.email,
                account.name,
                account.region,
                account.offers,
            )
    except asyncpg.UniqueViolationError:
        return False
    return True


async def find(connection: Connection, email: str, query_hash: str, access: Access) -> str | None:
    """The account of an address. The search is recorded whether it finds one or not, with its keyed hash."""
    found = await connection.fetchval("SELECT id FROM accounts.accounts WHERE lower(email) = lower($1)", email)
    account = str(found) if found else None
    await _record(connection, access, "search", [account], query_hash=query_hash)
    return account


async def listed(connection: Connection) -> str:
    """A hash over whom the marketing list names and in which state; it gives nobody out."""
    told = await connection.fetchval(
        """
        SELECT coalesce(string_agg(id || ' ' || version, ',' ORDER BY id), '') FROM accounts.accounts WHERE offers
        """
    )
    return sha256(told.encode()).hexdigest()


async def marketing_list(connection: Connection, access: Access) -> list[tuple[str, str]]:
    """Account and address of everybody whom the company may send its own offers; one record for each."""
    rows = await connection.fetch("SELECT id, email FROM accounts.accounts WHERE offers ORDER BY id")
    await _record(connection, access, "export", [row["id"] for row in rows])
    return [(row["id"], row["email"]) for row in rows]


async def deleted(connection: Connection, account: str) -> Deletion | None:
    """What is left of a deleted account."""
    row = await connection.fetchrow(
        "SELECT id, version, request, deleted_at FROM accounts.deletions WHERE id = $1", account
    )
    return Deletion(**row) if row else None


async def delete(connection: Connection, gone: AccountDeleted, request: UUID | None) -> list[UUID]:
    """Delete an account and leave its tombstone, for a request or none. Gives the feeds whose files name it."""
    feeds = await connection.fetch("SELECT feed FROM accounts.deliveries WHERE account = $1 AND allowed", gone.id)
    await connection.execute("DELETE FROM accounts.deliveries WHERE account = $1", gone.id)
    await connection.execute("DELETE FROM accounts.accounts WHERE id = $1", gone.id)
    await connection.execute(
        "INSERT INTO accounts.deletions (id, version, request, deleted_at) VALUES ($1, $2, $3, $4)",
        gone.id,
        gone.version,
        request,
        gone.deleted_at,
    )
    return [row["feed"] for row in feeds]


async def start_feed(connection: Connection, feed: Feed, asked_by: str, now: datetime) -> list[str]:
    """Begin a feed about every account that there is now; gives their ids."""
    rows = await connection.fetch("SELECT id FROM accounts.accounts ORDER BY id")
    await connection.execute(
        """
        INSERT INTO accounts.feeds (id, recipient, purpose, asked_by, asked_at, pending)
        VALUES ($1, $2, $3, $4, $5, $6)
        """,
        feed.id,
        feed.recipient,
        feed.purpose,
        asked_by,
        now,
        len(rows),
    )
    return [row["id"] for row in rows]


async def feed(connection: Connection, feed_id: UUID) -> Feed | None:
    """A feed."""
    row = await connection.fetchrow("SELECT id, recipient, purpose FROM accounts.feeds WHERE id = $1", feed_id)
    return Feed(**row) if row else None


async def answered(connection: Connection, feed_id: UUID) -> bool:
    """Count one account of a feed as answered. Whether it was the last."""
    pending = await connection.fetchval(
        "UPDATE accounts.feeds SET pending = pending - 1 WHERE id = $1 RETURNING pending", feed_id
    )
    return bool(pending == 0)


async def is_pending(connection: Connection, feed_id: UUID) -> bool:
    """Whether consent has not answered yet about some account of a feed."""
    return bool(await connection.fetchval("SELECT pending > 0 FROM accounts.feeds WHERE id = $1", feed_id))


async def deliver(connection: Connection, feed_id: UUID, account: str, delivery: Delivery) -> None:
    """Keep what became of a locked account in a feed."""
    await connection.execute(
        "INSERT INTO accounts.deliveries (feed, account, allowed, reason, decision) VALUES ($1, $2, $3, $4, $5)",
        feed_id,
        account,
        delivery.allowed,
        delivery.reason,
        delivery.decision,
    )


async def named(connection: Connection, feed_id: UUID, after: str, limit: int) -> list[str]:
    """Some of the accounts that a feed's file would name, in the order of their ids: those behind `after`."""
    rows = await connection.fetch(
        """
        SELECT account FROM accounts.deliveries WHERE feed = $1 AND allowed AND account > $2
        ORDER BY account LIMIT $3
        """,
        feed_id,
        after,
        limit,
    )
    return [row["account"] for row in rows]


async def recall(connection: Connection, feed_id: UUID, account: str, delivery: Delivery) -> bool:
    """Take an account out of a feed, since consent no longer allows it. Whether it was in."""
    done = await connection.execute(
        "UPDATE accounts.deliveries SET allowed = $3, reason = $4, decision = $5"
        " WHERE feed = $1 AND account = $2 AND allowed",
        feed_id,
        account,
        delivery.allowed,
        delivery.reason,
        delivery.decision,
    )
    return affected(done) == 1


async def feed_lines(connection: Connection, feed_id: UUID, access: Access) -> list[tuple[str, str]]:
    """Name and address of everybody whom a feed may name; holds the feed, and leaves one record for each."""
    await connection.execute("SELECT id FROM accounts.feeds WHERE id = $1 FOR UPDATE", feed_id)
    rows = await connection.fetch(
        """
        SELECT accounts.id, name, email FROM accounts.deliveries JOIN accounts.accounts ON accounts.id = account
        WHERE feed = $1 AND allowed ORDER BY accounts.id
        """,
        feed_id,
    )
    await _record(connection, access, "export", [row["id"] for row in rows], categories=_WHO)
    return [(row["name"], row["email"]) for row in rows]


async def written(connection: Connection, feed_id: UUID, now: datetime) -> None:
    """A feed's file is there."""
    await connection.execute("UPDATE accounts.feeds SET written_at = $2 WHERE id = $1", feed_id, now)


@dataclass(frozen=True)
class Progress:
    """How far a feed is. `refused` counts by reason."""

    feed: Feed
    pending: int
    written_at: datetime | None
    disclosed: int
    refused: dict[str, int]


async def progress(connection: Connection, feed_id: UUID) -> Progress | None:
    """How far a feed is."""
    row = await connection.fetchrow(
        "SELECT id, recipient, purpose, pending, written_at FROM accounts.feeds WHERE id = $1", feed_id
    )
    if row is None:
        return None
    counts = await connection.fetch(
        """
        SELECT allowed, reason, count(*) AS count FROM accounts.deliveries WHERE feed = $1
        GROUP BY allowed, reason ORDER BY reason
        """,
        feed_id,
    )
    return Progress(
        feed=Feed(row["id"], row["recipient"], row["purpose"]),
        pending=row["pending"],
        written_at=row["written_at"],
        disclosed=sum(each["count"] for each in counts if each["allowed"]),
        refused={each["reason"]: each["count"] for each in counts if not each["allowed"]},
    )


async def _record(
    connection: Connection,
    access: Access,
    action: str,
    accounts: Sequence[str | None],
    *,
    categories: Sequence[str] = _ADDRESS,
    query_hash: str | None = None,
) -> None:
    """One record for each account that was read."""
    events = [
        PersonalDataAccessed(
            access=uuid7(),
            system=SYSTEM,
            actor=access.actor,
            action=action,
            purpose=access.purpose,
            categories=list(categories),
            subject_id=f"account/{account}" if account else None,
            query_hash=query_hash,
            results=None if query_hash is None else int(account is not None),
            case=access.case,
            accessed_at=access.at,
        )
        for account in accounts
    ]
    await emit_all(connection, events, access.at)
