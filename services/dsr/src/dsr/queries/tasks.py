"""What each system was asked and answered, and every reply as it came."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from asyncpg import Record
from uuid_utils.compat import uuid7

from chassis.database import Connection
from dsr.domain.tasks import Task
from privacy_contracts.replies import RetainedItem

_COLUMNS = (
    "system, stage, transport, client_id, deadline_days, categories, status, attempt, due_at, escalated_at,"
    " answered_at, items, left_at, left_by, left_reason"
)


@dataclass(frozen=True)
class Hands:
    """Whose tasks they are: those of the system with this client id, and, for staff, those of every manual system."""

    client_id: str | None
    staff: bool


@dataclass(frozen=True)
class OpenTask:
    """A task as those see it who have to do it."""

    id: UUID
    request: UUID
    account: str | None
    system: str
    transport: str
    categories: list[str]
    stage: str
    attempt: int
    due_at: datetime


async def of_request(tx: Connection, request_id: UUID) -> tuple[Task, ...]:
    """The tasks of a request in the order of the frozen list; none before the point of no return."""
    rows = await tx.fetch(f"SELECT {_COLUMNS} FROM dsr.tasks WHERE request_id = $1 ORDER BY position", request_id)  # noqa: S608 - constants
    return tuple(_task(row) for row in rows)


async def insert(tx: Connection, request_id: UUID, tasks: Sequence[Task]) -> None:
    """Make the tasks of a request."""
    await tx.executemany(
        "INSERT INTO dsr.tasks (id, request_id, position, system, stage, transport, client_id, deadline_days,"
        " categories, status, attempt, due_at, escalated_at, answered_at, items)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        [
            (
                uuid7(),
                request_id,
                position,
                task.system,
                task.stage,
                task.transport,
                task.client_id,
                task.deadline_days,
                list(task.categories),
                task.status,
                task.attempt,
                task.due_at,
                task.escalated_at,
                task.answered_at,
                _as_json(task),
            )
            for position, task in enumerate(tasks)
        ],
    )


async def store(tx: Connection, request_id: UUID, tasks: Sequence[Task]) -> None:
    """Write the tasks that a decision changed."""
    await tx.executemany(
        "UPDATE dsr.tasks SET status = $3, attempt = $4, due_at = $5, escalated_at = $6, answered_at = $7, items = $8,"
        " left_at = $9, left_by = $10, left_reason = $11 WHERE request_id = $1 AND system = $2",
        [
            (
                request_id,
                task.system,
                task.status,
                task.attempt,
                task.due_at,
                task.escalated_at,
                task.answered_at,
                _as_json(task),
                task.left_at,
                task.left_by,
                task.left_reason,
            )
            for task in tasks
        ],
    )


_OPEN = (
    "SELECT t.id, t.request_id AS request, r.account, t.system, t.transport, t.categories, t.stage, t.attempt, t.due_at"
    " FROM dsr.tasks AS t JOIN dsr.requests AS r ON r.id = t.request_id"
    " WHERE (t.client_id = $1 OR $2 AND t.transport = 'manual')"
)


async def open_for(tx: Connection, hands: Hands, after: UUID | None, limit: int) -> list[OpenTask]:
    """What they are being asked and have not answered yet, oldest first, behind the task `after`."""
    rows = await tx.fetch(
        f"{_OPEN} AND t.status = 'asked' AND t.replied_attempt < t.attempt"
        " AND ($3::uuid IS NULL OR t.id > $3) ORDER BY t.id LIMIT $4",
        hands.client_id,
        hands.staff,
        after,
        limit,
    )
    return [OpenTask(**row) for row in rows]


async def asked_of(tx: Connection, hands: Hands, task_id: UUID) -> OpenTask | None:
    """A task of theirs that was asked at least once, answered or not; locked."""
    row = await tx.fetchrow(
        f"{_OPEN} AND t.id = $3 AND t.attempt > 0 FOR UPDATE OF r",
        hands.client_id,
        hands.staff,
        task_id,
    )
    return OpenTask(**row) if row else None


async def mark_replied(tx: Connection, task_id: UUID, attempt: int) -> None:
    """The client has answered this asking; its reply is on its way."""
    await tx.execute("UPDATE dsr.tasks SET replied_attempt = $2 WHERE id = $1", task_id, attempt)


async def record_reply(  # noqa: PLR0913 - the columns of one row
    tx: Connection,
    *,
    source: str,
    event_id: str,
    request_id: UUID,
    system: str,
    outcome: str,
    effect: str,
    answered_by: str,
    answered_at: datetime,
    evidence: str | None,
    recorded_at: datetime,
) -> None:
    """Keep a reply as it came, with what it changed; one that comes again after the inbox forgot it is kept already."""
    await tx.execute(
        "INSERT INTO dsr.replies (source, event_id, request_id, system, outcome, effect, answered_by, answered_at,"
        " evidence, recorded_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
        source,
        event_id,
        request_id,
        system,
        outcome,
        effect,
        answered_by,
        answered_at,
        evidence,
        recorded_at,
    )


def _task(row: Record) -> Task:
    items = tuple(RetainedItem.model_validate(item) for item in row["items"])
    return Task(**{**row, "categories": tuple(row["categories"]), "items": items})


def _as_json(task: Task) -> list[dict[str, str]]:
    return [item.model_dump(mode="json") for item in task.items]
