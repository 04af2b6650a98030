"""The policy page and its earlier versions.

Dates, version and fingerprint come from the version's record and are never typed into a text. The pages carry their
style, run no script and load nothing; a Content-Security-Policy holds them to that.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import partial

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from chassis.app import Runtime
from chassis.database import transaction
from consent.domain import policies as domain
from consent.pages.dates import day
from consent.pages.markdown import render
from consent.queries import policies
from consent.settings import Settings

_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True)
class Look:
    """The templates with the company's name and colour, and the headers that go with them."""

    templates: Environment
    headers: dict[str, str]

    def page(self, template: str, status: int, **values: object) -> HTMLResponse:
        """A page from a template."""
        return HTMLResponse(self.templates.get_template(template).render(values), status, self.headers)


def router(runtime: Runtime[Settings]) -> APIRouter:
    """Routes `/policy`, `/policy/{version}` and `/policy/{version}/text`."""
    routes = APIRouter(include_in_schema=False)
    look = _look(runtime)

    async def show(number: int | None) -> HTMLResponse:
        async with transaction(runtime.pool) as tx:
            versions = await policies.versions(tx)
        shown = domain.show(versions, number, runtime.clock.now())
        if shown is None:
            return look.page("missing.html", 404, title="Privacy policy", published=bool(versions))
        article = render(shown.version.text)
        return look.page(
            "policy.html",
            200,
            title=article.title or "Privacy policy",
            article=article,
            shown=shown.version,
            newest=shown.newest,
            in_force=shown.in_force,
            applies_until=shown.applies_until,
            versions=versions,
        )

    @routes.get("/policy")
    async def present() -> HTMLResponse:
        """The version that was published last."""
        return await show(None)

    @routes.get("/policy/{number}")
    async def earlier(number: str) -> HTMLResponse:
        """One version, earlier or present."""
        return await show(_number(number))

    @routes.get("/policy/{number}/text")
    async def exact(number: str) -> Response:
        """The bytes whose hash was published."""
        async with transaction(runtime.pool) as tx:
            shown = await policies.version(tx, _number(number))
        if shown is None:
            return look.page("missing.html", 404, title="Privacy policy", published=True)
        return Response(shown.text.encode(), headers=look.headers, media_type="text/markdown; charset=utf-8")

    return routes


def _number(typed: str) -> int:
    """The number in a page's address; 0, which no version has, where there is none."""
    return int(typed) if _NUMBER.fullmatch(typed) else 0


def _look(runtime: Runtime[Settings]) -> Look:
    company = runtime.company
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", company.brand_color):
        raise ValueError("company.toml: brand_color must be written #rrggbb")
    templates = Environment(
        loader=PackageLoader("consent.pages"), autoescape=True, trim_blocks=True, undefined=StrictUndefined
    )
    style = templates.get_template("style.css").render(brand_color=company.brand_color)
    templates.filters["day"] = partial(day, time_zone=company.time_zone)
    templates.globals |= {"company": company, "style": Markup(style)}  # noqa: S704 — our own file and a checked colour
    fingerprint = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    nothing_else = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    return Look(
        templates,
        {
            "Content-Security-Policy": f"{nothing_else}; style-src 'sha256-{fingerprint}'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-cache",
        },
    )
