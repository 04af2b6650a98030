"""The `requests` topic: a data-subject request from its receipt to its closing, in order per request.

`account` is missing until it is known whose request it is, and for ever where the person has no account.
"""

from typing import Annotated, ClassVar

from pydantic import Field

from privacy_contracts.envelope import Event
from privacy_contracts.fields import (
    AccountId,
    Actor,
    Channel,
    Code,
    Known,
    Outcome,
    RequestId,
    RequestType,
    Stage,
    SystemName,
    Time,
    Version,
)

LeftReason = Annotated[Code, Known(("no_answer", "system_retired", "technical_fault"))]


class _RequestEvent(Event):
    stream: ClassVar[str] = "requests"

    request: RequestId
    account: AccountId | None = None

    @property
    def key(self) -> str:
        """The request."""
        return str(self.request)

    @property
    def subject(self) -> str:
        """The account once it is known, else the request."""
        return f"account/{self.account}" if self.account else f"request/{self.request}"


class RequestReceived(_RequestEvent):
    """The clock runs from `received_at` (11 CCR 7021(b)).

    Whose request it is, is not known yet; but where an account was closed in its own system, which opens a request by
    the channel `profile`, `account` says so at once.
    """

    type: ClassVar[str] = "request.received"

    request_type: RequestType
    channel: Channel
    received_at: Time
    due_at: Time


class RequestVerified(_RequestEvent):
    """The person proved control of the account's known primary address; without an account, of the address given."""

    type: ClassVar[str] = "request.verified"

    verified_at: Time


class RequestMatched(_RequestEvent):
    """An account's state showed whose request it is: the address that the person gave is the account's primary one.

    It happens before the first `deletion requested`, verified or not; what was proven until then stays proven.
    """

    type: ClassVar[str] = "request.matched"

    account: AccountId
    matched_at: Time


class DeletionConfirmed(_RequestEvent):
    """The person confirmed, separately, that all goes, the account too; it may be withdrawn until `irrevocable_at`."""

    type: ClassVar[str] = "deletion.confirmed"

    confirmed_at: Time
    irrevocable_at: Time


class DeletionRequested(_RequestEvent):
    """The systems named here, and no others, delete the person's data and answer.

    Without an account, a system asks dsr over HTTP for the identifiers that the person proved, until it has answered.
    The first one of a request is the point of no return. `attempt` is 1 for the first asking in a stage; a higher one
    repeats it to systems that were silent (`reminder`) or failed. `answer_due_at` is when the person's answer is due
    (11 CCR 7021(b)), from which the months of 11 CCR 7101(a) are counted. `account_closed_at` is there when the account
    was closed in its own system: that stands for every word of the person, and that system is not asked any more.
    """

    type: ClassVar[str] = "deletion.requested"

    stage: Stage
    systems: list[SystemName]
    attempt: Version
    reminder: bool = False
    requested_at: Time
    due_at: Time
    answer_due_at: Time | None = None
    account_closed_at: Time | None = None


class SystemEscalated(_RequestEvent):
    """A system stayed silent beyond its deadline; the notifier tells its owner."""

    type: ClassVar[str] = "system.escalated"

    system: SystemName
    stage: Stage
    due_at: Time
    escalated_at: Time


class SystemLeftOutstanding(_RequestEvent):
    """From the due date on, an officer goes on without a system's answer; what it was asked, it still has to do.

    An answer that comes before the closing counts all the same.
    """

    type: ClassVar[str] = "system.left_outstanding"

    system: SystemName
    stage: Stage
    officer: Actor
    reason: LeftReason
    left_at: Time


class RequestWithdrawn(_RequestEvent):
    """The person took the request back before the point of no return; nothing was deleted."""

    type: ClassVar[str] = "request.withdrawn"

    withdrawn_at: Time


class RequestClosed(_RequestEvent):
    """The request has its answer. `outstanding` are the systems that had not answered when an officer went on."""

    type: ClassVar[str] = "request.closed"

    outcome: Outcome
    closed_at: Time
    outstanding: Annotated[list[SystemName], Field(min_length=1)] | None = None
