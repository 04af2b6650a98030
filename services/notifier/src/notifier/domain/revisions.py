"""A revision of the policy: the notice on the home page, and the mailing about a material one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from notifier.domain.notices import Notice
from privacy_contracts.notices import NoticeCompleted, NoticePosted
from privacy_contracts.policy import PolicyRevised

POSTED_FOR = timedelta(days=30)
"""How long the home page shows a revision whose event does not say it."""


@dataclass(frozen=True)
class Revision:
    """What a policy mail says about one version. Texts are None until consent was asked, empty if it never answered."""

    version: int
    revised_on: date
    published_at: datetime
    effective_at: datetime
    summary: str | None
    url: str | None


@dataclass(frozen=True)
class Mailing:
    """A policy mailing's counts. `waiting` + `sent` + `failed` is the number of accounts in it."""

    id: UUID
    policy_version: int
    waiting: int
    sent: int
    failed: int
    completed: bool


def posted(revised: PolicyRevised, notice: UUID) -> NoticePosted:
    """Every revision, material or not, is shown on the home page, from the moment of its publication."""
    return NoticePosted(
        notice=notice,
        place="home_page",
        policy_version=revised.version,
        posted_at=revised.published_at,
        until=revised.announced_until or revised.published_at + POSTED_FOR,
    )


def needs_mail(revised: PolicyRevised) -> bool:
    """A material change of a policy that people already know; the first version changes nothing for anybody."""
    return revised.material and revised.supersedes is not None


@dataclass(frozen=True)
class Merged:
    """What is done about one of an account's waiting policy mails.

    `sends` is the mail in question, if it is the one that leaves. `superseded` are the notices that end because a later
    mail says it all; `by` is that mail's policy version.
    """

    sends: Notice | None = None
    superseded: tuple[Notice, ...] = ()
    by: int | None = None


def merged(waiting: list[Notice], this: UUID) -> Merged:
    """One mail tells of several revisions when a second material one came before the mail about the first had left.

    `waiting` are an account's policy mails without a result, in the order of versions. Nothing is dropped: the latest
    mail lists every revision it stands for. A mail that may have arrived already is finished by itself.
    """
    position = next((index for index, each in enumerate(waiting) if each.id == this), None)
    if position is None:
        return Merged()
    mine, latest = waiting[position], waiting[-1]
    if latest is not mine and not mine.unanswered:
        return Merged(superseded=(mine,), by=latest.policy_version)
    earlier = tuple(each for each in waiting[:position] if not each.unanswered)
    return Merged(sends=mine, superseded=earlier, by=mine.policy_version if earlier else None)


def has_text(revisions: Sequence[Revision]) -> bool:
    """Whether the mail about these versions, oldest first, can be written: consent was asked about each of them.

    About the latest it must have answered; an earlier one can be told of by its dates alone.
    """
    return all(each.summary is not None for each in revisions) and bool(revisions[-1].summary)


def completed(mailing: Mailing, now: datetime) -> NoticeCompleted | None:
    """Said once, when the last account of a mailing has its result."""
    if mailing.completed or mailing.waiting:
        return None
    return NoticeCompleted(
        notice=mailing.id,
        policy_version=mailing.policy_version,
        total=mailing.sent + mailing.failed,
        sent=mailing.sent,
        failed=mailing.failed,
        completed_at=now,
    )
