"""Policy versions: published by an officer, read by anybody, announced on the home page."""

from datetime import date, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from chassis.app import Once, Runtime
from chassis.auth import Principal
from chassis.database import Connection, transaction
from chassis.outbox import emit
from chassis.problems import Problem
from consent.api.actors import actor
from consent.api.fields import Body, Moment, Reveal, RevisionReason, ShortWords, VersionNumber, Words, opaque
from consent.domain import Refusal
from consent.domain.policies import Publish, Version, announce, publish
from consent.pages.notice import headline
from consent.queries import policies
from consent.settings import Settings

_REFUSALS = {
    "same-text": (409, "This is the text of the present version"),
    "effective-before-publication": (422, "A version cannot take effect before it is published"),
    "effective-out-of-order": (422, "A version cannot take effect before the one it replaces"),
    "revised-in-future": (422, "The date of revision lies in the future"),
    "revised-out-of-order": (422, "The date of revision lies before that of the present version"),
    "material-by-reason": (422, "A revision for one of these reasons is material: people are told by mail"),
}


class Revision(Body):
    """A text to publish. `summary` says in plain words what changed; it goes into the mail about the revision."""

    text: Words
    summary: ShortWords
    material: bool
    reasons: Annotated[list[RevisionReason], Field(min_length=1, max_length=10)]
    effective_at: Moment | None = None
    revised_on: date | None = None


class PolicyVersion(BaseModel):
    """A published version, without its text."""

    version: int
    supersedes: int | None
    revised_on: date
    published_at: datetime
    effective_at: datetime
    material: bool
    reasons: list[str]
    summary: str
    text_hash: str
    url: str


class PolicyText(PolicyVersion):
    """A published version with its Markdown; `text_hash` is the SHA-256 of its UTF-8 bytes."""

    text: str


class PolicyVersions(BaseModel):
    """Versions from the newest; `next` is the cursor of the next page, if there is one."""

    items: list[PolicyVersion]
    next: str | None


class HomePageNotice(BaseModel):
    """What the home page shows until a time."""

    version: int
    revised_on: date
    headline: str
    url: str
    until: datetime


def router(runtime: Runtime[Settings]) -> APIRouter:
    """Routes under `/v1/policies` and `/v1/notice`."""
    routes = APIRouter(tags=["policies"])
    officer = Annotated[Principal, Depends(runtime.auth.require("officer"))]
    url = f"{runtime.settings.public_url.rstrip('/')}/policy"

    @routes.post("/v1/policies", status_code=201, response_model=PolicyVersion)
    async def publish_policy(body: Revision, principal: officer, once: Once) -> JSONResponse:
        """Publish the next version. It can never be changed; a mistake is put right by a further one."""
        async with transaction(runtime.pool) as tx:
            return await once.answer(tx, principal, 201, lambda: _publish(tx, runtime, body, principal, url))

    @routes.get("/v1/policies")
    async def list_policies(
        cursor: Annotated[int | None, Reveal, Query(ge=1, le=2**31 - 1)] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> PolicyVersions:
        """All versions, the newest first."""
        async with transaction(runtime.pool) as tx:
            found = await policies.versions(tx, cursor, limit + 1)
        items = [PolicyVersion(**_shown(each, url)) for each in found[:limit]]
        return PolicyVersions(items=items, next=opaque(str(items[-1].version)) if len(found) > limit else None)

    @routes.get("/v1/policies/{version}")
    async def show_policy(version: VersionNumber) -> PolicyText:
        """One version with its text."""
        async with transaction(runtime.pool) as tx:
            found = await policies.version(tx, version)
        if found is None:
            raise Problem(404, "not-found", "No such version")
        return PolicyText(**_shown(found, url), text=found.text)

    @routes.get("/v1/notice", responses={200: {"model": HomePageNotice}, 204: {"description": "Nothing to announce"}})
    async def home_page_notice() -> Any:
        """The notice of the last revision, as long as it is to stand on the home page; else 204."""
        async with transaction(runtime.pool) as tx:
            newest = next(iter(await policies.versions(tx, limit=1)), None)
        announced = announce(newest, runtime.clock.now())
        if announced is None:
            return Response(status_code=204)
        return HomePageNotice(
            version=announced.version.version,
            revised_on=announced.version.revised_on,
            headline=headline(announced, runtime.company.time_zone),
            url=url,
            until=announced.version.announced_until,
        )

    return routes


async def _publish(
    tx: Connection, runtime: Runtime[Settings], body: Revision, principal: Principal, url: str
) -> PolicyVersion:
    now = runtime.clock.now()
    present = await policies.lock(tx)
    command = Publish(
        text=body.text,
        material=body.material,
        reasons=tuple(dict.fromkeys(body.reasons)),
        decided_by=actor("staff", principal),
        announced_for=timedelta(days=runtime.settings.notice_days),
        revised_on=body.revised_on,
        effective_at=body.effective_at,
    )
    revised = publish(present, command, now, now.astimezone(ZoneInfo(runtime.company.time_zone)).date())
    if isinstance(revised, Refusal):
        status, title = _REFUSALS[revised.code]
        raise Problem(status, revised.code, title)
    await policies.put(tx, revised, body.text, body.summary)
    await emit(tx, revised, now)
    return PolicyVersion(**revised.model_dump(), summary=body.summary, url=f"{url}/{revised.version}")


def _shown(version: Version, url: str) -> dict[str, Any]:
    return {name: getattr(version, name) for name in PolicyVersion.model_fields if name != "url"} | {
        "url": f"{url}/{version.version}"
    }
