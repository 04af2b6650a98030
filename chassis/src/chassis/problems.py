"""Errors over HTTP as RFC 9457 problem details. They tell what is wrong and never repeat what was sent."""

import logging
from collections.abc import Awaitable, Callable
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

log = logging.getLogger(__name__)
LARGEST_BODY = 64 * 1024


class Problem(Exception):
    """An answer with an error. `code` becomes the type `/problems/<code>`; `extra` holds further members."""

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str | None = None,
        extra: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(code)
        self.status, self.code, self.title, self.detail = status, code, title, detail
        self.extra, self.headers = extra or {}, headers

    def response(self) -> JSONResponse:
        """The answer as `application/problem+json`."""
        body = {"type": f"/problems/{self.code}", "title": self.title, "status": self.status} | self.extra
        if self.detail:
            body["detail"] = self.detail
        return JSONResponse(body, self.status, self.headers, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Answer every error of this application with a problem."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_middleware(Edge)


async def _problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)  # noqa: S101 - the handler is registered for this class
    return error.response()


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - the handler is registered for this class
    faults = [{"at": _place(each), "fault": each["type"]} for each in error.errors()]
    malformed = any(fault["fault"] == "json_invalid" for fault in faults)
    if malformed:
        return Problem(400, "malformed", "The body is not JSON").response()
    return Problem(422, "invalid", "The request does not have the expected form", extra={"faults": faults}).response()


def _place(fault: dict[str, Any]) -> str:
    """Where the fault is; the name of an unknown member is input, and stays out."""
    named = 1 if fault["type"] == "extra_forbidden" else 2
    return ".".join(map(str, fault["loc"][:named]))


async def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - the handler is registered for this class
    title = HTTPStatus(error.status_code).phrase
    headers = dict(error.headers) if error.headers else None
    return Problem(error.status_code, title.lower().replace(" ", "-"), title, headers=headers).response()


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
                raise _too_large()
            with span(f"HTTP {scope['method']}", headers.get(b"traceparent", b"").decode("latin-1") or None):
                await self._app(scope, _limited(receive), noted)
        except HTTPException as error:
            await (await _http(Request(scope), error))(scope, receive, send)
        except Exception as error:
            problem = unexpected(error)
            if not started:
                await problem.response()(scope, receive, send)


def _too_large() -> HTTPException:
    return HTTPException(413)


def _limited(receive: Receive) -> Callable[[], Awaitable[Message]]:
    seen = 0

    async def limited() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > LARGEST_BODY:
            raise _too_large()
        return message

    return limited
