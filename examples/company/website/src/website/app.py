"""The shop's pages. They need no JavaScript and no cookie: nothing about a visitor is kept here.

An answer never tells whether an address is known, nor does its time. As there is no session, a forged cross-site form
can do no more than its sender could do alone, so the forms carry no token against it; they carry a number that makes a
repeat harmless.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qsl
from uuid import UUID, uuid4

import httpx
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.exceptions import HTTPException

from website.settings import Settings
from website.upstream import Away, Refused, Upstream

HERE = Path(__file__).parent
LARGEST_FORM = 16 * 1024
STEP = 0.5
"""Seconds. Answers about an address leave at whole steps: a known one takes more calls than an unknown one."""
EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)+")
REGION = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "browsing-topics=(), geolocation=(), camera=(), microphone=()",
    "cross-origin-opener-policy": "same-origin",
}
THIRD_PARTY = (
    "Yes, {company} may give my name and e-mail address to its advertising partners, "
    "so that they can write to me about their own products."
)
NO_OFFERS = "Please do not send me offers of {company} by e-mail."
STOP = {
    "third_party_marketing": "Stop giving my details to advertising partners",
    "own_marketing": "Stop sending me offers of {company}",
}
"""The purposes that may be withdrawn here, each with the words on the page."""


class Invalid(Exception):
    """A field must be put right: its name, and what to do. Never its content."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field, self.message = field, message


async def form(request: Request) -> dict[str, str]:
    """The fields of a posted form, trimmed; at most 16 KiB, refused with 413 beyond."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_FORM:
            raise HTTPException(413)
    try:
        return {name: value.strip() for name, value in parse_qsl(body.decode(), max_num_fields=20)}
    except ValueError:
        raise HTTPException(400) from None


def email_of(fields: dict[str, str]) -> str:
    """The e-mail address, as typed."""
    email = fields.get("email", "")
    if len(email) > 254 or not EMAIL.fullmatch(email):
        raise Invalid("email", "Type your e-mail address, such as name@example.com.")
    return email


def once_of(fields: dict[str, str]) -> str:
    """The form's own number, or a new one where somebody left it out or spoilt it."""
    try:
        return str(UUID(fields.get("once", "")))
    except ValueError:
        return str(uuid4())


@asynccontextmanager
async def in_steps() -> AsyncIterator[None]:
    """Ends at a whole `STEP` after it began, however it ends."""
    begun = time.monotonic()
    try:
        yield
    finally:
        await asyncio.sleep((begun - time.monotonic()) % STEP)


class Pages:
    """The templates, with what every page shows."""

    def __init__(self, settings: Settings) -> None:
        self.templates = Environment(
            loader=FileSystemLoader(HERE / "pages"), autoescape=select_autoescape(), undefined=StrictUndefined
        )
        self.templates.globals |= {"company": settings.company, "policy_url": settings.policy_url}

    def __call__(self, name: str, status: int = 200, /, **shown: object) -> Response:
        """The page as an answer; a fresh number for the form that may stand on it."""
        page = self.templates.get_template(f"{name}.html")
        return HTMLResponse(page.render(once=uuid4(), error=None, **shown), status)

    def wrong(self, name: str, fault: Invalid, /, **shown: object) -> Response:
        """The form again, saying which field to put right."""
        page = self.templates.get_template(f"{name}.html")
        return HTMLResponse(page.render(once=uuid4(), error=fault, **shown), 422)


def build(settings: Settings) -> FastAPI:
    """The whole website."""
    http = httpx.AsyncClient(timeout=5.0)
    upstream = Upstream(settings, http)
    pages = Pages(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with http:
            yield

    app = FastAPI(title="website", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    _about_errors(app, pages)
    _home(app, settings, pages, upstream)
    _register(app, settings, pages, upstream)
    _privacy(app, pages, upstream)
    _choices(app, settings, pages, upstream)
    return app


def _about_errors(app: FastAPI, pages: Pages) -> None:
    """Headers on every answer, and a page for what went wrong; neither repeats what was typed."""

    @app.middleware("http")
    async def headers(request: Request, following: Callable[[Request], Awaitable[Response]]) -> Response:
        answer = await following(request)
        answer.headers.update(HEADERS)
        if request.method == "POST":
            answer.headers["cache-control"] = "no-store"
        return answer

    @app.exception_handler(Away)
    async def away(_request: Request, _fault: Away) -> Response:
        answer = pages("error", 503, heading="We cannot do that just now", text="Please try again in a minute.")
        answer.headers["retry-after"] = "30"
        return answer

    @app.exception_handler(HTTPException)
    async def http(_request: Request, fault: HTTPException) -> Response:
        known = {404: "There is no such page", 405: "That cannot be done here", 413: "That is too much"}
        heading = known.get(fault.status_code, "We could not read that")
        return pages("error", fault.status_code, heading=heading, text="Go back, or start at the home page.")


def _home(app: FastAPI, settings: Settings, pages: Pages, upstream: Upstream) -> None:
    css = (HERE / "static" / "site.css").read_text("utf-8")
    css = f":root {{ --brand: {settings.company.brand_color}; }}\n{css}"

    @app.get("/")
    async def home() -> Response:
        return pages("home", notice=await upstream.notice())

    @app.get("/site.css")
    async def style() -> Response:
        return PlainTextResponse(css, media_type="text/css", headers={"cache-control": "max-age=60"})

    @app.get("/livez")
    @app.get("/readyz")
    async def ready() -> Response:
        return PlainTextResponse("ready")


def _register(app: FastAPI, settings: Settings, pages: Pages, upstream: Upstream) -> None:
    words = {
        "third_party": THIRD_PARTY.format(company=settings.company.name),
        "no_offers": NO_OFFERS.format(company=settings.company.name),
    }

    @app.get("/register")
    async def ask() -> Response:
        return pages("register", **words)

    @app.post("/register")
    async def register(request: Request) -> Response:
        fields = await form(request)
        once = once_of(fields)
        try:
            email, name, region = email_of(fields), fields.get("name", ""), fields.get("region", "")
            if not 0 < len(name) <= 200:
                raise Invalid("name", "Type your name, in at most 200 letters.")
            if not REGION.fullmatch(region):
                raise Invalid("region", "Choose where you live.")
            async with in_steps():
                account = await upstream.register(email, name, region, "no_offers" not in fields, once)
                if account is None:
                    recorded = await upstream.takes_choices()
                else:
                    recorded = await _choices_of_form(upstream, account, fields, words, once)
        except Invalid as fault:
            return pages.wrong("register", fault, **words)
        except Refused:
            return pages.wrong("register", Invalid("email", "Check what you typed, and send it again."), **words)
        return pages("registered", recorded=recorded)


async def _choices_of_form(
    upstream: Upstream, account: str, fields: dict[str, str], words: dict[str, str], once: str
) -> bool:
    """Record what was ticked and what was not: a refusal is kept like a grant. False when consent is away."""
    choice = "granted" if "third_party" in fields else "refused"
    try:
        await upstream.choose(account, "third_party_marketing", choice, words["third_party"], once)
        if "no_offers" in fields:
            await upstream.choose(account, "own_marketing", "refused", words["no_offers"], once)
    except (Away, Refused):
        return False  # without a recorded grant nothing is given to anybody
    return True


def _privacy(app: FastAPI, pages: Pages, upstream: Upstream) -> None:
    @app.get("/privacy")
    async def ask() -> Response:
        return pages("privacy")

    @app.post("/privacy")
    async def request_deletion(request: Request) -> Response:
        fields = await form(request)
        try:
            await upstream.ask_deletion(email_of(fields), once_of(fields))
        except Invalid as fault:
            return pages.wrong("privacy", fault)
        except Refused:
            return pages.wrong("privacy", Invalid("email", "Check the address, and send it again."))
        return pages("requested", 202)


def _choices(app: FastAPI, settings: Settings, pages: Pages, upstream: Upstream) -> None:
    words = {purpose: text.format(company=settings.company.name) for purpose, text in STOP.items()}

    @app.get("/choices")
    async def ask() -> Response:
        return pages("choices", stop=words)

    @app.post("/choices")
    async def withdraw(request: Request) -> Response:
        fields = await form(request)
        once = once_of(fields)
        try:
            email, stopped = email_of(fields), [purpose for purpose in words if purpose in fields]
            if not stopped:
                raise Invalid("stop", "Tick at least one of the boxes.")
            async with in_steps():
                await _stop(upstream, email, stopped, words, once)
        except Invalid as fault:
            return pages.wrong("choices", fault, stop=words)
        except Refused:
            return pages.wrong("choices", Invalid("email", "Check the address, and send it again."), stop=words)
        return pages("chosen")


async def _stop(upstream: Upstream, email: str, stopped: list[str], words: dict[str, str], once: str) -> None:
    """Record what was withdrawn. Raises `Away` for every address alike."""
    account = await upstream.account_of(email, once)
    if account is None:
        if not await upstream.takes_choices():
            raise Away("consent")
        return
    if "own_marketing" in stopped:
        await upstream.stop_offers(account, once)
    for purpose in stopped:
        await upstream.choose(account, purpose, "withdrawn", words[purpose], once)
