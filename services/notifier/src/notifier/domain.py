"""Who must be told what, decided: pure functions of a state, what happened and the time.

Invariants: a notice has one end, sent or failed; every revision of the policy is shown on the home page, and a material
one is mailed to every account that was registered before it, whatever that person chose about marketing.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Literal
from uuid import UUID

from privacy_contracts.accesses import PersonalDataAccessed
from privacy_contracts.disclosures import PersonalDataDisclosed
from privacy_contracts.notices import NoticeCompleted, NoticeFailed, NoticePosted, NoticeSent
from privacy_contracts.policy import PolicyRevised
from privacy_contracts.replies import ReplyDone, ReplyNotFound
from privacy_contracts.requests import DeletionRequested, RequestClosed

SYSTEM = "notifier"
ACTOR = "service/notifier"

Asked = Literal["verification", "completion", "policy_revised"]
"""Why a mail is due."""

POSTED_FOR = timedelta(days=30)
"""How long a revision is shown on the home page."""

PATIENCE: dict[Asked, timedelta] = {
    "verification": timedelta(days=1),
    "completion": timedelta(days=6),
    "policy_revised": timedelta(days=3),
}
"""How long a mail is tried. The final address of a deleted account is destroyed on the 7th day after closing."""


@dataclass(frozen=True)
class Notice:
    """A row of the ledger. About a request, or about a policy version to an account.

    `unanswered` attempts have no answer: one is on its way, or may have arrived.
    """

    id: UUID
    asked: Asked
    template: str
    request: UUID | None = None
    account: str | None = None
    policy_version: int | None = None
    unanswered: int = 0

    @property
    def subject(self) -> str:
        """Whom it is about: the account once it is known, else the request."""
        return f"account/{self.account}" if self.account else f"request/{self.request}"


@dataclass(frozen=True)
class Mailing:
    """A policy mailing's counts. `waiting` + `sent` + `failed` is the number of accounts in it."""

    id: UUID
    policy_version: int
    waiting: int
    sent: int
    failed: int
    completed: bool


class Verdict(Enum):
    """What a mail server's answer means for one mail."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    AGAIN = "again"


Step = Literal["connect", "sender", "recipient", "data"]


def verdict(step: Step, code: int) -> Verdict:
    """Read an SMTP reply code (RFC 5321 4.2.1).

    A 5xx ends the mail only where it is about the recipient or the message. A refusal of the connection or of the
    sender is about us: it would end every mail of a mailing at once, so it is tried again until the deadline.
    """
    if 200 <= code < 300:
        return Verdict.ACCEPTED
    if 500 <= code < 600 and step in ("recipient", "data"):
        return Verdict.REJECTED
    return Verdict.AGAIN


def mailbox(address: str) -> str | None:
    """The address as mail servers want it (its domain in ASCII, RFC 5890), or nothing when no mail can be sent to it.

    One mailbox, no control characters, no quoting, within the lengths of RFC 5321 4.5.3.1.
    """
    local, at, domain = address.strip().rpartition("@")
    plain = all(each.isprintable() and each not in ' <>,;:\\"()[]@' for each in local + domain)
    if not (local and at and plain and len(local) <= 64):
        return None
    try:
        ascii_domain = domain.encode("idna").decode("ascii")
    except UnicodeError:  # an empty or overlong label
        return None
    whole = f"{local}@{ascii_domain}"
    return whole if ascii_domain and len(whole) <= 254 else None


def message_id(notice: Notice, sender: str) -> str:
    """The same for every attempt at one mail, so that a mailbox, and whoever counts, can tell a repeat from another.

    Between two attempts the answer to what was asked may change (an address becomes known): that is another mail, so
    one that is not what was asked for has its template beside the domain (a dot-atom, RFC 5322 3.6.4).
    """
    domain = sender.rpartition("@")[2].rstrip(">")
    return f"<{notice.id}@{domain if notice.template == notice.asked else f'{notice.template}.{domain}'}>"


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


def why(notice: Notice, reason: str) -> str:
    """Why a mail is given up. It is not said to have failed when it may have arrived: then nobody knows."""
    return "unanswered" if notice.unanswered and reason != "rejected" else reason


def posted(revised: PolicyRevised, notice: UUID) -> NoticePosted:
    """Every revision, material or not, is shown on the home page, from the moment of its publication."""
    return NoticePosted(
        notice=notice,
        place="home_page",
        policy_version=revised.version,
        posted_at=revised.published_at,
        until=revised.published_at + POSTED_FOR,
    )


def accessed(notice: Notice, access: UUID, now: datetime) -> PersonalDataAccessed:
    """The address was opened, to write to it."""
    return PersonalDataAccessed(
        access=access,
        system=SYSTEM,
        actor=ACTOR,
        action="view",
        purpose="notice",
        categories=["contact"],
        subject_id=notice.subject,
        case=notice.id,
        accessed_at=now,
    )


def disclosed(notice: Notice, disclosure: UUID, now: datetime) -> PersonalDataDisclosed:
    """The mail is about to leave, to the person it is about. A completion mail also says what is kept."""
    return PersonalDataDisclosed(
        disclosure=disclosure,
        system=SYSTEM,
        subject_id=notice.subject,
        recipient="subject",
        recipient_class="subject",
        purpose="notice",
        categories=["contact", "requests"] if notice.request else ["contact"],
        basis="request_of_subject" if notice.request else "legal_notice",
        method="email",
        case=notice.id,
        policy_version=notice.policy_version,
        disclosed_at=now,
    )


def sent(notice: Notice, repeats: int, now: datetime) -> NoticeSent:
    """A mail server took it. `repeats`: earlier attempts that ended without an answer and may have arrived too."""
    return NoticeSent(
        notice=notice.id,
        template=notice.template,
        request=notice.request,
        account=notice.account,
        policy_version=notice.policy_version,
        repeats=repeats,
        sent_at=now,
    )


def failed(notice: Notice, reason: str, smtp_status: int | None, now: datetime) -> NoticeFailed:
    """It will not be tried any more."""
    return NoticeFailed(
        notice=notice.id,
        template=notice.template,
        request=notice.request,
        account=notice.account,
        policy_version=notice.policy_version,
        reason=reason,
        smtp_status=smtp_status if smtp_status and 400 <= smtp_status < 600 else None,
        failed_at=now,
    )


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


def needs_completion(closed: RequestClosed) -> bool:
    """The person is told when the account is gone. Nobody is written to about a request that was never verified."""
    return closed.outcome == "completed" and closed.account is not None


def named(asked: DeletionRequested) -> bool:
    """A system acts only when it is named."""
    return SYSTEM in asked.systems


def answer(asked: DeletionRequested, records: int, now: datetime) -> ReplyDone | ReplyNotFound:
    """What we tell the orchestrator. `records` is remembered, so that a question asked again gets the same answer."""
    if not records:
        return ReplyNotFound(
            request=asked.request, account=asked.account, system=SYSTEM, answered_by=ACTOR, answered_at=now
        )
    return ReplyDone(
        request=asked.request,
        account=asked.account,
        system=SYSTEM,
        answered_by=ACTOR,
        answered_at=now,
        records=records,
    )
