"""May this disclosure happen? Asked by company systems before each one.

There is no `Idempotency-Key` here on purpose: asked again is decided again, so that a repeated question can never bring
back the consent that somebody withdrew in between.
"""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

import uuid_utils.compat as uuids
from fastapi import APIRouter, Depends
from pydantic import BaseModel

from chassis import telemetry
from chassis.app import Runtime
from chassis.auth import Principal
from chassis.database import transaction
from chassis.outbox import emit, oldest_age
from chassis.problems import Problem
from consent.api.actors import system_name
from consent.api.fields import Body, Purpose
from consent.domain import Refusal
from consent.domain.decisions import Ask, Record, decide
from consent.queries import policies, subjects
from consent.settings import Settings
from privacy_contracts.fields import Code, Subject

_DECIDED = telemetry.counter("disclosures_decided", "answers to: may this disclosure happen?")


class Question(Body):
    """Whose data, to whom, and what for."""

    subject: Subject
    recipient: Code
    purpose: Purpose


class Decision(BaseModel):
    """The answer. It holds for this moment; ask again before each disclosure."""

    decision: UUID
    allowed: bool
    reason: str
    consent_version: int | None
    policy_version: int | None


def router(runtime: Runtime[Settings]) -> APIRouter:
    """Routes under `/v1/decisions`."""
    routes = APIRouter(tags=["decisions"])
    system = Annotated[Principal, Depends(runtime.auth.require("system"))]
    limit = timedelta(seconds=runtime.settings.record_delay_limit_seconds)

    @routes.post("/v1/decisions")
    async def decide_disclosure(body: Question, principal: system) -> Decision:
        """Allowed only with a grant in force; every answer is recorded. 503 while the record is delayed."""
        async with transaction(runtime.pool) as tx:
            now = runtime.clock.now()
            standing = await subjects.standing(tx, body.subject, body.purpose)
            ask = Ask(
                decision=uuids.uuid7(),
                subject=body.subject,
                recipient=body.recipient,
                purpose=body.purpose,
                asked_by=system_name(principal),
                policy_version=await policies.in_force(tx, now),
            )
            decided = decide(standing, Record(timedelta(seconds=await oldest_age(tx)), limit), ask, now)
            if isinstance(decided, Refusal):
                raise Problem(
                    503,
                    "record-delayed",
                    "Decisions wait until earlier ones are recorded",
                    headers={"Retry-After": "5"},
                )
            await subjects.put_decision(tx, decided)
            await emit(tx, decided, now)
        _DECIDED.add(1, {"allowed": decided.allowed, "reason": decided.reason})
        return Decision(
            decision=decided.decision,
            allowed=decided.allowed,
            reason=decided.reason,
            consent_version=decided.consent_version,
            policy_version=decided.policy_version,
        )

    return routes
