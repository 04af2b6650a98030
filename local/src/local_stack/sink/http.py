"""The HTTP side: what was received, for people and for tests, and the faults to come."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException
from fastapi.responses import HTMLResponse, Response

from local_stack.sink import pages
from local_stack.sink.smtp import Fault, Receiver, listen
from local_stack.sink.store import Message, Store

FRAME_RULES = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "sandbox allow-popups allow-popups-to-escape-sandbox"
}


def build(store: Store, smtp_port: int) -> FastAPI:
    """Build the web application; while it runs, SMTP is listened for too."""
    receiver = Receiver(store)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        server = await listen(receiver, smtp_port)
        try:
            yield
        finally:
            server.close()

    app = FastAPI(title="Mail sink", lifespan=lifespan)
    app.include_router(_api(store))
    app.include_router(_pages(store))
    app.include_router(_faults(receiver))

    @app.get("/readyz")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}

    return app


def _known(store: Store, number: int) -> Message:
    found = store.get(number)
    if found is None:
        raise HTTPException(404)
    return found


def _api(store: Store) -> APIRouter:
    router = APIRouter()

    @router.get("/messages")
    async def messages(to: str | None = None, after: int = 0) -> dict[str, Any]:
        return {"messages": [message.view() for message in store.find(to, after)]}

    @router.get("/messages/{number}")
    async def one(number: int) -> dict[str, Any]:
        return _known(store, number).view()

    @router.get("/messages/{number}/raw")
    async def raw(number: int) -> Response:
        return Response(_known(store, number).content, media_type="text/plain")

    return router


def _pages(store: Store) -> APIRouter:
    router = APIRouter()

    @router.get("/")
    async def inbox(to: str | None = None) -> HTMLResponse:
        return HTMLResponse(pages.inbox(store.find(to), to))

    @router.get("/messages/{number}/page")
    async def page(number: int) -> HTMLResponse:
        return HTMLResponse(pages.message(_known(store, number)))

    @router.get("/messages/{number}/html")
    async def html(number: int) -> HTMLResponse:
        # Links open in a new tab: inside the frame, forms and scripts are off.
        return HTMLResponse('<base target="_blank">' + _known(store, number).part("html"), headers=FRAME_RULES)

    return router


def _faults(receiver: Receiver) -> APIRouter:
    router = APIRouter()

    @router.post("/faults", status_code=201)
    async def add(fault: Fault) -> Fault:
        receiver.faults.append(fault)
        return fault

    @router.get("/faults")
    async def show() -> list[Fault]:
        return receiver.faults

    @router.delete("/faults", status_code=204)
    async def clear() -> None:
        receiver.faults.clear()

    return router
