"""One mail: how long it is tried, what a server's answer means for it, and what is said of its end."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Literal
from uuid import UUID

from notifier.domain import SYSTEM
from privacy_contracts.disclosures import PersonalDataDisclosed
from privacy_contracts.notices import NoticeFailed, NoticeSent
from privacy_contracts.requests import RequestClosed, RequestReceived

Asked = Literal["verification", "completion", "policy_revised", "escalation"]
"""Why a mail is due."""

PATIENCE: dict[Asked, timedelta] = {
    "verification": timedelta(days=1),
    "completion": timedelta(days=6),
    "policy_revised": timedelta(days=3),
    "escalation": timedelta(days=3),
}
"""How long a mail is tried. The final address of a deleted account is destroyed on the 7th day after closing."""


@dataclass(frozen=True)
class Notice:
    """A row of the ledger. About a request, or about a policy version to an account.

    `asked` is an `Asked`; that of an escalation has the late system's name behind a dot. `unanswered` attempts have
    no answer: one is on its way, or may have arrived.
    """

    id: UUID
    asked: str
    template: str
    request: UUID | None = None
    account: str | None = None
    policy_version: int | None = None
    unanswered: int = 0

    @property
    def subject(self) -> str:
        """Whom it is about: the account once it is known, else the request."""
        return f"account/{self.account}" if self.account else f"request/{self.request}"


def late(system: str) -> str:
    """Why an escalation is due, as the ledger says it: one mail per request and system."""
    return f"escalation.{system}"


def needs_link(received: RequestReceived) -> bool:
    """A request that says itself whose it is comes of a closed account: nobody has to prove or confirm anything."""
    return received.account is None


def needs_completion(closed: RequestClosed) -> bool:
    """The person is told when all is gone, account or not. Nobody is written to about a request never verified."""
    return closed.outcome == "completed"


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


def message_id(notice: Notice, sender: str) -> str:
    """The same for every attempt at one mail, so that a mailbox, and whoever counts, can tell a repeat from another.

    Between two attempts the answer to what was asked may change (an address becomes known): that is another mail, so
    one that is not what was asked for has its template beside the domain (a dot-atom, RFC 5322 3.6.4).
    """
    domain = sender.rpartition("@")[2].rstrip(">")
    as_asked = notice.template == notice.asked.partition(".")[0]
    return f"<{notice.id}@{domain if as_asked else f'{notice.template}.{domain}'}>"


def living(notice: Notice) -> str | None:
    """The account to whose present address this mail goes, so that it must still be there.

    A mail about the end goes to the address that was frozen for it, one to an unknown address to no account.
    """
    return notice.account if notice.template in ("verification", "policy_revised") else None


def cancelled(waiting: Sequence[Notice]) -> list[Notice]:
    """Which of a deleted account's mails end now. One on its way ends by its own answer, so that the ledger is true."""
    return [each for each in waiting if not each.unanswered]


def why(notice: Notice, reason: str) -> str:
    """Why a mail is given up. It is not said to have failed when it may have arrived: then nobody knows."""
    return "unanswered" if notice.unanswered and reason != "rejected" else reason


def disclosed(notice: Notice, disclosure: UUID, now: datetime) -> PersonalDataDisclosed | None:
    """The mail is about to leave, to the person it is about. A completion mail also says what is kept.

    None for an escalation, which goes to a system's owner and says nothing about the person.
    """
    if notice.template == "escalation":
        return None
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
    """It will not be tried any more. Attempts that had no answer are said, for each of them may have arrived."""
    return NoticeFailed(
        notice=notice.id,
        template=notice.template,
        request=notice.request,
        account=notice.account,
        policy_version=notice.policy_version,
        reason=reason,
        smtp_status=smtp_status if smtp_status and 400 <= smtp_status < 600 else None,
        unanswered=notice.unanswered,
        failed_at=now,
    )
