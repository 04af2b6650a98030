"""The `notices` topic: who was told what, by which channel, with what result. No addresses, only ids."""

from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from privacy_contracts.envelope import Event
from privacy_contracts.fields import AccountId, Code, Count, Known, RequestId, Time, Version

Template = Annotated[Code, Known(("verification", "unknown_address", "completion", "policy_revised", "escalation"))]
NoticeFailure = Annotated[
    Code, Known(("rejected", "expired", "no_address", "account_deleted", "superseded", "unanswered"))
]


class _NoticeEvent(Event):
    stream: ClassVar[str] = "notices"

    notice: UUID

    @property
    def key(self) -> str:
        """The notice."""
        return str(self.notice)

    @property
    def subject(self) -> str:
        """The notice."""
        return f"notice/{self.notice}"


class NoticeSent(_NoticeEvent):
    """A mail server took responsibility for the message. `repeats` counts the times it may have been sent before."""

    type: ClassVar[str] = "notice.sent"

    template: Template
    request: RequestId | None = None
    account: AccountId | None = None
    policy_version: Version | None = None
    repeats: Count = 0
    sent_at: Time


class NoticeFailed(_NoticeEvent):
    """The message will not be sent any more. `unanswered` attempts at it had no answer: each may have arrived."""

    type: ClassVar[str] = "notice.failed"

    template: Template
    request: RequestId | None = None
    account: AccountId | None = None
    policy_version: Version | None = None
    reason: NoticeFailure
    smtp_status: Annotated[int, Field(ge=400, le=599)] | None = None
    unanswered: Count = 0
    failed_at: Time


class NoticePosted(_NoticeEvent):
    """A notice of a policy revision stands on a page (policy: every change is shown on the home page).

    It stands until `until`, or until the notice of a newer version is posted in its place, whichever comes first.
    """

    type: ClassVar[str] = "notice.posted"

    place: Annotated[Code, Known(("home_page",))]
    policy_version: Version
    posted_at: Time
    until: Time


class NoticeCompleted(_NoticeEvent):
    """Every account of a mailing has its result: total = sent + failed."""

    type: ClassVar[str] = "notice.completed"

    policy_version: Version
    total: Count
    sent: Count
    failed: Count
    completed_at: Time
