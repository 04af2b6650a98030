"""One actor at a time: each statement, send and wait is a gate, at which the schedule decides who goes on, or dies.

Between two gates exactly one actor runs. One whose statement waits for another's lock is known from Postgres itself,
and stands still until that lock is free. So a run depends on the seed alone, however fast the machine is.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import nullcontext
from contextvars import ContextVar
from random import Random
from types import SimpleNamespace
from typing import Any

import asyncpg

_current: ContextVar["Actor | None"] = ContextVar("actor", default=None)
_UNGATED = ("SELECT 1", "SAVEPOINT", "RELEASE", "ROLLBACK TO")
_PATIENCE = 0.003
"""Seconds that a statement may take before Postgres is asked whether it waits for a lock."""


class Crashed(BaseException):
    """What a kill is to the code under test: nothing of it goes on, whatever it catches."""


class Actor:
    """One process. After a crash its body is run anew, as a supervisor would start it again."""

    def __init__(self, schedule: "Schedule", name: str, body: Callable[[], Awaitable[None]], weight: float) -> None:
        self.name, self.weight, self.idle, self.dead = name, weight, False, False
        self.connection: asyncpg.Connection[asyncpg.Record] | None = None
        self.pid = 0  # of the session that runs a statement of its
        self.what = ""
        self.gate: asyncio.Future[None] | None = None
        self._schedule, self._body = schedule, body
        self.task = asyncio.create_task(self._live())

    @property
    def away(self) -> bool:
        """Neither at a gate nor done."""
        return self.gate is None and not self.task.done()

    async def _live(self) -> None:
        _current.set(self)
        while True:
            self.dead = False
            try:
                await self.pause("starts")
                return await self._body()
            except Crashed:
                self.connection = None

    async def pause(self, what: str, idle: bool = False) -> None:
        """Stand at a gate until the schedule says go on. Raises `Crashed` when it says otherwise."""
        if self.dead:
            raise Crashed
        if not self._schedule.over:
            self.what, self.idle, self.gate = what, idle, asyncio.get_running_loop().create_future()
            self._schedule.stir()
            await self.gate

    def crash(self) -> Crashed:
        """From now on nothing that it does reaches anybody."""
        self.dead = True
        self._schedule.note(self, "crashes")
        return Crashed()


class Schedule:
    """The actors, the one source of chance, and the trace of what happened. `monitor` is a super user's connection."""

    def __init__(self, chance: Random, monitor: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.chance, self.trace, self.over = chance, list[str](), False
        self.actors: list[Actor] = []
        self._monitor, self._blocked = monitor, set[Actor]()
        self._moved: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self, name: str, body: Callable[[], Awaitable[None]]) -> None:
        """Add an actor; some are slow, and some so slow that others take them for dead."""
        actor = Actor(self, name, body, self.chance.choice((0.1, 1, 1, 1, 4)))
        actor.task.add_done_callback(lambda _: self.stir())
        self.actors.append(actor)

    def note(self, who: Actor | str, what: str) -> None:
        """Write a line into the trace."""
        self.trace.append(f"{who if isinstance(who, str) else who.name:12} {what}")

    def stir(self) -> None:
        """Somebody has come to a gate."""
        if not self._moved.done():
            self._moved.set_result(None)

    async def step(self, crashes: float = 0.0) -> None:
        """Let one actor go on to its next gate; with this probability it dies where it stands."""
        ready = [each for each in self.actors if each.gate]
        weights = [each.weight * (0.03 if each.idle else 1) for each in ready]
        (actor,) = self.chance.choices(ready, weights)
        assert actor.gate
        gate, actor.gate = actor.gate, None
        self.note(actor, actor.what)
        if self.chance.random() < crashes:
            gate.set_exception(actor.crash())
        else:
            gate.set_result(None)
        await self.settle()

    async def settle(self) -> None:
        """Wait until each actor stands at a gate, is done, or waits for a lock. Raises what an actor failed at."""
        while away := [each for each in self.actors if each.away]:
            self._moved = asyncio.get_running_loop().create_future()
            if not self._blocked.issuperset(away) and (await asyncio.wait([self._moved], timeout=_PATIENCE))[0]:
                continue
            self._blocked = await self._waiting_for_locks(away)
            if self._blocked.issuperset(away) and any(each.gate for each in self.actors):
                break
        for each in self.actors:
            if each.task.done():
                each.task.result()

    async def _waiting_for_locks(self, actors: list[Actor]) -> set[Actor]:
        waits = (  # for one of us: whoever waits for autovacuum is only slow
            "SELECT mine.pid FROM unnest($1::int[]) AS mine (pid) WHERE EXISTS (SELECT FROM pg_stat_activity AS other"
            " WHERE other.pid = ANY(pg_blocking_pids(mine.pid)) AND backend_type = 'client backend')"
        )
        pids = {row["pid"] for row in await self._monitor.fetch(waits, [each.pid for each in actors])}
        return {each for each in actors if each.pid in pids}

    async def cut_off(self) -> None:
        """End the database session of somebody who is in the middle of a transaction."""
        held = [each for each in self.actors if each.gate and each.connection and each.connection.is_in_transaction()]
        if not held:
            return
        actor = self.chance.choice(held)
        assert actor.connection
        self.note(actor, "is cut off from the database")
        await self._monitor.execute("SELECT pg_terminate_backend($1, 5000)", actor.connection.get_server_pid())
        while not actor.connection.is_closed():  # noqa: ASYNC110 - the end is on its way, and nothing else tells of it
            await asyncio.sleep(0)
        await self.settle()

    async def end(self) -> None:
        """Stop all actors; what they do on the way out is no longer scheduled."""
        self.over = True
        for each in self.actors:
            each.task.cancel()
        await asyncio.wait([each.task for each in self.actors])


async def pause(what: str, idle: bool = False) -> None:
    """A gate for whoever comes here."""
    if actor := _current.get():
        await actor.pause(what, idle)


def alive() -> bool:
    """Whether what the current actor does still reaches anybody."""
    actor = _current.get()
    return actor is None or not actor.dead


def die() -> None:
    """Crash the current actor. Raises `Crashed`."""
    if actor := _current.get():
        raise actor.crash()


def _gated(name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
    plain = getattr(asyncpg.Connection, name)

    async def call(self: "Gated", query: str, *args: Any, **options: Any) -> Any:
        actor = _current.get()
        if actor is None or query.startswith(_UNGATED) or (actor.dead and query.startswith("ROLLBACK")):
            return await plain(self, query, *args, **options)
        if actor.dead:
            raise Crashed
        inside, actor.connection, actor.pid = self.is_in_transaction(), self, self.get_server_pid()
        try:
            return await plain(self, query, *args, **options)
        finally:
            actor.pid = 0
            if inside:
                await actor.pause(" ".join(query.split())[:70])

    return call


class Gated(asyncpg.Connection):
    """A connection on which each statement of a transaction ends at a gate, its commit too."""

    execute = _gated("execute")
    executemany = _gated("executemany")
    fetch = _gated("fetch")
    fetchrow = _gated("fetchrow")
    fetchval = _gated("fetchval")

    def get_reset_query(self) -> str:
        """Nothing: a transaction leaves nothing behind."""
        return ""


class Wakeup(asyncio.Event):
    """Waiting for it is a gate; going on without its being set is a timeout that has passed."""

    async def wait(self) -> bool:  # type: ignore[override]  # the plain one never says false either
        """Raises `TimeoutError` when it is not set."""
        await pause("waits", idle=True)
        if not self.is_set():
            raise TimeoutError
        return True


async def _sleep(_: float) -> None:
    await pause("sleeps", idle=True)


TIMELESS: Any = SimpleNamespace(
    **(vars(asyncio) | {"Event": Wakeup, "sleep": _sleep, "timeout": lambda _: nullcontext()})
)
"""asyncio as chassis' modules see it: to wait is to stand at a gate."""
