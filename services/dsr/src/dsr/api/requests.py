"""Requests: taken in from the website and from agents, and looked up."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import AfterValidator, BaseModel, StringConstraints

from chassis.app import Once
from chassis.auth import Auth, Principal
from chassis.clock import Clock
from chassis.database import Pool, transaction
from chassis.problems import Problem
from chassis.telemetry import about
from dsr import case
from dsr.api.bodies import Body
from dsr.domain import addresses
from dsr.domain import requests as decide
from dsr.domain.requests import Refused
from dsr.outstanding import NOTE, Outstanding, outstanding
from dsr.queries import requests, tasks
from dsr.settings import Desk


def _address(typed: str) -> str:
    address = addresses.parse(typed)
    if address is None:
        raise ValueError("not a mail address")
    return address


class NewRequest(Body):
    """A request as the website hands it on, or as an agent took it in: `channel` is the agent's word alone."""

    type: Literal["delete"]
    channel: Literal["email", "post"] | None = None
    email: Annotated[str, StringConstraints(max_length=320), AfterValidator(_address)]


class Received(BaseModel):
    """The same for every address."""

    id: UUID
    status: Literal["received"] = "received"


class State(BaseModel):
    """A request; everything but `id` and `status` appears once the person is verified, or the account was closed.

    `waiting_for` are systems that have not answered yet; `outstanding` those that an officer went on without.
    """

    id: UUID
    status: str
    type: str | None = None
    received_at: datetime | None = None
    due_at: datetime | None = None
    verified_at: datetime | None = None
    confirmed_at: datetime | None = None
    irrevocable_at: datetime | None = None
    account_closed_at: datetime | None = None
    started_at: datetime | None = None
    closed_at: datetime | None = None
    outcome: str | None = None
    waiting_for: list[str] | None = None
    outstanding: list[Outstanding] | None = None
    note: str | None = None


def router(pool: Pool, clock: Clock, auth: Auth, desk: Desk) -> APIRouter:
    """The routes."""
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
            listed = await tasks.of_request(tx, request_id)
        if request is None:
            raise Problem(404, "not-found", "No such request")
        if not decide.is_revealed(request):
            return State(id=request.id, status="received")
        state = State.model_validate(request, from_attributes=True)
        if left := outstanding(listed):
            state.outstanding, state.note = left, NOTE
        state.waiting_for = [task.system for task in listed if task.waited_for] or None
        return state

    return routes
