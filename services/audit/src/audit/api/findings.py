"""`/v1/findings`: what is odd about the record, open or resolved."""

from datetime import datetime

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from audit import queries
from audit.api.paging import Cursor, Limit, place
from audit.api.recording import recorded
from audit.domain import reading
from audit.queries.findings import Finding
from audit.settings import Settings
from chassis.app import Runtime
from chassis.auth import Principal


class FindingBody(BaseModel):
    """One finding.

    `entry` is the index concerned; for a conflict it is the entry that stays, and `partition`, `offset` and
    `body_hash` (hex) are the other's. `missing` are a gap's numbers as first and last, the first 100 of them.
    """

    id: int
    kind: str
    topic: str
    source: str | None
    entry: int | None
    partition: int | None
    offset: int | None
    body_hash: str | None
    missing: list[tuple[int, int]] | None
    missing_count: int | None
    found_at: datetime
    resolved_at: datetime | None
    resolution: str | None


class FindingPage(BaseModel):
    """A page, oldest first. `next` is the cursor of the next page, null on the last."""

    findings: list[FindingBody]
    next: str | None


def router(runtime: Runtime[Settings]) -> APIRouter:
    """The route."""
    routes = APIRouter(prefix="/v1/findings", tags=["record"])
    auditor = Depends(runtime.auth.require("auditor"))

    @routes.get("")
    async def findings(
        open: bool | None = None,
        cursor: Cursor = None,
        limit: Limit = 100,
        reader: Principal = auditor,
    ) -> FindingPage:
        """Findings; with `open` only those that are, or are not."""
        query = reading.Query("findings", open=open)
        access = reading.Access(reader.subject, query, runtime.clock.now())
        async with recorded(runtime) as tx:
            at = place(query, cursor, reading.Place(0, await queries.findings.last(tx)))
            shown, more = await queries.findings.page(tx, access, at, limit)
        further = reading.Place(shown[-1].id, at.end) if more else None
        return FindingPage(
            findings=[_body(row) for row in shown], next=reading.cursor(query, further) if further else None
        )

    return routes


def _body(finding: Finding) -> FindingBody:
    is_gap = finding.kind == "gap"
    return FindingBody(
        id=finding.id,
        kind=finding.kind,
        topic=finding.topic,
        source=finding.source,
        entry=finding.entry,
        partition=finding.partition,
        offset=finding.offset,
        body_hash=finding.body_hash.hex() if finding.body_hash else None,
        missing=[(low, end - 1) for low, end in finding.missing[:100]] if is_gap else None,
        missing_count=sum(end - low for low, end in finding.missing) if is_gap else None,
        found_at=finding.found_at,
        resolved_at=finding.resolved_at,
        resolution=finding.resolution,
    )
