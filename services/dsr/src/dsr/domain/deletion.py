"""A deletion on its way through the company, stage by stage, over the list of systems frozen at verification.

A system's first final answer stands. A reply from a system that is not being asked, or that comes after the closing,
changes nothing. The next stage starts when every system of the last has finally answered.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from dsr.domain.deadlines import KEEP_FINAL_ADDRESS
from privacy_contracts.envelope import Event
from privacy_contracts.replies import Reply, ReplyDone, ReplyFailed, ReplyNotFound, ReplyRetained, RetainedItem
from privacy_contracts.requests import DeletionRequested, RequestClosed, SystemEscalated
from privacy_contracts.topology import Systems

TaskStatus = Literal["waiting", "asked", "failed", "done", "retained", "not_found"]
Effect = Literal["final", "again", "none"]
AlarmKind = Literal["reminder", "escalation", "retry", "destroy_address"]

_FROZEN = ("system", "stage", "transport", "client_id", "deadline_days")

FINAL = ("done", "retained", "not_found")


@dataclass(frozen=True)
class Task:
    """What one system was asked, and what it answered. `attempt` counts the askings; 0 is not asked yet."""

    system: str
    stage: str
    transport: str
    client_id: str | None
    deadline_days: int
    categories: tuple[str, ...]
    status: TaskStatus = "waiting"
    attempt: int = 0
    due_at: datetime | None = None
    escalated_at: datetime | None = None
    answered_at: datetime | None = None
    items: tuple[RetainedItem, ...] = ()


@dataclass(frozen=True)
class Deletion:
    """Everything the next decision about a deletion depends on. `stages` stand in their order."""

    request: UUID
    account: str
    stages: tuple[str, ...]
    tasks: tuple[Task, ...]
    closed: bool = False


@dataclass(frozen=True)
class Alarm:
    """A time at which the deletion must be looked at again; `system` is None where it is about all of it."""

    kind: AlarmKind
    due_at: datetime
    system: str | None = None


@dataclass(frozen=True)
class Step:
    """The deletion after a step, what happened, and when to look again."""

    deletion: Deletion
    events: tuple[Event, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    effect: Effect = "none"


def freeze(systems: Systems) -> tuple[Task, ...]:
    """The systems of today, as the tasks of one request. Later changes of the list do not touch it."""
    return tuple(
        Task(
            system=system.name,
            stage=system.stage,
            transport=system.transport,
            client_id=system.client_id,
            deadline_days=system.deadline_days,
            categories=system.categories,
        )
        for system in systems.by_name.values()
    )


def frozen(task: Task) -> dict[str, Any]:
    """A task not asked yet, as JSON."""
    return {name: getattr(task, name) for name in _FROZEN} | {"categories": list(task.categories)}


def thawed(system: dict[str, Any]) -> Task:
    """A task from what `frozen` made of it."""
    return Task(**(system | {"categories": tuple(system["categories"])}))


def begin(deletion: Deletion, now: datetime) -> Step:
    """The point of no return: the first stage is asked."""
    return _advance(deletion, now)


def answer(deletion: Deletion, reply: Reply, retry_after: timedelta, now: datetime) -> Step:
    """A system replied. One that failed is asked again after `retry_after`; a final answer may end its stage."""
    task = _task(deletion, reply.system)
    if deletion.closed or task is None or task.status not in ("asked", "failed") or reply.account != deletion.account:
        return Step(deletion)
    if isinstance(reply, ReplyFailed):
        if task.status == "failed":
            return Step(deletion)
        again = (Alarm("retry", now + retry_after, task.system),)
        return Step(_with(deletion, replace(task, status="failed")), alarms=again, effect="again")
    answered = replace(task, status=_outcome(reply), answered_at=now, items=_items(reply))
    step = _advance(_with(deletion, answered), now)
    return replace(step, effect="final")


def ask_again(deletion: Deletion, system: str, now: datetime) -> Step:
    """The wait after a failure is over. The deadline stays what it was."""
    task = _task(deletion, system)
    if deletion.closed or task is None or task.status != "failed":
        return Step(deletion)
    return _repeat(deletion, task, now, reminder=False)


def remind(deletion: Deletion, system: str, now: datetime) -> Step:
    """Half of the deadline has passed in silence. A system that failed is waiting for its next turn, not silent."""
    task = _task(deletion, system)
    if deletion.closed or task is None or task.status != "asked":
        return Step(deletion)
    return _repeat(deletion, task, now, reminder=True)


def escalate(deletion: Deletion, system: str, now: datetime) -> Step:
    """The deadline has passed without a final answer; said once per request and system."""
    task = _task(deletion, system)
    if deletion.closed or task is None or task.status not in ("asked", "failed"):
        return Step(deletion)
    if task.escalated_at or task.due_at is None:
        return Step(deletion)
    event = SystemEscalated(
        request=deletion.request,
        account=deletion.account,
        system=system,
        stage=task.stage,
        due_at=task.due_at,
        escalated_at=now,
    )
    return Step(_with(deletion, replace(task, escalated_at=now)), (event,))


def own_answer(deletion: Deletion, system: str, kept_until: date, now: datetime) -> ReplyRetained:
    """This service's own reply: its copy of the address is gone, the record of the request stays (11 CCR 7101)."""
    return ReplyRetained(
        request=deletion.request,
        account=deletion.account,
        system=system,
        answered_by=f"service/{system}",
        answered_at=now,
        items=[RetainedItem(category="requests", legal_basis="us.ca.11ccr7101", until=kept_until)],
    )


def asks(events: Sequence[Event], system: str) -> bool:
    """Whether these events ask the system."""
    return any(isinstance(event, DeletionRequested) and system in event.systems for event in events)


def _advance(deletion: Deletion, now: datetime) -> Step:
    for stage in deletion.stages:
        tasks = [task for task in deletion.tasks if task.stage == stage]
        if any(task.status in ("asked", "failed") for task in tasks):
            return Step(deletion)
        if waiting := [task for task in tasks if task.status == "waiting"]:
            return _ask(deletion, stage, waiting, now)
    closed = RequestClosed(request=deletion.request, account=deletion.account, outcome="completed", closed_at=now)
    return Step(replace(deletion, closed=True), (closed,), (Alarm("destroy_address", now + KEEP_FINAL_ADDRESS),))


def _ask(deletion: Deletion, stage: str, waiting: Sequence[Task], now: datetime) -> Step:
    alarms: list[Alarm] = []
    for task in waiting:
        allowed = timedelta(days=task.deadline_days)
        alarms += [
            Alarm("reminder", now + allowed / 2, task.system),
            Alarm("escalation", now + allowed, task.system),
        ]
        deletion = _with(deletion, replace(task, status="asked", attempt=1, due_at=now + allowed))
    event = DeletionRequested(
        request=deletion.request,
        account=deletion.account,
        stage=stage,
        systems=[task.system for task in waiting],
        attempt=1,
        requested_at=now,
        due_at=now + timedelta(days=min(task.deadline_days for task in waiting)),
    )
    return Step(deletion, (event,), tuple(alarms))


def _repeat(deletion: Deletion, task: Task, now: datetime, *, reminder: bool) -> Step:
    asked = replace(task, status="asked", attempt=task.attempt + 1)
    event = DeletionRequested(
        request=deletion.request,
        account=deletion.account,
        stage=task.stage,
        systems=[task.system],
        attempt=asked.attempt,
        reminder=reminder,
        requested_at=now,
        due_at=task.due_at or now,
    )
    return Step(_with(deletion, asked), (event,))


def _task(deletion: Deletion, system: str) -> Task | None:
    return next((task for task in deletion.tasks if task.system == system), None)


def _with(deletion: Deletion, changed: Task) -> Deletion:
    tasks = tuple(changed if task.system == changed.system else task for task in deletion.tasks)
    return replace(deletion, tasks=tasks)


def _outcome(reply: ReplyDone | ReplyRetained | ReplyNotFound) -> TaskStatus:
    match reply:
        case ReplyDone():
            return "done"
        case ReplyRetained():
            return "retained"
        case ReplyNotFound():
            return "not_found"


def _items(reply: Reply) -> tuple[RetainedItem, ...]:
    return tuple(reply.items) if isinstance(reply, ReplyRetained) else ()
