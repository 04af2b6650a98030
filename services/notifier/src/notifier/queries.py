"""All of the notifier's SQL. The connection comes first; nothing here commits.

Lock order: accounts, then notices by version, then the revision that they count in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from chassis.database import Connection, affected
from notifier.domain import Asked, Mailing, Notice
from privacy_contracts.notices import NoticePosted
from privacy_contracts.policy import PolicyRevised

_ACCOUNTS = 6_203_417
"""Names the lock on the projection as a whole."""


@dataclass(frozen=True)
class Revision:
    """What a policy mail says about one version. `summary` and `url` are there once consent has been asked."""

    version: int
    revised_on: date
    published_at: datetime
    effective_at: datetime
    summary: str
    url: str


# Accounts


async def lock_accounts(tx: Connection, *, still: bool) -> None:
    """Shared by account states; `still` keeps them waiting until the caller commits.

    A mailing's snapshot and a deletion each see every state that committed, and every later state sees them.
    """
    await tx.execute(
        "SELECT pg_advisory_xact_lock($1)" if still else "SELECT pg_advisory_xact_lock_shared($1)", _ACCOUNTS
    )


async def supersedes(tx: Connection, account: str, version: int) -> bool:
    """Whether a state of this version is news: the account is not gone, and nothing as new is known."""
    known = await tx.fetchval(
        "SELECT EXISTS (SELECT FROM tombstones WHERE account = $1)"
        " OR EXISTS (SELECT FROM accounts WHERE id = $1 AND version >= $2)",
        account,
        version,
    )
    return not known


async def put_account(tx: Connection, account: str, version: int, email: bytes, registered_at: datetime) -> None:
    """Insert or replace a row of the projection."""
    await tx.execute(
        "INSERT INTO accounts (id, version, email, registered_at) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (id) DO UPDATE SET version = excluded.version, email = excluded.email,"
        " registered_at = excluded.registered_at",
        account,
        version,
        email,
        registered_at,
    )


async def sealed_address(tx: Connection, account: str) -> bytes | None:
    """The sealed primary address, if the account is there."""
    sealed: bytes | None = await tx.fetchval("SELECT email FROM accounts WHERE id = $1", account)
    return sealed


async def bury(tx: Connection, account: str, at: datetime) -> bool:
    """Leave a tombstone, take the account's row and its addresses in the ledger. True the first time."""
    inserted = await tx.execute(
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
    return affected(inserted) == 1


async def is_buried(tx: Connection, account: str) -> bool:
    """Whether the account is gone."""
    return bool(await tx.fetchval("SELECT EXISTS (SELECT FROM tombstones WHERE account = $1)", account))


async def buried_records(tx: Connection, account: str) -> int:
    """How many values were held about an account that is gone."""
    return int(await tx.fetchval("SELECT records FROM tombstones WHERE account = $1", account) or 0)


# Revisions and their mailings


async def put_revision(tx: Connection, event: PolicyRevised, posted: NoticePosted, mailing: UUID | None) -> bool:
    """Record a policy version and its home-page notice. False when it is recorded already."""
    inserted = await tx.execute(
        "INSERT INTO revisions (version, revised_on, published_at, effective_at, posting, posted_until, mailing)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        event.version,
        event.revised_on,
        event.published_at,
        event.effective_at,
        posted.notice,
        posted.until,
        mailing,
    )
    return affected(inserted) == 1


async def accounts_before(tx: Connection, published_at: datetime) -> list[str]:
    """Every account registered before the publication, whatever was chosen about marketing."""
    rows = await tx.fetch("SELECT id FROM accounts WHERE registered_at < $1 ORDER BY id", published_at)
    return [row["id"] for row in rows]


async def mailings_missing(tx: Connection, account: str) -> list[int]:
    """Mailings that this account belongs to, by its registration, and is not in."""
    rows = await tx.fetch(
        "SELECT r.version FROM revisions AS r JOIN accounts AS a ON a.id = $1 AND a.registered_at < r.published_at"
        " WHERE r.mailing IS NOT NULL"
        " AND NOT EXISTS (SELECT FROM notices WHERE policy_version = r.version AND account = $1)"
        " ORDER BY r.version",
        account,
    )
    return [row["version"] for row in rows]


async def enrol(tx: Connection, version: int, accounts: Sequence[str], ids: Sequence[UUID]) -> list[UUID]:
    """Add accounts to a mailing; returns the ids of the new notices."""
    rows = await tx.fetch(
        "INSERT INTO notices (id, asked, template, account, policy_version)"
        " SELECT id, 'policy_revised', 'policy_revised', account, $1"
        " FROM unnest($2::uuid[], $3::text[]) AS enrolled (id, account)"
        " ON CONFLICT (policy_version, account) DO NOTHING RETURNING id",
        version,
        ids,
        accounts,
    )
    await tx.execute("UPDATE revisions SET waiting = waiting + $2 WHERE version = $1", version, len(rows))
    return [row["id"] for row in rows]


async def describe_revision(tx: Connection, version: int, summary: str, url: str) -> None:
    """Keep what consent says about a version, so that it is asked once per mailing."""
    await tx.execute("UPDATE revisions SET summary = $2, url = $3 WHERE version = $1", version, summary, url)


async def revisions_told(tx: Connection, notice: Notice) -> list[Revision] | None:
    """The versions that a policy mail tells of, oldest first; None until consent has been asked about each.

    An earlier one about which consent never answered is told of by its dates alone.
    """
    rows = await tx.fetch(
        "SELECT version, revised_on, published_at, effective_at, summary, url FROM revisions"
        " WHERE version = $1 OR version IN"
        " (SELECT policy_version FROM notices WHERE account = $2 AND superseded_by = $1) ORDER BY version",
        notice.policy_version,
        notice.account,
    )
    if any(row["summary"] is None for row in rows) or not rows[-1]["summary"]:
        return None
    return [Revision(**row) for row in rows]


async def waiting_notices(tx: Connection, version: int) -> list[Notice]:
    """A mailing's notices that have no result yet, locked."""
    rows = await tx.fetch(
        "SELECT id, asked, template, request, account, policy_version, unanswered FROM notices"
        " WHERE policy_version = $1 AND state = 'waiting' ORDER BY id FOR UPDATE",
        version,
    )
    return [Notice(**row) for row in rows]


async def count(tx: Connection, version: int, *, sent: int = 0, failed: int = 0) -> Mailing:
    """Move notices of a mailing from waiting to their result. Call it last: the row is shared by all of them."""
    row = await tx.fetchrow(
        "UPDATE revisions SET waiting = waiting - $2 - $3, sent = sent + $2, failed = failed + $3 WHERE version = $1"
        " RETURNING mailing AS id, version AS policy_version, waiting, sent, failed,"
        " completed_at IS NOT NULL AS completed",
        version,
        sent,
        failed,
    )
    if row is None:
        raise LookupError("no such revision")
    return Mailing(**row)


async def complete(tx: Connection, version: int, now: datetime) -> None:
    """Mark a mailing as reported."""
    await tx.execute("UPDATE revisions SET completed_at = $2 WHERE version = $1", version, now)


# The ledger


async def put_request_notice(tx: Connection, notice: UUID, asked: Asked, request: UUID, account: str | None) -> bool:
    """One mail per request and reason. False when it is there already."""
    inserted = await tx.execute(
        "INSERT INTO notices (id, asked, template, request, account) VALUES ($1, $2, $2, $3, $4)"
        " ON CONFLICT (asked, request) DO NOTHING",
        notice,
        asked,
        request,
        account,
    )
    return affected(inserted) == 1


async def lock_notice(tx: Connection, notice: UUID) -> Notice | None:
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


async def oldest_unsent(tx: Connection) -> float:
    """Seconds since the oldest notice without a result was recorded."""
    age = await tx.fetchval("SELECT extract(epoch FROM now() - min(created_at)) FROM notices WHERE state = 'waiting'")
    return float(age or 0)
