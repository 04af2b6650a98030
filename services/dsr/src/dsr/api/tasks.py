"""Tasks of systems without Kafka, and their answers, which take the way of every reply.

A system that takes part over HTTP sees and answers its own; staff those of all systems that are paper.
"""

from datetime import date, datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field, model_validator

from chassis.app import Once
from chassis.auth import Auth, Principal
from chassis.clock import Clock
from chassis.database import Pool, transaction
from chassis.outbox import emit
from chassis.problems import Problem
from chassis.telemetry import about
from dsr.api.actors import actor
from dsr.api.bodies import Body, Cursor, Limit, following
from dsr.queries import tasks
from dsr.queries.tasks import Hands, OpenTask
from privacy_contracts.fields import Category, Code, Evidence
from privacy_contracts.replies import Reply, ReplyDone, ReplyFailed, ReplyNotFound, ReplyRetained, RetainedItem


class TaskOut(BaseModel):
    """What is to be done: delete what the system holds about the person, then reply, by `due_at`.

    `account` is null where the person has none: `/v1/requests/{request}/identifiers` says whom to look for.
    """

    id: UUID
    request: UUID
    account: str | None
    action: Literal["delete"] = "delete"
    system: str
    categories: list[str]
    stage: str
    attempt: int
    due_at: datetime


class TaskList(BaseModel):
    """Tasks, oldest first; `next` is the cursor of the following page, if there is one."""

    tasks: list[TaskOut]
    next: str | None


class Item(Body):
    """What is kept, under which law, and until when."""

    category: Category
    legal_basis: Code
    until: date


class TaskReply(Body):
    """An answer. `retained` names items, `failed` a reason; staff say where it can be looked up."""

    outcome: Literal["done", "retained", "not_found", "failed"]
    items: list[Item] = Field(default=[], max_length=50)
    reason: Code | None = None
    evidence: Evidence | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.outcome == "retained") != bool(self.items) or (self.outcome == "failed") != bool(self.reason):
            raise ValueError("items belong to retained, and reason to failed")
        return self


class TaskReplied(BaseModel):
    """The answer is on its way into the record."""

    task: UUID
    outcome: str


def router(pool: Pool, clock: Clock, auth: Auth) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/v1/tasks", tags=["tasks"])
    doer = Annotated[Principal, Depends(auth.require("system", "agent"))]

    @routes.get("")
    async def listing(caller: doer, cursor: Cursor = None, limit: Limit = 50) -> TaskList:
        """What this system, or staff for the systems that are paper, is asked to do and has not answered."""
        async with transaction(pool) as tx:
            found = await tasks.open_for(tx, _hands(caller), cursor, limit + 1)
        shown = [TaskOut.model_validate(task, from_attributes=True) for task in found[:limit]]
        return TaskList(tasks=shown, next=following(found, limit))

    @routes.post("/{task_id}/reply", status_code=202, response_model=TaskReplied)
    async def reply(task_id: UUID, body: TaskReply, once: Once, caller: doer) -> Response:
        """Answer a task. The answer takes the way of every reply: its topic, then the one state machine.

        422 where staff do not say where it can be looked up.
        """
        async with transaction(pool) as tx:

            async def work() -> TaskReplied:
                task = await tasks.asked_of(tx, _hands(caller), task_id)
                if task is None:
                    raise Problem(404, "not-found", "No such task")
                by_staff = task.transport == "manual"
                if by_staff and body.evidence is None:
                    raise Problem(422, "evidence", "Staff name a ticket or the SHA-256 of a document as evidence")
                now = clock.now()
                about(request_id=str(task.request))
                await tasks.mark_replied(tx, task.id, task.attempt)
                await emit(tx, as_event(task, body, actor("staff" if by_staff else "system", caller), now), now)
                return TaskReplied(task=task.id, outcome=body.outcome)

            return await once.answer(tx, caller, 202, work)

    return routes


def _hands(caller: Principal) -> Hands:
    return Hands(caller.subject if "system" in caller.scopes else None, "agent" in caller.scopes)


def as_event(task: OpenTask, reply: TaskReply, answered_by: str, now: datetime) -> Reply:
    """The reply as the event that a system on Kafka would have written."""
    known = {
        "request": task.request,
        "account": task.account,
        "system": task.system,
        "answered_by": answered_by,
        "answered_at": now,
        "evidence": reply.evidence,
    }
    match reply.outcome:
        case "done":
            return ReplyDone.model_validate(known)
        case "not_found":
            return ReplyNotFound.model_validate(known)
        case "retained":
            items = [RetainedItem.model_validate(item.model_dump()) for item in reply.items]
            return ReplyRetained.model_validate(known | {"items": items})
        case "failed":
            return ReplyFailed.model_validate(known | {"reason": reply.reason})
