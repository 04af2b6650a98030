"""Errors over HTTP as RFC 9457 problem details. They tell what is wrong and never repeat what was sent."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import asyncpg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis.database import is_transient
from chassis.telemetry import span
from privacy_contracts.envelope import LARGEST_BODY

log = logging.getLogger(__name__)


@dataclass
class Problem(Exception):
    """An answer with an error. `code` becomes the type `/problems/<code>`; `extra` holds further members."""

    status: int
    code: str
    title: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] | None = None

    def response(self) -> JSONResponse:
        """The answer as `application/problem+json`."""
        body = {"type": f"/problems/{self.code}", "title": self.title, "status": self.status, **self.extra}
        return JSONResponse(body, self.status, self.headers, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Answer every error of this application with a problem."""
    app.add_middleware(Edge)

    @app.exception_handler(Problem)
    async def known(_: Request, problem: Problem) -> JSONResponse:
        return problem.response()

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        return _http(error).response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        faults = [{"at": _place(each), "fault": each["type"]} for each in error.errors()]
        if any(fault["fault"] == "json_invalid" for fault in faults):
            return Problem(400, "malformed", "The body is not JSON").response()
        title = "The request does not have the expected form"
        return Problem(422, "invalid", title, {"faults": faults}).response()


def _place(fault: dict[str, Any]) -> str:
    """Where the fault is; the name of an unknown member is input, and stays out."""
    named = 1 if fault["type"] == "extra_forbidden" else 2
    return ".".join(map(str, fault["loc"][:named]))


def _http(error: HTTPException) -> Problem:
    title = HTTPStatus(error.status_code).phrase
    return Problem(error.status_code, title.lower().replace(" ", "-"), title, headers=error.headers)


def unexpected(error: Exception) -> Problem:
    """503 where trying again may help, else 500. The class name alone goes to the log: messages may hold values."""
    if is_transient(error) or isinstance(error, asyncpg.InterfaceError):
        return Problem(503, "unavailable", "Try again shortly", headers={"Retry-After": "2"})
    log.error("unexpected %s", type(error).__name__)
    return Problem(500, "internal", "Something went wrong here")


class Edge:
    """Refuses bodies over 64 KiB, continues the caller's trace, and answers whatever nobody else caught.

    Nothing escapes to the server, whose own log would print the error's text.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; other protocols pass."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        headers = dict(scope["headers"])
        try:
            if int(headers.get(b"content-length", b"0")) > LARGEST_BODY:
                raise HTTPException(413)
            with span(f"HTTP {scope['method']}", headers.get(b"traceparent", b"").decode("latin-1") or None):
                await self._app(scope, _limited(receive), noted)
        except HTTPException as error:
            await _http(error).response()(scope, receive, send)
        except Exception as error:
            problem = unexpected(error)
            if not started:
                await problem.response()(scope, receive, send)


def _limited(receive: Receive) -> Callable[[], Awaitable[Message]]:
    seen = 0

    async def limited() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > LARGEST_BODY:
            raise HTTPException(413)
        return message

    return limited
