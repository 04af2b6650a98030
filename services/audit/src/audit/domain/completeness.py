"""Whether the trail of a deletion is whole: each part that must be in the record, and the names of those that are not.

Only what is in the record counts. Entries from a foreign source are no part of a trail. Where the account was closed in
its own system, the request needs no word of the person, and that system is not asked. A system that an officer left
outstanding is not missing, and has not answered.
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
    SystemLeftOutstanding,
)
from privacy_contracts.topology import Systems

ACCOUNTS = "accounts"
"""The system whose word it is that an account is gone."""
FINAL = ReplyDone | ReplyRetained | ReplyNotFound


@dataclass(frozen=True)
class Answer:
    """How one system stands: `answer` is the type of its last reply, None while it has given none.

    `outstanding` is why an officer went on without it, as long as it has not answered finally.
    """

    system: str
    stage: str
    asked: int
    answer: str | None
    final: bool
    outstanding: str | None = None


@dataclass(frozen=True)
class Trail:
    """`missing` names the parts that are not recorded, `outstanding` the systems that an officer went on without.

    `unexpected` are the replies of systems that were not asked.
    """

    complete: bool
    answers: list[Answer] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    outstanding: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)


def trail(events: Sequence[Event], account_deleted: bool, systems: Systems) -> Trail:
    """Check the events of one request, in the order recorded, against the list of systems.

    `account_deleted` says whether the deletion of the account itself is recorded; a request whose systems were asked
    about somebody without an account, and that never became an account's, needs none.
    """
    asked = _asked(events)
    replies = _replies(events)
    answers = [_answer(name, stage, events, replies) for name, stage in asked.items()]
    missing = _steps_missing(events)
    if asked or not _ended_early(events):
        missing += _deletion_missing(events, answers, account_deleted, systems)
    outstanding = [answer.system for answer in answers if answer.outstanding]
    return Trail(not missing, answers, missing, outstanding, sorted(set(replies) - set(asked)))


def accounts(events: Sequence[Event]) -> list[str]:
    """The accounts that a request is about, as subjects; none where the person has no account."""
    return sorted({event.subject for event in events if event.subject.startswith("account/")})


def _deletion_missing(
    events: Sequence[Event], answers: Sequence[Answer], account_deleted: bool, systems: Systems
) -> list[str]:
    asked = {answer.system for answer in answers} | ({ACCOUNTS} if _account_closed(events) else set())
    missing = [
        f"deletion.requested {system.stage} {name}" for name, system in systems.by_name.items() if name not in asked
    ]
    missing += [f"reply {answer.system}" for answer in answers if not answer.final and not answer.outstanding]
    left = any(answer.system == ACCOUNTS and answer.outstanding for answer in answers)
    if not account_deleted and not left and (accounts(events) or not asked):
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


def _account_closed(events: Sequence[Event]) -> bool:
    """Whether the account was closed in its own system before that was asked to."""
    return any(isinstance(event, DeletionRequested) and event.account_closed_at for event in events)


def _steps_missing(events: Sequence[Event]) -> list[str]:
    """The steps before the deletion that this request must have gone through."""
    steps: list[type[Event]] = [RequestReceived]
    if _account_closed(events):
        pass
    elif any(isinstance(event, DeletionRequested) for event in events) or not _ended_early(events):
        steps += [RequestVerified, DeletionConfirmed]
    elif any(isinstance(event, DeletionConfirmed) for event in events):
        steps.append(RequestVerified)  # whoever has the link may stop a request without having said who they are
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
    left = [each.reason for each in events if isinstance(each, SystemLeftOutstanding) and each.system == name]
    final = isinstance(reply, FINAL)
    return Answer(name, stage, times, reply.type if reply else None, final, left[-1] if left and not final else None)
