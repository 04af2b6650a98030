"""A deletion on its way through the company, stage by stage, over the list of systems frozen at verification.

A system's first final answer stands. A reply from a system that is not being asked changes nothing. The next stage
starts when every system of the last has finally answered, or an officer left it outstanding: from the due date on, and
until its real answer comes, be it after the closing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from dsr.domain.deadlines import KEEP_FINAL_ADDRESS, KEEP_FOR_OUTSTANDING, is_due, record_kept_until
from dsr.domain.requests import Refused, Request, account_closed, complete, start
from dsr.domain.tasks import Task, TaskStatus
from privacy_contracts.envelope import Event
from privacy_contracts.replies import Reply, ReplyDone, ReplyFailed, ReplyNotFound, ReplyRetained, RetainedItem
from privacy_contracts.requests import DeletionRequested, SystemEscalated, SystemLeftOutstanding

SYSTEM = "dsr"
"""This service in `systems.toml`: it holds personal data, and is asked like any other."""

ACCOUNTS = "accounts"
"""The system whose word it is that an account is gone."""

Effect = Literal["final", "again", "none"]
AlarmKind = Literal["reminder", "escalation", "retry", "destroy_address"]


@dataclass(frozen=True)
class Deletion:
    """Everything the next decision about a deletion depends on. `stages` stand in their order."""

    request: Request
    stages: tuple[str, ...]
    tasks: tuple[Task, ...]

    @property
    def account(self) -> str | None:
        """The account that goes; None where the person has none."""
        return self.request.account

    @property
    def running(self) -> bool:
        """Whether replies and times count: from the point of no return to the closing."""
        return self.request.status == "deleting"

    @property
    def asked(self) -> tuple[Task, ...]:
        """The tasks whose final answer counts: after the closing those that it left outstanding."""
        tasks = (task for task in self.tasks if task.status in ("asked", "failed"))
        return tuple(task for task in tasks if self.running or (self.request.status == "closed" and task.outstanding))

    @property
    def looked_for(self) -> bool:
        """Whether some system may still need the person's address."""
        return self.request.address_proven and bool(self.asked)


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


def begin(deletion: Deletion, now: datetime) -> Step:
    """The cooling-off is over: the point of no return. The first stage is asked, if the request is confirmed."""
    started = start(deletion.request, now)
    if isinstance(started, Refused):
        return Step()
    return _advance(replace(deletion, request=started.request), now)


def begin_without_account(deletion: Deletion, closed_at: datetime, now: datetime) -> Step:
    """The account was closed in its own system: every other one is asked at once, if none was asked yet."""
    started = account_closed(deletion.request, closed_at, now)
    if isinstance(started, Refused):
        return Step()
    others = tuple(task for task in deletion.tasks if task.system != ACCOUNTS)
    return _advance(replace(deletion, request=started.request, tasks=others), now)


def answer(deletion: Deletion | None, by: str, reply: Reply, retry_after: timedelta, now: datetime) -> Step:
    """The system `by` replied. One that failed is asked again after `retry_after`, be it outstanding, since it is there
    again; a final answer may end its stage.

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
    answered = _with(deletion, replace(task, status=_outcome(reply), answered_at=now, items=_items(reply)))
    step = _advance(answered, now) if deletion.running else _last_word(answered, now)
    return replace(step, effect="final")


def leave_outstanding(
    deletion: Deletion, names: Sequence[str], officer: str, reason: str, zone: ZoneInfo, now: datetime
) -> Step | Refused:
    """From the due date on an officer goes on without these systems; all of them, or none.

    Each must have been asked and not have answered finally; that it was left before is no hindrance. What they were
    asked they still have to do: 11 CCR 7022 knows no end to that.
    """
    if not deletion.running:
        return Refused("wrong_state")
    if not is_due(deletion.request.due_at, now, zone):
        return Refused("too_early")
    waiting = {task.system: task for task in deletion.tasks if task.status in ("asked", "failed")}
    if strangers := tuple(name for name in names if name not in waiting):
        return Refused("not_waiting", strangers)
    events: list[Event] = []
    for task in (waiting[name] for name in names):
        deletion = _with(deletion, replace(task, left_at=now, left_by=officer, left_reason=reason))
        event = SystemLeftOutstanding(
            request=deletion.request.id,
            account=deletion.account,
            system=task.system,
            stage=task.stage,
            officer=officer,
            reason=reason,
            left_at=now,
        )
        events.append(event)
    step = _advance(deletion, now)
    return replace(step, events=(*events, *step.events))


def ask_again(deletion: Deletion, system: str, now: datetime) -> Step:
    """The wait after a failure is over. The deadline stays what it was."""
    task = _task(deletion, system, "failed")
    return _repeat(deletion, task, now, reminder=False) if task else Step()


def remind(deletion: Deletion, system: str, now: datetime) -> Step:
    """Half of the deadline has passed in silence. A system that failed is waiting for its next turn, not silent."""
    task = _waited_for(deletion, system, "asked")
    return _repeat(deletion, task, now, reminder=True) if task else Step()


def escalate(deletion: Deletion, system: str, now: datetime) -> Step:
    """The deadline has passed without a final answer; said once per request and system."""
    task = _waited_for(deletion, system, "asked", "failed")
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
        if any(task.waited_for for task in tasks):
            return Step(deletion)
        if waiting := [task for task in tasks if task.status == "waiting"]:
            return _ask(deletion, stage, waiting, now)
    closed = complete(deletion.request, [task.system for task in deletion.tasks if task.outstanding], now)
    after = replace(deletion, request=closed.request)
    over = now + (KEEP_FOR_OUTSTANDING if after.looked_for else KEEP_FINAL_ADDRESS)
    return Step(after, closed.events, (Alarm("destroy_address", over),))


def _last_word(deletion: Deletion, now: datetime) -> Step:
    """A system that was outstanding at the closing has answered; the last of them needs the address no more."""
    if deletion.asked:
        return Step(deletion)
    last_mail = deletion.request.told_at or (deletion.request.closed_at or now) + KEEP_FINAL_ADDRESS
    return Step(deletion, alarms=(Alarm("destroy_address", max(now, last_mail)),))


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
        account_closed_at=deletion.request.account_closed_at,
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
        account_closed_at=deletion.request.account_closed_at,
    )
    return Step(_with(deletion, asked), (event,))


def _task(deletion: Deletion, system: str, *statuses: TaskStatus) -> Task | None:
    """The system's task, if its answer counts and it has one of these statuses."""
    return next((task for task in deletion.asked if task.system == system and task.status in statuses), None)


def _waited_for(deletion: Deletion, system: str, *statuses: TaskStatus) -> Task | None:
    """The same, unless an officer went on without it: nobody looks after its silence any more."""
    task = _task(deletion, system, *statuses)
    return task if task and task.waited_for else None


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
