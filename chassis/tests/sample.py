"""A service small enough to see through, for the tests: in their process, or as one (`python sample.py serve`)."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from chassis import auth, timers
from chassis.app import App, Once, Runtime, main
from chassis.consumer import Handlers, Received
from chassis.database import Connection, transaction
from chassis.jobs import Effect, Job, JobKind
from chassis.outbox import emit
from chassis.settings import Settings
from chassis.telemetry import traceparent
from privacy_contracts import Event
from privacy_contracts.topology import Topic

SERVICE = "dsr"
"""Whose database role and principal the sample borrows."""
MIGRATIONS = Path(__file__).with_name("sample_migrations")


def topic(name: str, writer: str, **changes: Any) -> Topic:
    """A topic of the sample's."""
    given: dict[str, Any] = {"partitions": 3, "retention_days": 1, "ordered": True, "sequenced": True}
    return Topic(name=name, key="name", writer=writer, readers=(), **(given | {"personal": False} | changes))


LETTERS, NOTES = topic("letters", "tester"), topic("notes", SERVICE)


class Letter(Event):
    """What the sample is told."""

    type: ClassVar[str] = "sample.letter"
    stream: ClassVar[str] = "letters"
    name: str
    number: int

    @property
    def key(self) -> str:
        """The name."""
        return self.name

    @property
    def subject(self) -> str:
        """The name, as a subject."""
        return f"sample/{self.name}"


class Note(Letter):
    """What the sample tells."""

    type: ClassVar[str] = "sample.note"
    stream: ClassVar[str] = "notes"


class Thing(BaseModel):
    """A body."""

    model_config = ConfigDict(extra="forbid")
    name: str
    number: int


async def note(tx: Connection, name: str, number: int) -> None:
    """An effect, in order."""
    await tx.execute("INSERT INTO dsr.effects (name, number, trace) VALUES ($1, $2, $3)", name, number, traceparent())


class Sample:
    """The service's parts. `hook` runs before each reaction, and may fail."""

    def __init__(self) -> None:
        self.hook: Callable[[Received[Letter], Connection], Awaitable[None]] | None = None
        self.handlers = Handlers([LETTERS], projected_tables=("dsr.latest",))
        self.handlers.projection(Letter)(self.project)
        self.handlers.reaction(Letter)(self.react)

    async def project(self, received: Received[Letter], tx: Connection) -> None:
        event = received.event
        await tx.execute(
            "INSERT INTO dsr.latest (name, number) VALUES ($1, $2)"
            " ON CONFLICT (name) DO UPDATE SET number = excluded.number",
            event.name,
            event.number,
        )

    async def react(self, received: Received[Letter], tx: Connection) -> None:
        if self.hook:
            await self.hook(received, tx)
        await note(tx, received.event.name, received.event.number)
        await emit(tx, Note(name=received.event.name, number=received.event.number), received.time)

    def app(self, runtime: Runtime[Any] | None = None) -> App:
        """All of it; without a runtime, no HTTP."""
        return App(
            routers=[routes(runtime)] if runtime else [],
            handlers=self.handlers,
            timers={"ring": ring} | ({"forget": forgetting(runtime)} if runtime else {}),
            jobs={"call": JobKind(call, expired, concurrency=2)},
        )


async def ring(timer: timers.Timer, tx: Connection) -> None:
    """A timer's effect."""
    await note(tx, timer.key, timer.payload["number"])


def forgetting(runtime: Runtime[Any]) -> timers.TimerHandler:
    """A timer whose effect is that an owner's key goes."""

    async def forget(timer: timers.Timer, tx: Connection) -> None:
        owner = f"sample/{timer.key}"
        await runtime.sealing.seal(tx, owner, "a secret", "sample")
        await note(tx, timer.key, timer.payload["number"])
        await runtime.sealing.erase(tx, owner)

    return forget


async def call(job: Job) -> Effect:
    """Reach outside: a line in a file stands for a mail."""
    with Path(job.payload["file"]).open("a") as file:  # noqa: ASYNC230 - one short line
        file.write(f"{job.key}\n")
    await asyncio.sleep(job.payload.get("seconds", 0))
    return lambda tx: note(tx, job.key, job.attempts)


async def expired(job: Job, tx: Connection) -> None:
    """A job's end without an effect."""
    await note(tx, job.key, -1)


def routes(runtime: Runtime[Any]) -> APIRouter:
    """The sample's HTTP."""
    router = APIRouter()
    website = runtime.auth.require("website")

    @router.post("/things")
    async def put(thing: Thing, once: Once, caller: Annotated[auth.Principal, Depends(website)]) -> JSONResponse:
        async def work() -> Thing:
            await note(tx, thing.name, thing.number)
            await emit(tx, Note(name=thing.name, number=thing.number), runtime.clock.now())
            return thing

        async with transaction(runtime.pool) as tx:
            return await once.answer(tx, caller, 201, work)

    @router.post("/raw")
    async def raw(thing: Thing) -> Thing:
        return thing

    @router.get("/boom")
    async def boom() -> None:
        raise ValueError("ann@example.com")

    @router.get("/database")
    async def database() -> None:
        async with transaction(runtime.pool) as tx:
            await tx.execute("SELECT 1")

    return router


def _broken(*_: Any) -> None:
    raise ZeroDivisionError("a fault in a part that never ends otherwise")


if __name__ == "__main__":
    if os.environ.get("BROKEN_PART"):
        timers.run = _broken  # type: ignore[assignment]  # it never gets as far as returning
    main(SERVICE, Settings, lambda runtime: Sample().app(runtime), MIGRATIONS)
