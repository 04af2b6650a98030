"""`/v1/requests/{id}/identifiers`: whom a system has to look for, for as long as it is asked."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel

from chassis.auth import Auth, Principal
from chassis.clock import Clock
from chassis.database import Pool, transaction
from chassis.problems import Problem
from chassis.telemetry import about
from dsr import identifiers
from dsr.api.actors import actor
from dsr.domain.requests import Refused
from dsr.settings import Desk

NO_STORE = {"Cache-Control": "no-store"}


class Identifier(BaseModel):
    """One thing by which the person may be known. Case does not matter in a mail address, as dsr compares them."""

    kind: Literal["email"] = "email"
    value: str


class Identifiers(BaseModel):
    """What the person proved to be theirs. Not to be kept: it can be asked for again until the answer is recorded."""

    identifiers: list[Identifier]


def router(pool: Pool, clock: Clock, auth: Auth, desk: Desk) -> APIRouter:
    """The route."""
    routes = APIRouter(prefix="/v1/requests", tags=["tasks"])

    @routes.get(
        "/{request_id}/identifiers",
        responses={
            404: {"description": "Of the type not-asked: the caller is not asked about this request, or not yet"},
            410: {
                "description": "The caller's final answer is recorded, or there is no address that the person proved"
            },
        },
    )
    async def identified(
        request_id: UUID, response: Response, caller: Annotated[Principal, Depends(auth.require("system", "agent"))]
    ) -> Identifiers:
        """Whom a deletion is about, with or without an account; each answer is recorded as the caller's access."""
        about(request_id=str(request_id))
        client = caller.subject if "system" in caller.scopes else None
        staff = actor("staff", caller) if "agent" in caller.scopes else None
        async with transaction(pool) as tx:
            found = await identifiers.address(tx, desk, request_id, client, staff, clock.now())
        if isinstance(found, Refused):
            raise _refusal(found)
        response.headers.update(NO_STORE)
        return Identifiers(identifiers=[Identifier(value=found)])

    return routes


def _refusal(refused: Refused) -> Problem:
    if refused.code == "not_asked":
        return Problem(404, "not-asked", "Nothing is asked of the caller about this request", headers=NO_STORE)
    return Problem(410, "identifiers-gone", "The identifiers are not there any more", headers=NO_STORE)
