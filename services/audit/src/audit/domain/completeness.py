"""Whether the trail of a deletion is whole: each part that must be in the record, and the names of those that are not.

Only what is in the record counts. Entries from a foreign source are no part of a trail.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from privacy_contracts import Event
from privacy_contracts.notices import NoticeFailed, NoticeSent
from privacy_contracts.replies import ReplyDone, ReplyFailed, ReplyNotFound, ReplyRetained
from privacy_contracts.requests import (
    DeletionConfirmed,
    DeletionRequested,
    RequestClosed,
    RequestReceived,
    RequestVerified,
    RequestWithdrawn,
)
from privacy_contracts.topology import Systems

FINAL = ReplyDone | ReplyRetained | ReplyNotFound


@dataclass(frozen=True)
class Answer:
    """How one system stands: `answer` is the type of its last reply, None while it has given none."""

    system: str
    stage: str
    asked: int
    answer: str | None
    final: bool


@dataclass(frozen=True)
class Trail:
    """`missing` names the parts that are not recorded, `unexpected` the replies of systems that were not asked."""

    complete: bool
    answers: list[Answer] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)


def trail(events: Sequence[Event], account_deleted: bool, systems: Systems) -> Trail:
    """Check the events of one request, in the order recorded, against the list of systems.

    `account_deleted` says whether the deletion of the account itself is recorded.
    """
    asked = _asked(events)
    replies = _replies(events)
    answers = [_answer(name, stage, events, replies) for name, stage in asked.items()]
    missing = _steps_missing(events)
    if asked or not _ended_early(events):
        missing += _deletion_missing(events, answers, account_deleted, systems)
    return Trail(not missing, answers, missing, sorted(set(replies) - set(asked)))


def accounts(events: Sequence[Event]) -> list[str]:
    """The accounts that a request is about, as subjects."""
    return sorted({event.subject for event in events if event.subject.startswith("account/")})


def _deletion_missing(
    events: Sequence[Event], answers: Sequence[Answer], account_deleted: bool, systems: Systems
) -> list[str]:
    asked = {answer.system for answer in answers}
    missing = [
        f"deletion.requested {system.stage} {name}" for name, system in systems.by_name.items() if name not in asked
    ]
    missing += [f"reply {answer.system}" for answer in answers if not answer.final]
    if not account_deleted:
        missing.append("account.deleted")
    if not any(isinstance(event, RequestClosed) for event in events):
        missing.append("request.closed")
    if not any(isinstance(event, NoticeSent | NoticeFailed) and event.template == "completion" for event in events):
        missing.append("notice completion")
    return missing


def _ended_early(events: Sequence[Event]) -> bool:
    """Withdrawn, or closed without a deletion: no system has anything to answer."""
    return any(
        isinstance(event, RequestWithdrawn) or (isinstance(event, RequestClosed) and event.outcome != "completed")
        for event in events
    )


def _steps_missing(events: Sequence[Event]) -> list[str]:
    """The steps before the deletion that this request must have gone through."""
    steps: list[type[Event]] = [RequestReceived]
    if any(isinstance(event, DeletionRequested) for event in events) or not _ended_early(events):
        steps += [RequestVerified, DeletionConfirmed]
    elif any(isinstance(event, RequestWithdrawn) for event in events):
        steps.append(RequestVerified)
    return [step.type for step in steps if not any(isinstance(event, step) for event in events)]


def _asked(events: Sequence[Event]) -> dict[str, str]:
    """The systems that were named, in order, with the stage in which they were."""
    asked: dict[str, str] = {}
    for event in events:
        if isinstance(event, DeletionRequested):
            for system in event.systems:
                asked.setdefault(system, event.stage)
    return asked


def _replies(events: Sequence[Event]) -> dict[str, FINAL | ReplyFailed]:
    """Each system's answer: its first final one, else its last."""
    replies: dict[str, FINAL | ReplyFailed] = {}
    for event in events:
        if isinstance(event, FINAL | ReplyFailed) and not isinstance(replies.get(event.system), FINAL):
            replies[event.system] = event
    return replies


def _answer(name: str, stage: str, events: Sequence[Event], replies: dict[str, FINAL | ReplyFailed]) -> Answer:
    reply = replies.get(name)
    times = sum(isinstance(event, DeletionRequested) and name in event.systems for event in events)
    return Answer(name, stage, times, reply.type if reply else None, isinstance(reply, FINAL))
