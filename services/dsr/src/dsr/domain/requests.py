"""A request from receipt to the point of no return. Each step is allowed in exactly the states that it names.

received -> verified -> confirmed -> deleting -> closed
    |          |            |
    +----------+------------+--> withdrawn; the first two also close when the person says nothing
"""

from collections.abc import Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from dsr.domain.deadlines import due_at
from privacy_contracts.envelope import Event
from privacy_contracts.requests import (
    DeletionConfirmed,
    RequestClosed,
    RequestReceived,
    RequestVerified,
    RequestWithdrawn,
)

Status = Literal["received", "verified", "confirmed", "deleting", "closed", "withdrawn"]
RefusalCode = Literal["not_bound", "wrong_state", "too_late", "channel"]


@dataclass(frozen=True)
class Request:
    """A data-subject request. `account` is None until the first mail goes out, and for ever if no account is found."""

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


@dataclass(frozen=True)
class Decided:
    """The request as it stands after a step, and what happened."""

    request: Request
    events: tuple[Event, ...] = ()


@dataclass(frozen=True)
class Refused:
    """The step is not allowed; nothing changes."""

    code: RefusalCode


def channel(scopes: Set[str], named: str | None) -> str | Refused:
    """By which way a request came. The website's own come by it; only agents take in others, and say which way."""
    if named is None:
        return "website" if "website" in scopes else Refused("channel")
    return named if "agent" in scopes else Refused("channel")


def receive(request_id: UUID, type_: str, channel: str, zone: ZoneInfo, now: datetime) -> Decided:
    """Receipt starts the clock. Whose request it is, is not asked here, so that all get the same answer."""
    due = due_at(now, zone)
    return Decided(
        Request(id=request_id, type=type_, channel=channel, status="received", received_at=now, due_at=due),
        (RequestReceived(request=request_id, request_type=type_, channel=channel, received_at=now, due_at=due),),
    )


def bind(request: Request, account: str) -> Request:
    """The typed address is an account's known one: from now on the request is about that account."""
    return request if request.account else replace(request, account=account)


def has_reader(request: Request) -> bool:
    """Whether the mail with the link may still go out: it has a use while the person has something to decide."""
    return request.status in ("received", "verified", "confirmed")


def has_ending(request: Request) -> bool:
    """Whether there is a last mail to write: it tells what every system did."""
    return request.status == "closed" and request.outcome == "completed"


def spent(template: str) -> Literal["typed", "final"] | None:
    """Which address of a request has no use any more once a mail about it was sent, or failed for good.

    None for mails that go to neither: the owner of a late system is written to as well.
    """
    match template:
        case "completion":
            return "final"
        case "verification" | "unknown_address":
            return "typed"
        case _:
            return None


def verify(request: Request, now: datetime) -> Decided | Refused:
    """The link came back from the known address: control of it is proven (11 CCR 7062)."""
    if request.account is None:
        return Refused("not_bound")
    if request.status != "received":
        return Refused("wrong_state")
    return Decided(
        replace(request, status="verified", verified_at=now),
        (RequestVerified(request=request.id, account=request.account, verified_at=now),),
    )


def confirm(request: Request, cooling_off: timedelta, now: datetime) -> Decided | Refused:
    """The second, separate word of the person: the account goes too (11 CCR 7020(d) allows two steps)."""
    if request.account is None:
        return Refused("not_bound")
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
    if request.account is None:
        return Refused("not_bound")
    if request.status != "confirmed":
        return Refused("wrong_state")
    return Decided(replace(request, status="deleting", started_at=now))


def withdraw(request: Request, now: datetime) -> Decided | Refused:
    """The way back. It closes when the first `deletion requested` is committed, not when a time has passed."""
    if request.account is None:
        return Refused("not_bound")
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


def complete(request: Request, now: datetime) -> Decided:
    """Every system has finally answered. Raises `ValueError` where none was asked: only a running deletion ends so."""
    if request.status != "deleting":
        raise ValueError(f"a request that is {request.status} cannot be completed")
    return _closed(request, "completed", now)


def expires_at(request: Request, within: timedelta) -> datetime:
    """When an unanswered request is denied: never later than the day on which an answer is due."""
    return min(request.received_at + within, request.due_at)


def is_revealed(request: Request) -> bool:
    """Whether a status may say more than that something was received."""
    return request.verified_at is not None


def _closed(request: Request, outcome: str, now: datetime) -> Decided:
    return Decided(
        replace(request, status="closed", closed_at=now, outcome=outcome),
        (RequestClosed(request=request.id, account=request.account, outcome=outcome, closed_at=now),),
    )
