"""The `requests` topic: a data-subject request from its receipt to its closing, in order per request."""

from typing import ClassVar

from privacy_contracts.envelope import Event
from privacy_contracts.fields import (
    AccountId,
    Channel,
    Outcome,
    RequestId,
    RequestType,
    Stage,
    SystemName,
    Time,
    Version,
)


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
    """The clock runs from `received_at` (11 CCR 7021(b)); whose request it is, is not known yet."""

    type: ClassVar[str] = "request.received"

    request_type: RequestType
    channel: Channel
    received_at: Time
    due_at: Time


class RequestVerified(_RequestEvent):
    """The person proved control of the account's known primary address."""

    type: ClassVar[str] = "request.verified"

    account: AccountId
    verified_at: Time


class DeletionConfirmed(_RequestEvent):
    """The person confirmed, separately, that the account goes too; it may be withdrawn until `irrevocable_at`."""

    type: ClassVar[str] = "deletion.confirmed"

    account: AccountId
    confirmed_at: Time
    irrevocable_at: Time


class DeletionRequested(_RequestEvent):
    """The systems named here, and no others, delete the account's data and answer.

    The first one of a request is the point of no return. `attempt` is 1 for the first asking in a stage; a higher one
    repeats it to systems that were silent (`reminder`) or failed. `answer_due_at` is when the person's answer is due
    (11 CCR 7021(b)), from which the months of 11 CCR 7101(a) are counted.
    """

    type: ClassVar[str] = "deletion.requested"

    account: AccountId
    stage: Stage
    systems: list[SystemName]
    attempt: Version
    reminder: bool = False
    requested_at: Time
    due_at: Time
    answer_due_at: Time | None = None


class SystemEscalated(_RequestEvent):
    """A system stayed silent beyond its deadline; the notifier tells its owner."""

    type: ClassVar[str] = "system.escalated"

    account: AccountId
    system: SystemName
    stage: Stage
    due_at: Time
    escalated_at: Time


class RequestWithdrawn(_RequestEvent):
    """The person took the request back before the point of no return; nothing was deleted."""

    type: ClassVar[str] = "request.withdrawn"

    account: AccountId
    withdrawn_at: Time


class RequestClosed(_RequestEvent):
    """The request has its answer."""

    type: ClassVar[str] = "request.closed"

    outcome: Outcome
    closed_at: Time
