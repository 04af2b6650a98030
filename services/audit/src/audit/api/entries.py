"""`/v1/entries`: the record itself, searched by request, subject, type and time."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import asyncpg
from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime, BaseModel, Field

from audit import queries
from audit.api.paging import Cursor, Limit, place
from audit.api.recording import recorded
from audit.domain import reading
from audit.settings import Settings
from chassis.app import Runtime
from chassis.auth import Principal
from chassis.problems import Problem
from privacy_contracts.fields import Code
from privacy_contracts.fields import Subject as SubjectId

Subject = Annotated[SubjectId | None, Query(description="`account/<id>`, `device/<uuid>` or `request/<id>`")]
Moment = Annotated[AwareDatetime, Field(ge=datetime(2000, 1, 1, tzinfo=UTC), lt=datetime(2200, 1, 1, tzinfo=UTC))]
"""A time within what the database can hold, whatever its offset."""
Since = Annotated[Moment | None, Query(alias="from", description="recorded at or after; with an offset")]
Until = Annotated[Moment | None, Query(alias="to", description="recorded before; with an offset")]


class EntryBody(BaseModel):
    """One entry. `omitted` says why there is no payload; `body_hash` is hex."""

    index: int
    topic: str
    partition: int
    offset: int
    key: str | None
    source: str | None
    id: str | None
    type: str | None
    subject: str | None
    request: UUID | None
    time: datetime | None
    sequence: int | None
    recorded_at: datetime
    foreign_source: bool
    headers: list[tuple[str | None, str | None]]
    payload: dict[str, Any] | None
    omitted: str | None
    body_hash: str


class EntryPage(BaseModel):
    """A page in the order recorded. `next` is the cursor of the next page, null on the last."""

    entries: list[EntryBody]
    next: str | None


def _asked(
    request: UUID | None = None,
    subject: Subject = None,
    type: Code | None = None,
    since: Since = None,
    until: Until = None,
) -> reading.Query:
    query = reading.Query("entries", request=request, subject=subject, type=type, since=since, until=until)
    if reading.is_too_wide(query):
        raise Problem(400, "too-wide", "Give a request, a subject, or both from and to")
    return query


def router(runtime: Runtime[Settings]) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/v1/entries", tags=["record"])
    auditor = Depends(runtime.auth.require("auditor"))

    @routes.get("")
    async def entries(
        query: Annotated[reading.Query, Depends(_asked)],
        cursor: Cursor = None,
        limit: Limit = 100,
        reader: Principal = auditor,
    ) -> EntryPage:
        """Search. At least `request`, `subject`, or both `from` and `to` must be given."""
        access = reading.Access(reader.subject, query, runtime.clock.now())
        async with recorded(runtime) as tx:
            at = place(query, cursor, reading.Place(-1, await queries.log.size(tx)))
            shown, more = await queries.reading.entries(tx, access, at, limit)
        further = reading.Place(shown[-1]["index"], at.end) if more else None
        return EntryPage(
            entries=[_body(row) for row in shown], next=reading.cursor(query, further) if further else None
        )

    @routes.get("/{index}")
    async def entry(index: Annotated[int, Path(ge=0, lt=2**62)], reader: Principal = auditor) -> EntryBody:
        """One entry."""
        access = reading.Access(reader.subject, reading.Query("entry", index=index), runtime.clock.now())
        async with recorded(runtime) as tx:
            row = await queries.reading.entry(tx, access)
        if row is None:
            raise Problem(404, "not-found", "No such entry")
        return _body(row)

    return routes


def _body(row: asyncpg.Record) -> EntryBody:
    return EntryBody(
        index=row["index"],
        topic=row["topic"],
        partition=row["partition"],
        offset=row["offset"],
        key=row["key"],
        source=row["ce_source"],
        id=row["ce_id"],
        type=row["ce_type"],
        subject=row["subject"],
        request=row["request"],
        time=row["ce_time"],
        sequence=row["sequence"],
        recorded_at=row["recorded_at"],
        foreign_source=row["foreign_source"],
        headers=json.loads(row["headers"]),
        payload=json.loads(row["payload"]) if row["payload"] is not None else None,
        omitted=row["omitted"],
        body_hash=row["body_hash"].hex(),
    )
