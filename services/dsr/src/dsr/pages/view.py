"""What a page shows of a request, as words. Nothing here reads or decides."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

from dsr.domain.deletion import FINAL, Task
from dsr.domain.requests import Request
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
    """One system and what it did. `tone` is `done`, `kept`, `busy` or `later`."""

    name: str
    holds: str
    state: str
    tone: str
    late: bool
    kept: tuple[Kept, ...]


@dataclass(frozen=True)
class StatusView:
    """All that the page of one request says."""

    status: str
    outcome: str | None
    received: str
    due: str
    irrevocable: str | None
    closed: str | None
    started: bool
    steps: tuple[Step, ...]
    systems: tuple[SystemLine, ...]
    answered: int


def status(request: Request, tasks: Sequence[Task], zone: ZoneInfo) -> StatusView:
    """A request in the words of its page."""
    return StatusView(
        status=request.status,
        outcome=request.outcome,
        received=words.day(request.received_at, zone),
        due=words.day(request.due_at, zone),
        irrevocable=words.moment(request.irrevocable_at, zone) if request.irrevocable_at else None,
        closed=words.day(request.closed_at, zone) if request.closed_at else None,
        started=request.started_at is not None,
        steps=_steps(request, zone),
        systems=tuple(_system(task, zone) for task in tasks),
        answered=sum(task.status in FINAL for task in tasks),
    )


def time_to_think(cooling_off: timedelta) -> str:
    """How long the way back stays open."""
    return words.duration(cooling_off)


def _steps(request: Request, zone: ZoneInfo) -> tuple[Step, ...]:
    stations = (
        ("Received", request.received_at),
        ("Verified", request.verified_at),
        ("Confirmed", request.confirmed_at),
        ("Deleting", request.started_at),
        ("Done", request.closed_at if request.outcome == "completed" else None),
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
    return SystemLine(
        name=words.system(task.system),
        holds=", ".join(words.category(each) for each in task.categories),
        state=words.STATES[task.status],
        tone=tone,
        late=task.escalated_at is not None and tone == "busy",
        kept=tuple(
            Kept(words.category(item.category), words.law(item.legal_basis), words.day(item.until, zone))
            for item in task.items
        ),
    )
