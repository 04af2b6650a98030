"""The `replies.<system>` topics: what a system did about a deletion. Each topic has one writer.

`evidence` says where it can be looked up, when it was staff that answered.
"""

from datetime import date
from typing import Annotated, ClassVar

from pydantic import Field

from privacy_contracts.envelope import Event, Part
from privacy_contracts.fields import (
    AccountId,
    Actor,
    Category,
    Code,
    Count,
    Evidence,
    Known,
    RequestId,
    SystemName,
    Time,
)

LegalBasis = Annotated[Code, Known(("us.irc.6001", "us.ca.11ccr7101", "us.ca.civ1798.105d8"))]
FailureReason = Annotated[Code, Known(("unavailable", "conflict", "internal"))]


class _Reply(Event):
    stream: ClassVar[str] = "replies"

    request: RequestId
    account: AccountId | None = None
    system: SystemName
    answered_by: Actor
    answered_at: Time
    evidence: Evidence | None = None

    @property
    def topic(self) -> str:
        """The system's own topic."""
        return f"{self.stream}.{self.system}"

    @property
    def key(self) -> str:
        """The request."""
        return str(self.request)

    @property
    def subject(self) -> str:
        """The account, or the request of a person without one."""
        return f"account/{self.account}" if self.account else f"request/{self.request}"


class RetainedItem(Part):
    """What is kept, under which law, and until when."""

    category: Category
    legal_basis: LegalBasis
    until: date


class ReplyDone(_Reply):
    """Everything the system held is deleted."""

    type: ClassVar[str] = "reply.done"

    records: Count | None = None


class ReplyRetained(_Reply):
    """Everything is deleted but the items named (Civ. Code 1798.105(d); 11 CCR 7022(f))."""

    type: ClassVar[str] = "reply.retained"

    items: Annotated[list[RetainedItem], Field(min_length=1)]


class ReplyNotFound(_Reply):
    """The system holds nothing about the person."""

    type: ClassVar[str] = "reply.not_found"


class ReplyFailed(_Reply):
    """The system could not do it now; it will be asked again."""

    type: ClassVar[str] = "reply.failed"

    reason: FailureReason


Reply = ReplyDone | ReplyRetained | ReplyNotFound | ReplyFailed
