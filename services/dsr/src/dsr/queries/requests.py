"""The request rows: insert, lock, store a decision, put sealed addresses on them for a while and destroy them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from asyncpg import Record

from chassis.database import Connection
from dsr.domain.requests import Request

_COLUMNS = (
    "id, type, channel, status, account, received_at, due_at, verified_at, confirmed_at, irrevocable_at, started_at,"
    " closed_at, outcome, account_closed_at, address_proven, told_at"
)


async def insert(
    tx: Connection,
    request: Request,
    typed_address: bytes | None = None,
    fingerprint: bytes | None = None,
    mailbox: bytes | None = None,
) -> None:
    """Store a request as received; the typed address is sealed. Nobody typed one where an account was closed."""
    await tx.execute(
        "INSERT INTO dsr.requests (id, type, channel, status, received_at, due_at, typed_address, fingerprint, mailbox,"
        " account) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        request.id,
        request.type,
        request.channel,
        request.status,
        request.received_at,
        request.due_at,
        typed_address,
        fingerprint,
        mailbox,
        request.account,
    )


async def is_new(tx: Connection, request_id: UUID) -> bool:
    """Whether there is no such request; holds its id until the transaction ends, so that one of two makes it."""
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('request/' || $1, 0))", str(request_id))
    return not await tx.fetchval("SELECT EXISTS (SELECT FROM dsr.requests WHERE id = $1)", request_id)


async def get(tx: Connection, request_id: UUID) -> Request | None:
    """A request as it stands."""
    return _request(await tx.fetchrow(f"SELECT {_COLUMNS} FROM dsr.requests WHERE id = $1", request_id))  # noqa: S608 - constants


async def lock(tx: Connection, request_id: UUID) -> Request | None:
    """A request, held until the transaction ends. First of all locks, so that none wait in a circle."""
    return _request(await tx.fetchrow(f"SELECT {_COLUMNS} FROM dsr.requests WHERE id = $1 FOR UPDATE", request_id))  # noqa: S608 - constants


async def lock_unmatched(tx: Connection, fingerprint: bytes) -> list[Request]:
    """Requests from this address that are no account's, held until the transaction ends."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM dsr.requests WHERE fingerprint = $1 AND account IS NULL ORDER BY id FOR UPDATE",  # noqa: S608 - constants
        fingerprint,
    )
    return [Request(**row) for row in rows]


async def lock_of_account(tx: Connection, account: str) -> list[Request]:
    """An account's requests without an answer, held until the transaction ends."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM dsr.requests WHERE account = $1 AND status NOT IN ('closed', 'withdrawn')"  # noqa: S608 - constants
        " ORDER BY id FOR UPDATE",
        account,
    )
    return [Request(**row) for row in rows]


async def store(tx: Connection, request: Request) -> None:
    """Write what a decision changed."""
    await tx.execute(
        "UPDATE dsr.requests SET status = $2, account = $3, verified_at = $4, confirmed_at = $5, irrevocable_at = $6,"
        " started_at = $7, closed_at = $8, outcome = $9, account_closed_at = $10 WHERE id = $1",
        request.id,
        request.status,
        request.account,
        request.verified_at,
        request.confirmed_at,
        request.irrevocable_at,
        request.started_at,
        request.closed_at,
        request.outcome,
        request.account_closed_at,
    )


async def fingerprint(tx: Connection, request_id: UUID) -> bytes | None:
    """The keyed hash of the address that was typed, and to which all links went; while it is held."""
    found: bytes | None = await tx.fetchval("SELECT fingerprint FROM dsr.requests WHERE id = $1", request_id)
    return found


async def mailbox(tx: Connection, request_id: UUID) -> bytes | None:
    """The keyed hash of the mailbox of the typed address, while that is held."""
    found: bytes | None = await tx.fetchval("SELECT mailbox FROM dsr.requests WHERE id = $1", request_id)
    return found


async def clear_typed_address(tx: Connection, request_id: UUID) -> bool:
    """Forget the typed address and the hash of its mailbox. Returns whether there was one."""
    return bool(
        await tx.fetchval(
            "UPDATE dsr.requests SET typed_address = NULL, mailbox = NULL"
            " WHERE id = $1 AND typed_address IS NOT NULL RETURNING true",
            request_id,
        )
    )


async def clear_fingerprint(tx: Connection, request_id: UUID) -> None:
    """Forget the hash of the address that was typed."""
    await tx.execute("UPDATE dsr.requests SET fingerprint = NULL WHERE id = $1", request_id)


async def clear_fingerprints_of(tx: Connection, account: str) -> None:
    """The same for the requests of an account that is gone, but for those that hold an address of their own.

    One that somebody works on is left to its own end: to wait for it could be to wait in a circle.
    """
    await tx.execute(
        "UPDATE dsr.requests SET fingerprint = NULL WHERE id IN ("
        " SELECT id FROM dsr.requests WHERE account = $1 AND fingerprint IS NOT NULL AND typed_address IS NULL"
        " FOR UPDATE SKIP LOCKED)",
        account,
    )


async def set_final_address(tx: Connection, request_id: UUID, sealed: bytes, *, proven: bool) -> None:
    """Hold, sealed, where the last mail goes; and whether it is the address that the person proved."""
    await tx.execute(
        "UPDATE dsr.requests SET final_address = $2, address_proven = $3 WHERE id = $1", request_id, sealed, proven
    )


async def note_told(tx: Connection, request_id: UUID, at: datetime) -> None:
    """The last mail has had its end; the address stays for systems that are outstanding."""
    await tx.execute("UPDATE dsr.requests SET told_at = coalesce(told_at, $2) WHERE id = $1", request_id, at)


async def clear_final_address(tx: Connection, request_id: UUID) -> bool:
    """Forget where the last mail goes. Returns whether it was held."""
    return bool(
        await tx.fetchval(
            "UPDATE dsr.requests SET final_address = NULL WHERE id = $1 AND final_address IS NOT NULL RETURNING true",
            request_id,
        )
    )


async def freeze_systems(tx: Connection, request_id: UUID, systems: dict[str, Any]) -> None:
    """Store the list of systems of this moment."""
    await tx.execute("UPDATE dsr.requests SET systems = $2 WHERE id = $1", request_id, systems)


async def frozen_systems(tx: Connection, request_id: UUID) -> dict[str, Any] | None:
    """The list of systems as it was at verification, None before."""
    systems: dict[str, Any] | None = await tx.fetchval("SELECT systems FROM dsr.requests WHERE id = $1", request_id)
    return systems


async def count_open(tx: Connection) -> float:
    """Requests without their answer."""
    return float(await tx.fetchval("SELECT count(*) FROM dsr.requests WHERE status NOT IN ('closed', 'withdrawn')"))


async def count_overdue(tx: Connection, now: datetime) -> float:
    """Requests without their answer after the due date."""
    return float(
        await tx.fetchval(
            "SELECT count(*) FROM dsr.requests WHERE status NOT IN ('closed', 'withdrawn') AND due_at < $1", now
        )
    )


def _request(row: Record | None) -> Request | None:
    return Request(**row) if row else None
