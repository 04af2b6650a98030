"""A request from receipt to the point of no return. Each step is allowed in exactly the states that it names.

received -> verified -> confirmed -> deleting -> closed
    |          |            |
    +----------+------------+--> withdrawn; the first two also close when the person says nothing

An account that is closed in its own system leads from any of the first three to deleting at once.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from dsr.domain.deadlines import due_at
from privacy_contracts.envelope import Event
from privacy_contracts.notices import NoticeFailed, NoticeSent
from privacy_contracts.requests import (
    DeletionConfirmed,
    RequestClosed,
    RequestMatched,
    RequestReceived,
    RequestVerified,
    RequestWithdrawn,
)

Status = Literal["received", "verified", "confirmed", "deleting", "closed", "withdrawn"]
RefusalCode = Literal["wrong_state", "too_late", "channel", "not_asked", "over", "too_early", "not_waiting"]

REVOCABLE = ("received", "verified", "confirmed")
"""Nothing has been asked of any system yet."""


@dataclass(frozen=True)
class Request:
    """A data-subject request. `account` is None until it is known whose it is, and for ever where there is no account.

    Without an account the request is about the person who proves control of the address that was typed.
    `address_proven`: the final address is one that the person proved to be theirs. `told_at`: when the last mail had
    its end, where the address was looked for still.
    """

    id: UUID
    type: str
    channel: str
    status: Status
    received_at: datetime
    due_at: datetime
    account: str | None = None
    verified_at: datetime | None = None
    confirmed_at: datetime | None = None
    irrevocable_at: datetime | None = None
    started_at: datetime | None = None
    closed_at: datetime | None = None
    outcome: str | None = None
    account_closed_at: datetime | None = None
    address_proven: bool = False
    told_at: datetime | None = None

    @property
    def subject(self) -> str:
        """Whom it is about: the account, or the request itself where the person has none."""
        return f"account/{self.account}" if self.account else f"request/{self.id}"


@dataclass(frozen=True)
class Decided:
    """The request as it stands after a step, and what happened."""

    request: Request
    events: tuple[Event, ...] = ()


@dataclass(frozen=True)
class Refused:
    """The step is not allowed; nothing changes. `about` names what it was refused for, where that is needed."""

    code: RefusalCode
    about: tuple[str, ...] = ()


def channel(scopes: Set[str], named: str | None) -> str | Refused:
    """By which way a request came. The website's own come by it; only agents take in others, and say which way."""
    if named is None:
        return "website" if "website" in scopes else Refused("channel")
    return named if "agent" in scopes else Refused("channel")


def receive(
    request_id: UUID, type_: str, channel: str, zone: ZoneInfo, now: datetime, account: str | None = None
) -> Decided:
    """Receipt starts the clock. Whose request it is, is not asked here, so that all get the same answer.

    Only a closed account says by itself whose it is.
    """
    due = due_at(now, zone)
    request = Request(request_id, type_, channel, "received", received_at=now, due_at=due, account=account)
    event = RequestReceived(
        request=request_id, account=account, request_type=type_, channel=channel, received_at=now, due_at=due
    )
    return Decided(request, (event,))


def overtaken(standing: Sequence[Request]) -> Request | None:
    """Of an account's requests without an answer, the one that the account's end starts: the furthest, then the oldest.

    None where there is none, and where one is deleting already: then that end is the ordinary one, or comes with it.
    """
    if any(request.status == "deleting" for request in standing):
        return None
    return min(standing, key=lambda request: (-REVOCABLE.index(request.status), request.received_at), default=None)


def account_closed(request: Request, closed_at: datetime, now: datetime) -> Decided | Refused:
    """The account was closed in its own system: a stronger word than any click that is still missing.

    No verification and no cooling-off, since there is nothing left to protect; nothing is said to have been verified.
    """
    if request.status not in REVOCABLE:
        return Refused("wrong_state")
    return Decided(replace(request, status="deleting", started_at=now, account_closed_at=closed_at))


def bind(request: Request, account: str) -> Request:
    """The typed address is an account's known one: from now on the request is about that account."""
    return request if request.account else replace(request, account=account)


def match(request: Request, account: str, now: datetime) -> Decided | Refused:
    """The typed address, known of nobody until now, is that of an account. What was proven stays so: same address."""
    if request.account or request.status not in REVOCABLE:
        return Refused("wrong_state")
    return Decided(bind(request, account), (RequestMatched(request=request.id, account=account, matched_at=now),))


def has_reader(request: Request) -> bool:
    """Whether the mail with the link may still go out: it has a use while the person has something to decide."""
    return request.status in REVOCABLE


def has_ending(request: Request) -> bool:
    """Whether there is a last mail to write: it tells what every system did."""
    return request.status == "closed" and request.outcome == "completed"


Spent = Literal["typed", "final", "final_for_mail"]


def spent(request: Request, notice: NoticeSent | NoticeFailed, *, looked_for: bool) -> Spent | None:
    """Which address of a request has no use any more now that a mail about it was sent, or failed for good.

    The typed address of a person without an account identifies them until the end, so it is spent early only when the
    first mail cannot have arrived: then nobody has a link. After the last mail the final one may be `looked_for` by
    systems that are outstanding, and serves for nothing else. None for mails that end neither address.
    """
    if notice.template == "completion":
        return "final_for_mail" if looked_for else "final"
    first = notice.template in ("verification", "unknown_address")
    never_arrived = isinstance(notice, NoticeFailed) and not notice.unanswered
    return "typed" if first and never_arrived and request.status == "received" else None


def proves(request: Request, link_went_to: bytes | None, held: bytes) -> bool:
    """Whether the address that is held, as its keyed hash, is the one that the person proved by the link.

    An account may have taken another one since, of which nobody knows whose it is; and an account that is closed in its
    own system starts a request that nobody has verified.
    """
    return request.verified_at is not None and link_went_to == held


def verify(request: Request, now: datetime) -> Decided | Refused:
    """The link came back from where it was sent: control of that address is proven (11 CCR 7062)."""
    if request.status != "received":
        return Refused("wrong_state")
    return Decided(
        replace(request, status="verified", verified_at=now),
        (RequestVerified(request=request.id, account=request.account, verified_at=now),),
    )


def confirm(request: Request, cooling_off: timedelta, now: datetime) -> Decided | Refused:
    """The second, separate word of the person: all goes, the account too (11 CCR 7020(d) allows two steps)."""
    if request.status != "verified":
        return Refused("wrong_state")
    irrevocable_at = now + cooling_off
    return Decided(
        replace(request, status="confirmed", confirmed_at=now, irrevocable_at=irrevocable_at),
        (
            DeletionConfirmed(
                request=request.id, account=request.account, confirmed_at=now, irrevocable_at=irrevocable_at
            ),
        ),
    )


def start(request: Request, now: datetime) -> Decided | Refused:
    """The point of no return: from here on systems delete."""
    if request.status != "confirmed":
        return Refused("wrong_state")
    return Decided(replace(request, status="deleting", started_at=now))


def withdraw(request: Request, now: datetime) -> Decided | Refused:
    """The way back. It closes when the first `deletion requested` is committed, not when a time has passed."""
    if request.status in ("deleting", "closed"):
        return Refused("too_late")
    if request.status == "withdrawn":
        return Refused("wrong_state")
    return Decided(
        replace(request, status="withdrawn", closed_at=now),
        (RequestWithdrawn(request=request.id, account=request.account, withdrawn_at=now),),
    )


def expire(request: Request, now: datetime) -> Decided | Refused:
    """Nobody answered in time: the request is denied as not verified (11 CCR 7021(b)), or as not confirmed."""
    if request.status not in ("received", "verified"):
        return Refused("wrong_state")
    return _closed(request, "not_verified" if request.status == "received" else "not_confirmed", now)


def give_up(request: Request, now: datetime) -> Decided | Refused:
    """Nobody knows any more whom it is about: no account, and the proven address is gone (a restore, older code).

    Systems would look for nobody and say that they hold nothing, so it ends as if nobody had been verified.
    """
    return _closed(request, "not_verified", now) if request.status == "confirmed" else Refused("wrong_state")


def complete(request: Request, outstanding: Sequence[str], now: datetime) -> Decided:
    """Every system has finally answered, but for those that an officer left `outstanding`, which the answer names.

    Raises `ValueError` where none was asked: only a running deletion ends so.
    """
    if request.status != "deleting":
        raise ValueError(f"a request that is {request.status} cannot be completed")
    return _closed(request, "completed", now, outstanding)


def expires_at(request: Request, within: timedelta) -> datetime:
    """When an unanswered request is denied: never later than the day on which an answer is due."""
    return min(request.received_at + within, request.due_at)


def is_revealed(request: Request) -> bool:
    """Whether a status may say more than that something was received: to nobody before it is known who asks."""
    return request.verified_at is not None or request.account_closed_at is not None


def _closed(request: Request, outcome: str, now: datetime, outstanding: Sequence[str] = ()) -> Decided:
    event = RequestClosed(
        request=request.id,
        account=request.account,
        outcome=outcome,
        closed_at=now,
        outstanding=list(outstanding) or None,
    )
    return Decided(replace(request, status="closed", closed_at=now, outcome=outcome), (event,))
