"""Choices: recorded from the website and from the person, shown to those and to the staff who handle requests."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from chassis.app import Once, Runtime
from chassis.auth import Principal
from chassis.database import Connection, transaction
from chassis.outbox import emit
from chassis.problems import Problem
from consent.api.actors import actor
from consent.api.fields import Body, Channel, Choice, Moment, Purpose, Reveal, Words, opaque
from consent.domain import Refusal
from consent.domain.choices import Choose, choose
from consent.domain.policies import sha256
from consent.queries import policies, subjects
from consent.settings import Settings
from privacy_contracts.fields import Subject

_REFUSALS = {
    "deleted": (410, "This account was deleted; nothing is recorded about it any more"),
    "received-in-future": (422, "A choice cannot be received in the future"),
}


class ChoiceMade(Body):
    """A choice as the person made it. `text` is what they were shown, word for word."""

    subject: Subject
    purpose: Purpose
    choice: Choice
    text: Words
    channel: Channel
    received_at: Moment | None = None


class ChoiceRecorded(BaseModel):
    """What was recorded. `in_force` is false where a choice that was received later stays in force."""

    subject: str
    purpose: str
    choice: str
    version: int
    in_force: bool


class ChoiceHeld(BaseModel):
    """A choice of the history."""

    purpose: str
    version: int
    choice: str
    in_force: bool
    channel: str
    received_at: datetime
    policy_version: int | None
    text: str


class ChoicesHeld(BaseModel):
    """Choices by purpose and version; `next` is the cursor of the next page, if there is one."""

    subject: str
    items: list[ChoiceHeld]
    next: str | None


def router(runtime: Runtime[Settings]) -> APIRouter:
    """Routes under `/v1/choices`."""
    routes = APIRouter(tags=["choices"])
    writer = Annotated[Principal, Depends(runtime.auth.require("website", "person"))]
    reader = Annotated[Principal, Depends(runtime.auth.require("website", "person", "agent"))]

    @routes.post("/v1/choices", status_code=201, response_model=ChoiceRecorded)
    async def record_choice(body: ChoiceMade, principal: writer, once: Once) -> JSONResponse:
        """Record a choice; a refusal is recorded like a grant. The one received last is in force."""
        actor = _acting(principal, body.subject)
        async with transaction(runtime.pool) as tx:
            return await once.answer(tx, principal, 201, lambda: _record(tx, body, actor, runtime.clock.now()))

    @routes.get("/v1/choices")
    async def show_choices(
        principal: reader,
        subject: Annotated[Subject, Query()],
        case: UUID | None = None,
        cursor: Annotated[str, Reveal, Query(pattern=r"^[a-z_]{1,64}:[0-9]{1,9}$")] = "_:0",
        limit: Annotated[int, Query(ge=1, le=200)] = 100,
    ) -> ChoicesHeld:
        """A subject's choices, with the words shown. The read is recorded; `case` names the request it is for."""
        access = subjects.Access(
            _acting(principal, subject), "request" if case else "operation", runtime.clock.now(), case
        )
        purpose, _, version = cursor.partition(":")
        async with transaction(runtime.pool) as tx:
            rows = await subjects.choices(tx, subject, access, (purpose, int(version)), limit + 1)
        items = [ChoiceHeld(**row) for row in rows[:limit]]
        more = opaque(f"{items[-1].purpose}:{items[-1].version}") if len(rows) > limit else None
        return ChoicesHeld(subject=subject, items=items, next=more)

    return routes


async def _record(tx: Connection, body: ChoiceMade, actor: str, now: datetime) -> ChoiceRecorded:
    standing = await subjects.standing(tx, body.subject, body.purpose)
    command = Choose(
        subject=body.subject,
        purpose=body.purpose,
        choice=body.choice,
        text_hash=sha256(body.text),
        channel=body.channel,
        received_at=body.received_at,
        policy_version=await policies.in_force(tx, body.received_at or now),
    )
    chosen = choose(standing, command, now)
    if isinstance(chosen, Refusal):
        status, title = _REFUSALS[chosen.code]
        raise Problem(status, chosen.code, title)
    await subjects.put_text(tx, command.text_hash, body.text)
    await subjects.put_choice(tx, command, chosen, actor, now)
    if chosen.event:
        await emit(tx, chosen.event, now)
    return ChoiceRecorded(
        subject=body.subject,
        purpose=body.purpose,
        choice=body.choice,
        version=chosen.version,
        in_force=chosen.took_effect,
    )


def _acting(principal: Principal, subject: str) -> str:
    """Who acts. A person's token (its `sub` is the account id) reaches that person's own choices alone."""
    if "agent" in principal.scopes:
        return actor("staff", principal)
    if "website" in principal.scopes:
        return actor("system", principal)
    if subject != f"account/{principal.subject}":
        raise Problem(403, "forbidden", "The token does not allow this")
    return "person"
