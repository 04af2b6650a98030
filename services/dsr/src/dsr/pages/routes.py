"""The routes of the pages. A GET changes nothing about a request; a POST answers with the page to look at next."""

from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated, Any, Literal
from uuid import uuid4

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from chassis.clock import Clock
from chassis.database import Connection, Pool, transaction
from chassis.settings import Company
from dsr import case
from dsr.domain import addresses
from dsr.domain import requests as decide
from dsr.domain.requests import Refused
from dsr.domain.tasks import Task
from dsr.links import opened
from dsr.pages import brand, view
from dsr.queries.personal import Access, answers, disclosed_on_page
from dsr.settings import Desk

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}

_PAGE_OF_STATUS = {"received": "verify.html", "verified": "confirm.html"}
Action = Literal["verify", "confirm", "withdraw"]


@dataclass(frozen=True)
class Pages:
    """What the pages are made with."""

    desk: Desk
    company: Company
    templates: Environment

    def page(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A page, with the headers that all have."""
        html = self.templates.get_template(template).render(company=self.company, **values)
        return HTMLResponse(html, status, HEADERS)


def templates() -> Environment:
    """The templates; a value is always text, and one that is missing an error."""
    return Environment(
        loader=PackageLoader("dsr.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def router(pool: Pool, clock: Clock, desk: Desk, company: Company) -> APIRouter:
    """The form, the link's pages and the style sheet."""
    routes = APIRouter(include_in_schema=False)
    pages = Pages(desk, company, templates())
    _form(routes, pages, pool, clock)
    _link(routes, pages, pool, clock)
    return routes


def _form(routes: APIRouter, pages: Pages, pool: Pool, clock: Clock) -> None:
    css = brand.variables(pages.company.brand_color) + files("dsr.pages").joinpath("style.css").read_text("utf-8")

    think = view.time_to_think(pages.desk.cooling_off)

    @routes.get("/style.css")
    async def style() -> Response:
        return Response(css, media_type="text/css", headers=HEADERS | {"Cache-Control": "public, max-age=3600"})

    @routes.get("/delete")
    async def form() -> HTMLResponse:
        return pages.page("form.html", wrong=False, think=think, once=uuid4())

    @routes.post("/delete")
    async def send(email: Annotated[str, Form()] = "", once: Annotated[str, Form()] = "") -> Response:
        address = addresses.parse(email)
        if address is None:
            return pages.page("form.html", 422, wrong=True, think=think, once=uuid4())
        async with transaction(pool) as tx:
            await case.receive_form(tx, pages.desk, address, once, clock.now())
        return _see("/delete/received")

    @routes.get("/delete/received")
    async def received() -> HTMLResponse:
        return pages.page("received.html")


def _link(routes: APIRouter, pages: Pages, pool: Pool, clock: Clock) -> None:
    @routes.get("/r/{request_id}/{secret}")
    async def look(request_id: str, secret: str, http: Request) -> HTMLResponse:
        async with transaction(pool) as tx:
            request = await opened(tx, pages.desk, request_id, secret, _host(http), clock.now())
            if request is None:
                return _lost(pages)
            return await _show(pages, tx, request, http, clock)

    @routes.post("/r/{request_id}/{secret}/{action}")
    async def act(request_id: str, secret: str, action: Action, http: Request) -> Response:
        async with transaction(pool) as tx:
            now = clock.now()
            request = await opened(tx, pages.desk, request_id, secret, _host(http), now, lock=True)
            if request is None:
                return _lost(pages)
            refused = await _do(tx, pages.desk, request, action, clock)
            if refused and refused.code == "too_late":
                return await _show(pages, tx, request, http, clock, too_late=True)
        return _see(f"/r/{request.id}/{secret}")


async def _do(tx: Connection, desk: Desk, request: decide.Request, action: Action, clock: Clock) -> Refused | None:
    """What a button does. Pressing one twice is refused inside and looks the same outside: the state is shown."""
    match action:
        case "verify":
            return await case.verify(tx, request, clock.now())
        case "confirm":
            return await case.confirm(tx, desk, request, clock.now())
        case "withdraw":
            return await case.withdraw(tx, desk, request, clock.now())


async def _show(
    pages: Pages, tx: Connection, request: decide.Request, http: Request, clock: Clock, *, too_late: bool = False
) -> HTMLResponse:
    """The page of a request in its state. What is shown about a person is recorded with the answer that shows it."""
    answered: tuple[Task, ...] = ()
    if decide.is_revealed(request):
        now = clock.now()
        answered = await answers(tx, request, Access("person", "request", request.id), now)
        await disclosed_on_page(tx, request, now)
    shown = view.status(request, answered, pages.desk.zone)
    template = _PAGE_OF_STATUS.get(request.status, "status.html")
    return pages.page(
        template,
        409 if too_late else 200,
        request=shown,
        link=f"/r/{request.id}/{http.path_params['secret']}",
        too_late=too_late,
        think=view.time_to_think(pages.desk.cooling_off),
    )


def _lost(pages: Pages) -> HTMLResponse:
    return pages.page("lost.html", 404)


def _see(path: str) -> RedirectResponse:
    return RedirectResponse(path, 303, HEADERS)


def _host(http: Request) -> str | None:
    return http.client.host if http.client else None
