"""Policy versions: the notice on the home page, and the mailing to every account."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from chassis.database import Connection, affected
from notifier.domain.notices import Notice
from notifier.domain.revisions import Mailing, Revision
from privacy_contracts.notices import NoticePosted
from privacy_contracts.policy import PolicyRevised


async def put(tx: Connection, event: PolicyRevised, posted: NoticePosted, mailing: UUID | None) -> bool:
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


async def describe(tx: Connection, version: int, summary: str, url: str) -> None:
    """Keep what consent says about a version, so that it is asked once per mailing."""
    await tx.execute("UPDATE revisions SET summary = $2, url = $3 WHERE version = $1", version, summary, url)


async def told(tx: Connection, notice: Notice) -> list[Revision]:
    """The versions that a policy mail tells of, oldest first: its own, and those of the notices it stands for.

    After a restore it is not known which mail stands for a notice: each later one does, rather than none.
    """
    rows = await tx.fetch(
        "SELECT version, revised_on, published_at, effective_at, summary, url FROM revisions"
        " WHERE version = $1 OR version IN"
        " (SELECT policy_version FROM notices WHERE account = $2 AND (superseded_by = $1"
        " OR reason = 'superseded' AND superseded_by IS NULL AND policy_version < $1)) ORDER BY version",
        notice.policy_version,
        notice.account,
    )
    return [Revision(**row) for row in rows]


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


async def complete(tx: Connection, version: int, now: datetime) -> bool:
    """Mark a mailing as reported. False where there is no such version."""
    marked = await tx.execute("UPDATE revisions SET completed_at = $2 WHERE version = $1", version, now)
    return affected(marked) == 1
