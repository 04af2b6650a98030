"""Answers put together from the record: who received a person's data, and whether a request's trail is whole."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from audit import queries
from audit.api.recording import recorded
from audit.domain import completeness, reading
from audit.domain.completeness import Answer
from audit.queries.reading import Seen, Told
from audit.settings import Settings
from chassis.app import Runtime
from chassis.auth import Principal
from privacy_contracts.fields import Subject as SubjectId
from privacy_contracts.topology import systems

Subject = Annotated[SubjectId, Query(description="`account/<id>`, `device/<uuid>` or `request/<id>`")]


class RecipientsBody(BaseModel):
    """`received`: given to a recipient; `refused`: asked for and not given; `seen`: read inside the company."""

    subject: str
    received: list[Told]
    refused: list[Told]
    seen: list[Seen]


class TrailBody(BaseModel):
    """`missing` names what is not in the record; `outstanding` the systems that an officer went on without.

    `unexpected` are the systems that replied without being asked.
    """

    request: UUID
    complete: bool
    systems: list[Answer]
    missing: list[str]
    outstanding: list[str]
    unexpected: list[str]


def router(runtime: Runtime[Settings]) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/v1", tags=["answers"])
    auditor = Depends(runtime.auth.require("auditor"))

    @routes.get("/subjects/recipients")
    async def recipients(subject: Subject, reader: Principal = auditor) -> RecipientsBody:
        """Who received or saw this person's data, as far as it was reported."""
        query = reading.Query("recipients", subject=subject)
        access = reading.Access(reader.subject, query, runtime.clock.now())
        async with recorded(runtime) as tx:
            told, seen = await queries.reading.recipients(tx, access)
        return RecipientsBody(
            subject=subject,
            received=[each for each in told if each.outcome == "disclosed"],
            refused=[each for each in told if each.outcome == "refused"],
            seen=seen,
        )

    @routes.get("/requests/{request}/completeness")
    async def trail(request: UUID, reader: Principal = auditor) -> TrailBody:
        """Whether everything that belongs to a deletion is in the record, and what is missing."""
        query = reading.Query("completeness", request=request)
        access = reading.Access(reader.subject, query, runtime.clock.now())
        async with recorded(runtime) as tx:
            events = await queries.reading.of_request(tx, access)
            gone = await queries.reading.is_recorded(tx, completeness.accounts(events), "account.deleted")
        found = completeness.trail(events, gone, systems())
        return TrailBody(
            request=request,
            complete=found.complete,
            systems=found.answers,
            missing=found.missing,
            outstanding=found.outstanding,
            unexpected=found.unexpected,
        )

    return routes
