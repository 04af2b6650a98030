"""The HTTP edge for programs: the website, the notifier, systems without Kafka, auditors. Pages are in `dsr.pages`.

Before verification an answer says only that something was received, for known and unknown addresses alike.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from chassis.app import Once
from chassis.auth import Auth, Principal
from chassis.clock import Clock
from chassis.database import Pool, transaction
from chassis.outbox import emit
from chassis.problems import Problem
from chassis.telemetry import about
from dsr import case, messages
from dsr.domain import addresses
from dsr.domain import requests as decide
from dsr.domain.requests import Refused
from dsr.messages import Message
from dsr.queries import links, requests, tasks
from dsr.queries.personal import Access
from dsr.queries.tasks import OpenTask
from dsr.settings import Desk
from privacy_contracts.fields import Category, Code
from privacy_contracts.replies import Reply, ReplyDone, ReplyFailed, ReplyNotFound, ReplyRetained, RetainedItem

Limit = Annotated[int, Query(ge=1, le=200)]

WRITER = "notifier"
"""The one service that may ask whom to write to, as `topics.toml` says under `calls`: the answer opens the request."""


def _place(cursor: object) -> object:
    return UUID(bytes=urlsafe_b64decode(f"{cursor}==")) if isinstance(cursor, str) else cursor


Cursor = Annotated[UUID | None, BeforeValidator(_place)]
"""`next` of the page before; callers only hand it back."""


def _address(typed: str) -> str:
    address = addresses.parse(typed)
    if address is None:
        raise ValueError("not a mail address")
    return address


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class NewRequest(_Body):
    """A request as the website hands it on, or as an agent took it in: `channel` is the agent's word alone."""

    type: Literal["delete"]
    channel: Literal["email", "post"] | None = None
    email: Annotated[str, StringConstraints(max_length=320), AfterValidator(_address)]


class Received(BaseModel):
    """The same for every address."""

    id: UUID
    status: Literal["received"] = "received"


class State(BaseModel):
    """A request; everything but `id` and `status` appears once the person is verified."""

    id: UUID
    status: str
    type: str | None = None
    received_at: datetime | None = None
    due_at: datetime | None = None
    verified_at: datetime | None = None
    confirmed_at: datetime | None = None
    irrevocable_at: datetime | None = None
    started_at: datetime | None = None
    closed_at: datetime | None = None
    outcome: str | None = None


class MessageWanted(_Body):
    """Which mail the notifier is about to write."""

    template: Literal["verification", "completion"]


class TaskOut(BaseModel):
    """What a system has to do: delete what it holds about the account, then reply, by `due_at`."""

    id: UUID
    request: UUID
    account: str
    action: Literal["delete"] = "delete"
    stage: str
    attempt: int
    due_at: datetime


class TaskList(BaseModel):
    """Tasks, oldest first; `next` is the cursor of the following page, if there is one."""

    tasks: list[TaskOut]
    next: str | None


class Item(_Body):
    """What is kept, under which law, and until when."""

    category: Category
    legal_basis: Code
    until: date


class TaskReply(_Body):
    """A system's answer. `retained` names items, `failed` a reason."""

    outcome: Literal["done", "retained", "not_found", "failed"]
    items: Annotated[list[Item], Field(max_length=50)] = []
    reason: Code | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.outcome == "retained") != bool(self.items) or (self.outcome == "failed") != bool(self.reason):
            raise ValueError("items belong to retained, and reason to failed")
        return self


class TaskReplied(BaseModel):
    """The answer is on its way into the record."""

    task: UUID
    outcome: str


class FindingOut(BaseModel):
    """Something that somebody must look at. `about` is an id or a keyed hash."""

    id: UUID
    kind: str
    scope: str
    about: str
    count: int
    first_at: datetime
    last_at: datetime


class FindingList(BaseModel):
    """Findings, oldest first; `next` is the cursor of the following page, if there is one."""

    findings: list[FindingOut]
    next: str | None


def routers(pool: Pool, clock: Clock, auth: Auth, desk: Desk) -> list[APIRouter]:
    """Every route."""
    return [
        _requests(pool, clock, auth, desk),
        _messages(pool, clock, auth, desk),
        _tasks(pool, clock, auth),
        _findings(pool, auth),
    ]


def _requests(pool: Pool, clock: Clock, auth: Auth, desk: Desk) -> APIRouter:
    routes = APIRouter(prefix="/v1/requests", tags=["requests"])

    @routes.post("", status_code=202, response_model=Received)
    async def receive(
        body: NewRequest, once: Once, caller: Annotated[Principal, Depends(auth.require("website", "agent"))]
    ) -> Response:
        """Take a request in. Whether the address is known plays no part before the answer."""
        channel = decide.channel(caller.scopes, body.channel)
        if isinstance(channel, Refused):
            raise Problem(422, "channel", "An agent names the way by which the request came, the website none")
        async with transaction(pool) as tx:

            async def work() -> Received:
                return Received(id=await case.receive(tx, desk, body.type, channel, body.email, clock.now()))

            return await once.answer(tx, caller, 202, work)

    @routes.get("/{request_id}", response_model_exclude_none=True)
    async def state(
        request_id: UUID,
        _: Annotated[Principal, Depends(auth.require("website", "agent", "officer", "auditor"))],
    ) -> State:
        """A request's state; before verification nothing but that it was received."""
        about(request_id=str(request_id))
        async with transaction(pool) as tx:
            request = await requests.get(tx, request_id)
        if request is None:
            raise Problem(404, "not-found", "No such request")
        if not decide.is_revealed(request):
            return State(id=request.id, status="received")
        return State.model_validate(request, from_attributes=True)

    return routes


def _messages(pool: Pool, clock: Clock, auth: Auth, desk: Desk) -> APIRouter:
    routes = APIRouter(prefix="/v1/requests", tags=["messages"])

    @routes.post("/{request_id}/messages", responses={410: {"description": "Nothing to send any more"}})
    async def message(
        request_id: UUID, body: MessageWanted, caller: Annotated[Principal, Depends(auth.require("service"))]
    ) -> Message:
        """To whom a mail goes, with a fresh link; recorded as an access to the address."""
        if caller.subject != WRITER:
            raise Problem(403, "forbidden", "Links are not for the caller")
        about(request_id=str(request_id))
        access = Access(f"service/{caller.subject}", "notice", request_id)
        fetch = messages.first if body.template == "verification" else messages.last
        async with transaction(pool) as tx:
            found = await fetch(tx, desk, request_id, access, clock.now())
        if found is None:
            raise Problem(410, "nothing-to-send", "There is nothing to send about this request")
        return found

    return routes


def _tasks(pool: Pool, clock: Clock, auth: Auth) -> APIRouter:
    routes = APIRouter(prefix="/v1/tasks", tags=["tasks"])
    system = auth.require("system")

    @routes.get("")
    async def listing(
        caller: Annotated[Principal, Depends(system)], cursor: Cursor = None, limit: Limit = 50
    ) -> TaskList:
        """What this system is asked to do and has not answered."""
        async with transaction(pool) as tx:
            found = await tasks.open_for(tx, caller.subject, cursor, limit + 1)
        shown = [TaskOut.model_validate(task, from_attributes=True) for task in found[:limit]]
        return TaskList(tasks=shown, next=_next(found, limit))

    @routes.post("/{task_id}/reply", status_code=202, response_model=TaskReplied)
    async def reply(
        task_id: UUID, body: TaskReply, once: Once, caller: Annotated[Principal, Depends(system)]
    ) -> Response:
        """Answer a task. The answer takes the way of every reply: its topic, then the one state machine."""
        async with transaction(pool) as tx:

            async def work() -> TaskReplied:
                task = await tasks.asked_of(tx, caller.subject, task_id)
                if task is None:
                    raise Problem(404, "not-found", "No such task")
                now = clock.now()
                about(request_id=str(task.request))
                await tasks.mark_replied(tx, task.id, task.attempt)
                await emit(tx, as_event(task, body, f"system/{caller.subject}", now), now)
                return TaskReplied(task=task.id, outcome=body.outcome)

            return await once.answer(tx, caller, 202, work)

    return routes


def _findings(pool: Pool, auth: Auth) -> APIRouter:
    routes = APIRouter(prefix="/v1/findings", tags=["findings"])

    @routes.get("")
    async def listing(
        _: Annotated[Principal, Depends(auth.require("auditor", "operator"))],
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> FindingList:
        """What somebody must look at."""
        async with transaction(pool) as tx:
            found = await links.list_findings(tx, cursor, limit + 1)
        shown = [FindingOut.model_validate(each, from_attributes=True) for each in found[:limit]]
        return FindingList(findings=shown, next=_next(found, limit))

    return routes


def as_event(task: OpenTask, reply: TaskReply, answered_by: str, now: datetime) -> Reply:
    """The reply as the event that a system on Kafka would have written."""
    known = {
        "request": task.request,
        "account": task.account,
        "system": task.system,
        "answered_by": answered_by,
        "answered_at": now,
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


def _next(found: Sequence[OpenTask | links.Finding], limit: int) -> str | None:
    return urlsafe_b64encode(found[limit - 1].id.bytes).decode().rstrip("=") if len(found) > limit else None
