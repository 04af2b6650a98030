"""What an officer may do at the due date: go on without systems that have not answered, and answer the person."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import AfterValidator, BaseModel, Field

from chassis.app import Once
from chassis.auth import Auth, Principal
from chassis.clock import Clock
from chassis.database import Pool, transaction
from chassis.problems import Problem
from chassis.telemetry import about
from dsr import orchestration
from dsr.api.actors import actor
from dsr.api.bodies import Body
from dsr.domain.requests import Refused
from dsr.outstanding import NOTE, Outstanding, outstanding
from dsr.settings import Desk
from privacy_contracts.fields import SystemName


def _each_once(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("a system is named twice")
    return names


class Left(Body):
    """Which systems, and why; the words for each reason are those that the person reads."""

    systems: Annotated[list[SystemName], Field(min_length=1, max_length=50), AfterValidator(_each_once)]
    reason: Literal["no_answer", "system_retired", "technical_fault"]


class Standing(BaseModel):
    """How the request stands then: `closed` where nothing else was left to wait for."""

    id: UUID
    status: str
    outstanding: list[Outstanding]
    note: str = NOTE


def router(pool: Pool, clock: Clock, auth: Auth, desk: Desk) -> APIRouter:
    """The route."""
    routes = APIRouter(prefix="/v1/requests", tags=["requests"])

    @routes.post("/{request_id}/outstanding", response_model=Standing)
    async def leave(
        request_id: UUID, body: Left, once: Once, caller: Annotated[Principal, Depends(auth.require("officer"))]
    ) -> Response:
        """Go on without these systems, from the due date on; all of them or, with a 409, none.

        Each becomes outstanding: the next stage starts as if it had answered. What it was asked, it still has to do.
        """
        about(request_id=str(request_id))
        officer, now = actor("staff", caller), clock.now()
        async with transaction(pool) as tx:

            async def work() -> Standing:
                found = await orchestration.left_outstanding(
                    tx, desk, request_id, body.systems, officer, body.reason, now
                )
                if found is None:
                    raise Problem(404, "not-found", "No such request")
                if isinstance(found, Refused):
                    raise _refusal(found)
                return Standing(id=request_id, status=found.request.status, outstanding=outstanding(found.tasks))

            return await once.answer(tx, caller, 200, work)

    return routes


def _refusal(refused: Refused) -> Problem:
    if refused.code == "too_early":
        return Problem(409, "too-early", "Until the day on which the answer is due, systems are waited for")
    if refused.code == "not_waiting":
        names = ", ".join(refused.about)
        return Problem(409, "not-waiting", f"Not asked yet, not in this request, or has answered: {names}")
    return Problem(409, "not-deleting", "No system of this request is being asked")
