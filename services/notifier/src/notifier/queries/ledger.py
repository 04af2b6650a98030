"""The ledger: one row per notice, from its cause to its result."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chassis.database import Connection, affected
from notifier.domain.notices import Notice


async def put(tx: Connection, notice: UUID, asked: str, template: str, request: UUID, account: str | None) -> bool:
    """One mail per request and reason. False when it is there already."""
    inserted = await tx.execute(
        "INSERT INTO notices (id, asked, template, request, account) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (asked, request) DO NOTHING",
        notice,
        asked,
        template,
        request,
        account,
    )
    return affected(inserted) == 1


async def lock(tx: Connection, notice: UUID) -> Notice | None:
    """The notice, locked; None when it has its result."""
    row = await tx.fetchrow(
        "SELECT id, asked, template, request, account, policy_version, unanswered FROM notices"
        " WHERE id = $1 AND state = 'waiting' FOR UPDATE",
        notice,
    )
    return Notice(**row) if row else None


async def lock_waiting(tx: Connection, *, notice: UUID | None = None, account: str | None = None) -> list[Notice]:
    """Every policy mail that an account, or a notice's account, still waits for; locked in the order of versions."""
    rows = await tx.fetch(
        "SELECT id, asked, template, request, account, policy_version, unanswered FROM notices"
        " WHERE account = coalesce($2, (SELECT account FROM notices WHERE id = $1))"
        " AND policy_version IS NOT NULL AND state = 'waiting' ORDER BY policy_version FOR UPDATE",
        notice,
        account,
    )
    return [Notice(**row) for row in rows]


async def waiting_in(tx: Connection, version: int) -> list[Notice]:
    """A mailing's notices that have no result yet, locked."""
    rows = await tx.fetch(
        "SELECT id, asked, template, request, account, policy_version, unanswered FROM notices"
        " WHERE policy_version = $1 AND state = 'waiting' ORDER BY id FOR UPDATE",
        version,
    )
    return [Notice(**row) for row in rows]


async def become(tx: Connection, notice: UUID, template: str, account: str | None) -> Notice:
    """Note what is sent in answer to what was asked, and to which account. The notice is locked by the caller."""
    row = await tx.fetchrow(
        "UPDATE notices SET template = $2, account = $3 WHERE id = $1"
        " RETURNING id, asked, template, request, account, policy_version, unanswered",
        notice,
        template,
        account,
    )
    if row is None:
        raise LookupError("no such notice")
    return Notice(**row)


async def start_attempt(tx: Connection, notice: UUID, address: bytes | None) -> int:
    """Note that the mail is about to be handed over; how many attempts before it had no answer.

    `address` is the keyed fingerprint of where it goes, if that may be kept. The notice is locked by the caller.
    """
    unanswered = await tx.fetchval(
        "UPDATE notices SET attempts = attempts + 1, unanswered = unanswered + 1, address = coalesce($2, address)"
        " WHERE id = $1 RETURNING unanswered",
        notice,
        address,
    )
    return int(unanswered) - 1


async def note_refusal(tx: Connection, notice: UUID, smtp_status: int, *, of_attempt: bool) -> None:
    """Keep the last refusal; `of_attempt`: it answers the attempt under way."""
    await tx.execute(
        "UPDATE notices SET smtp_status = $2, unanswered = unanswered - $3 WHERE id = $1 AND state = 'waiting'",
        notice,
        smtp_status,
        int(of_attempt),
    )


async def last_refusal(tx: Connection, notice: UUID) -> int | None:
    """The mail server's last refusal of this notice."""
    status: int | None = await tx.fetchval("SELECT smtp_status FROM notices WHERE id = $1", notice)
    return status


async def settle_sent(tx: Connection, notice: UUID, now: datetime) -> None:
    """The notice's end, and its last attempt's answer: a mail server took it."""
    await tx.execute(
        "UPDATE notices SET state = 'sent', unanswered = unanswered - 1, smtp_status = NULL, settled_at = $2"
        " WHERE id = $1 AND state = 'waiting'",
        notice,
        now,
    )


async def settle_failed(
    tx: Connection,
    notices: Sequence[UUID],
    now: datetime,
    reason: str,
    smtp_status: int | None = None,
    superseded_by: int | None = None,
) -> None:
    """The notices' end: they will not be tried any more."""
    await tx.execute(
        "UPDATE notices SET state = 'failed', settled_at = $2, reason = $3, smtp_status = $4, superseded_by = $5"
        " WHERE id = ANY($1::uuid[]) AND state = 'waiting'",
        notices,
        now,
        reason,
        smtp_status,
        superseded_by,
    )


@dataclass(frozen=True)
class Settled:
    """A notice that has its end again: whether it was waiting for it, and in which mailing."""

    waited: bool
    policy_version: int | None


async def settle_again(tx: Connection, notice: UUID, state: str, reason: str | None, at: datetime) -> Settled | None:
    """The notice's end as it was said once. None where there is no such notice."""
    row = await tx.fetchrow(
        "UPDATE notices SET state = $2, reason = $3, settled_at = $4, unanswered = 0"
        " FROM (SELECT id, state FROM notices WHERE id = $1 FOR UPDATE) AS before WHERE notices.id = before.id"
        " RETURNING before.state = 'waiting' AS waited, policy_version",
        notice,
        state,
        reason,
        at,
    )
    return Settled(**row) if row else None


async def oldest_unsent(tx: Connection) -> float:
    """Seconds since the oldest notice without a result was recorded."""
    age = await tx.fetchval("SELECT extract(epoch FROM now() - min(created_at)) FROM notices WHERE state = 'waiting'")
    return float(age or 0)
