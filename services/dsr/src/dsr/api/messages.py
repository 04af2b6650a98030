"""Whom the notifier writes to about a request; the answer opens the request."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends

from chassis.auth import Auth, Principal
from chassis.clock import Clock
from chassis.database import Pool, transaction
from chassis.problems import Problem
from chassis.telemetry import about
from dsr import messages
from dsr.api.bodies import Body
from dsr.messages import Message
from dsr.queries.personal import Access
from dsr.settings import Desk

WRITER = "notifier"
"""The one service that may ask whom to write to, as `topics.toml` says under `calls`: the answer opens the request."""


class MessageWanted(Body):
    """Which mail the notifier is about to write."""

    template: Literal["verification", "completion"]


def router(pool: Pool, clock: Clock, auth: Auth, desk: Desk) -> APIRouter:
    """The route."""
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
