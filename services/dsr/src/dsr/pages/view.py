"""What a page shows of a request, as words. Nothing here reads or decides."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

from dsr.domain.deadlines import KEEP_FOR_OUTSTANDING
from dsr.domain.deletion import ACCOUNTS
from dsr.domain.requests import Request
from dsr.domain.tasks import FINAL, Task
from dsr.pages import words


@dataclass(frozen=True)
class Step:
    """One station of the way; `state` is `done`, `now` or `later`."""

    name: str
    when: str
    state: str


@dataclass(frozen=True)
class Kept:
    """One thing that stays."""

    what: str
    why: str
    until: str


@dataclass(frozen=True)
class SystemLine:
    """One system and what it did. `tone` is `done`, `kept`, `busy`, `open` (outstanding) or `later`."""

    name: str
    holds: str
    state: str
    tone: str
    late: bool
    kept: tuple[Kept, ...]


@dataclass(frozen=True)
class StatusView:
    """All that the page of one request says; `account` is whether the person has one."""

    status: str
    account: bool
    outcome: str | None
    received: str
    due: str
    irrevocable: str | None
    closed: str | None
    started: bool
    account_closed: str | None
    steps: tuple[Step, ...]
    systems: tuple[SystemLine, ...]
    answered: int
    outstanding: int
    address_until: str | None
    account_open: bool


def status(request: Request, tasks: Sequence[Task], zone: ZoneInfo) -> StatusView:
    """A request in the words of its page."""
    kept_until = request.closed_at + KEEP_FOR_OUTSTANDING if request.closed_at and request.address_proven else None
    return StatusView(
        status=request.status,
        account=request.account is not None,
        outcome=request.outcome,
        received=words.day(request.received_at, zone),
        due=words.day(request.due_at, zone),
        irrevocable=words.moment(request.irrevocable_at, zone) if request.irrevocable_at else None,
        closed=words.day(request.closed_at, zone) if request.closed_at else None,
        started=request.started_at is not None,
        account_closed=words.day(request.account_closed_at, zone) if request.account_closed_at else None,
        steps=_steps(request, tasks, zone),
        systems=tuple(_system(task, zone) for task in tasks),
        answered=sum(task.status in FINAL for task in tasks),
        outstanding=sum(task.outstanding for task in tasks),
        address_until=words.day(kept_until, zone) if kept_until else None,
        account_open=any(task.outstanding and task.system == ACCOUNTS for task in tasks),
    )


def time_to_think(cooling_off: timedelta) -> str:
    """How long the way back stays open."""
    return words.duration(cooling_off)


def _steps(request: Request, tasks: Sequence[Task], zone: ZoneInfo) -> tuple[Step, ...]:
    words_of_person = [
        ("Received", request.received_at if request.channel != "profile" else None),
        ("Verified", request.verified_at),
        ("Confirmed", request.confirmed_at),
    ]
    if request.account_closed_at:  # it stands for what the person has not said
        words_of_person = [each for each in words_of_person if each[1]]
        words_of_person.append(("Account closed", request.account_closed_at))
    done = "Closed" if any(task.outstanding for task in tasks) else "Done"
    stations = (
        *words_of_person,
        ("Deleting", request.started_at),
        (done, request.closed_at if request.outcome == "completed" else None),
    )
    reached = [at is not None for _, at in stations]
    ended = request.status in ("closed", "withdrawn")
    current = None if ended or all(reached) else reached.index(False)
    return tuple(
        Step(
            name,
            words.short_day(at, zone) if at else "",
            "done" if at else "now" if position == current else "later",
        )
        for position, (name, at) in enumerate(stations)
    )


def _system(task: Task, zone: ZoneInfo) -> SystemLine:
    tone = {"done": "done", "not_found": "done", "retained": "kept", "waiting": "later"}.get(task.status, "busy")
    state = words.STATES[task.status]
    if task.outstanding:
        tone, state = "open", f"Not confirmed as deleted: {words.reason(task.left_reason or '')}"
    return SystemLine(
        name=words.system(task.system),
        holds=", ".join(words.category(each) for each in task.categories),
        state=state,
        tone=tone,
        late=task.escalated_at is not None and tone == "busy",
        kept=tuple(
            Kept(words.category(item.category), words.law(item.legal_basis), words.day(item.until, zone))
            for item in task.items
        ),
    )
