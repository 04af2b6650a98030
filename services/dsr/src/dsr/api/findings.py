"""What somebody must look at."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from chassis.auth import Auth, Principal
from chassis.database import Pool, transaction
from dsr.api.bodies import Cursor, Limit, following
from dsr.queries import links


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


def router(pool: Pool, auth: Auth) -> APIRouter:
    """The route."""
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
        return FindingList(findings=shown, next=following(found, limit))

    return routes
