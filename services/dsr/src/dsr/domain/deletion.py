"""A deletion on its way through the company, stage by stage, over the list of systems frozen at verification.

A system's first final answer stands. A reply from a system that is not being asked, or that comes after the closing,
changes nothing. The next stage starts when every system of the last has finally answered.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from dsr.domain.deadlines import KEEP_FINAL_ADDRESS, record_kept_until
from dsr.domain.requests import Refused, Request, complete, start
from privacy_contracts.envelope import Event
from privacy_contracts.replies import Reply, ReplyDone, ReplyFailed, ReplyNotFound, ReplyRetained, RetainedItem
from privacy_contracts.requests import DeletionRequested, SystemEscalated
from privacy_contracts.topology import Systems

SYSTEM = "dsr"
"""This service in `systems.toml`: it holds personal data, and is asked like any other."""

TaskStatus = Literal["waiting", "asked", "failed", "done", "retained", "not_found"]
Effect = Literal["final", "again", "none"]
AlarmKind = Literal["reminder", "escalation", "retry", "destroy_address"]

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

    request: Request
    stages: tuple[str, ...]
    tasks: tuple[Task, ...]

    @property
    def account(self) -> str:
        """The account that goes; no request gets to the point of no return without one."""
        return self.request.account or ""

    @property
    def running(self) -> bool:
        """Whether replies and times count: from the point of no return to the closing."""
        return self.request.status == "deleting"


@dataclass(frozen=True)
class Alarm:
    """A time at which the deletion must be looked at again; `system` is None where it is about all of it."""

    kind: AlarmKind
    due_at: datetime
    system: str | None = None


@dataclass(frozen=True)
class Step:
    """The deletion after a step, what happened, and when to look again. `Step()` changes nothing."""

    deletion: Deletion | None = None
    events: tuple[Event, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    effect: Effect = "none"


def freeze(systems: Systems) -> dict[str, Any]:
    """The systems of today and their stages, as JSON, for one request. Later changes of the list do not touch it."""
    return {
        "stages": list(systems.stages),
        "systems": [
            {
                "system": system.name,
                "stage": system.stage,
                "transport": system.transport,
                "client_id": system.client_id,
                "deadline_days": system.deadline_days,
                "categories": list(system.categories),
            }
            for system in systems.by_name.values()
        ],
    }


def thaw(frozen: dict[str, Any] | None) -> tuple[tuple[str, ...], tuple[Task, ...]]:
    """The stages in their order, and each system's task, from what `freeze` made; neither before verification."""
    if frozen is None:
        return (), ()
    tasks = (Task(**(each | {"categories": tuple(each["categories"])})) for each in frozen["systems"])
    return tuple(frozen["stages"]), tuple(tasks)


def begin(deletion: Deletion, now: datetime) -> Step:
    """The cooling-off is over: the point of no return. The first stage is asked, if the request is confirmed."""
    started = start(deletion.request, now)
    if isinstance(started, Refused):
        return Step()
    return _advance(replace(deletion, request=started.request), now)


def answer(deletion: Deletion | None, by: str, reply: Reply, retry_after: timedelta, now: datetime) -> Step:
    """The system `by` replied. One that failed is asked again after `retry_after`; a final answer may end its stage.

    Nothing changes where the request is unknown (None), or where a system speaks for another one or about another
    account.
    """
    if deletion is None or reply.system != by or reply.account != deletion.account:
        return Step()
    task = _task(deletion, by, "asked", "failed")
    if task is None:
        return Step()
    if isinstance(reply, ReplyFailed):
        if task.status == "failed":
            return Step()
        again = (Alarm("retry", now + retry_after, task.system),)
        return Step(_with(deletion, replace(task, status="failed")), alarms=again, effect="again")
    answered = replace(task, status=_outcome(reply), answered_at=now, items=_items(reply))
    step = _advance(_with(deletion, answered), now)
    return replace(step, effect="final")


def ask_again(deletion: Deletion, system: str, now: datetime) -> Step:
    """The wait after a failure is over. The deadline stays what it was."""
    task = _task(deletion, system, "failed")
    return _repeat(deletion, task, now, reminder=False) if task else Step()


def remind(deletion: Deletion, system: str, now: datetime) -> Step:
    """Half of the deadline has passed in silence. A system that failed is waiting for its next turn, not silent."""
    task = _task(deletion, system, "asked")
    return _repeat(deletion, task, now, reminder=True) if task else Step()


def escalate(deletion: Deletion, system: str, now: datetime) -> Step:
    """The deadline has passed without a final answer; said once per request and system."""
    task = _task(deletion, system, "asked", "failed")
    if task is None or task.escalated_at or task.due_at is None:
        return Step()
    event = SystemEscalated(
        request=deletion.request.id,
        account=deletion.account,
        system=system,
        stage=task.stage,
        due_at=task.due_at,
        escalated_at=now,
    )
    return Step(_with(deletion, replace(task, escalated_at=now)), (event,))


def own_answer(step: Step, zone: ZoneInfo, now: datetime) -> ReplyRetained | None:
    """This service's own reply, where the step asks it: its copy of the address goes, the request's record stays.

    The record is kept under 11 CCR 7101; `zone` is the company's.
    """
    asked = any(isinstance(event, DeletionRequested) and SYSTEM in event.systems for event in step.events)
    if step.deletion is None or not asked:
        return None
    kept_until = record_kept_until(step.deletion.request.due_at, now, zone)
    return ReplyRetained(
        request=step.deletion.request.id,
        account=step.deletion.account,
        system=SYSTEM,
        answered_by=f"service/{SYSTEM}",
        answered_at=now,
        items=[RetainedItem(category="requests", legal_basis="us.ca.11ccr7101", until=kept_until)],
    )


def _advance(deletion: Deletion, now: datetime) -> Step:
    for stage in deletion.stages:
        tasks = [task for task in deletion.tasks if task.stage == stage]
        if any(task.status in ("asked", "failed") for task in tasks):
            return Step(deletion)
        if waiting := [task for task in tasks if task.status == "waiting"]:
            return _ask(deletion, stage, waiting, now)
    closed = complete(deletion.request, now)
    over = (Alarm("destroy_address", now + KEEP_FINAL_ADDRESS),)
    return Step(replace(deletion, request=closed.request), closed.events, over)


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
        request=deletion.request.id,
        account=deletion.account,
        stage=stage,
        systems=[task.system for task in waiting],
        attempt=1,
        requested_at=now,
        due_at=now + timedelta(days=min(task.deadline_days for task in waiting)),
        answer_due_at=deletion.request.due_at,
    )
    return Step(deletion, (event,), tuple(alarms))


def _repeat(deletion: Deletion, task: Task, now: datetime, *, reminder: bool) -> Step:
    asked = replace(task, status="asked", attempt=task.attempt + 1)
    event = DeletionRequested(
        request=deletion.request.id,
        account=deletion.account,
        stage=task.stage,
        systems=[task.system],
        attempt=asked.attempt,
        reminder=reminder,
        requested_at=now,
        due_at=task.due_at or now,
        answer_due_at=deletion.request.due_at,
    )
    return Step(_with(deletion, asked), (event,))


def _task(deletion: Deletion, system: str, *statuses: TaskStatus) -> Task | None:
    """The system's task, if the deletion is running and the task has one of these statuses."""
    tasks = deletion.tasks if deletion.running else ()
    return next((task for task in tasks if task.system == system and task.status in statuses), None)


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
