"""What a fault does, what must be seen while it lasts, and how it ends."""

import asyncio
import signal
from collections.abc import Callable, Iterable
from typing import Any

import httpx

from ..people import eventually
from .matrix import SERVERS
from .moments import superuser
from .place import ON_CHASSIS, RUNNING, Place
from .story import Story

NAMED = {"kafka": "consumer", "postgres": "database"}
"""What `/readyz` names where a server is away."""
SERVED = {"kafka": 202, "postgres": 503}
"""What a request for deletion is answered meanwhile."""
PATIENCE = 90.0
"""Seconds for what takes two or three on a quiet machine."""
FROZEN_SECONDS = 12.0
"""Longer than a session (2 s here) and the relay's lease (10 s)."""


class Strike:
    """One cell's fault: `begin` while the moment is held, `last` and `end` once it is let go."""

    def __init__(self, place: Place, story: Story) -> None:
        self._place, self._stack, self._story = place, place.stack, story
        self._victim, self._fault = story.cell.victim, story.cell.fault
        self._is_server = self._victim in SERVERS
        self._ending: asyncio.Task[None] | None = None
        self._pids = [self._stack.pid(name) for name in RUNNING]

    async def begin(self) -> None:
        """Let it happen. What ends in order does so beside all else: it may wait for what is held."""
        match self._fault:
            case "kill":
                await _aside(self._place.kill if self._is_server else self._stack.kill, self._victim)
            case "freeze":
                self._place.signal(self._victim, signal.SIGSTOP)
            case "restart" | "absent":
                stop: Callable[[str], None] = self._place.halt if self._is_server else self._stack.stop
                self._ending = asyncio.create_task(_aside(stop, self._victim))
            case "full":
                await _aside(self._place.fill_disk, self._victim)
            case "reset":
                self._reset()

    async def last(self) -> None:
        """Let it last, and see what others do meanwhile."""
        if self._ending:
            await self._ending
        if self._is_server:
            await self._without_the_server()
        else:
            await self._without_the_service()

    async def end(self) -> None:
        """Mend it, and wait until everybody is ready."""
        match self._fault:
            case "freeze" if self._is_server:
                self._place.signal(self._victim, signal.SIGCONT)
            case "full" if not self._is_server:
                await _aside(self._place.free_disk, self._victim)
            case "kill" | "restart" | "absent" | "full" if self._is_server:
                await _aside(self._place.start_servers)
            case "kill" | "restart" | "absent":
                await _aside(self._stack.start, self._victim)
        await asyncio.to_thread(self._stack.wait, *RUNNING, seconds=120)
        if self._is_server and self._fault != "absent":
            assert self._pids == [self._stack.pid(name) for name in RUNNING], "somebody ended while a server was away"

    async def _without_the_server(self) -> None:
        """Everybody lives, says what is missing, and takes requests as far as that is possible."""
        if self._fault in ("restart", "reset"):
            return
        frozen = asyncio.create_task(asyncio.sleep(FROZEN_SECONDS if self._fault == "freeze" else 0))
        if self._fault == "absent":
            await self._start_the_others(wait=False)
        if self._fault == "full":
            ended = asyncio.create_task(self._ended())
            self._story.begin(self._story.knock())  # something to write
            await ended
        await asyncio.gather(*(self._says_what_is_missing(name) for name in ON_CHASSIS))
        self._story.begin(self._story.knock())
        if self._fault != "freeze":
            await eventually("an answer", self._answer, PATIENCE)
        await frozen

    async def _says_what_is_missing(self, name: str) -> None:
        async def said() -> bool:
            assert (await self._get(name, "/livez")).status_code == 200
            ready = await self._get(name, "/readyz")
            return ready.status_code == 503 and NAMED[self._victim] in ready.json()["missing"]

        await eventually(f"{name} to live, and to miss {self._victim}", said, PATIENCE)

    async def _answer(self) -> bool:
        """Whether the last who knocked was served as is right."""
        return self._story.knocked == SERVED[self._victim]

    async def _ended(self) -> None:
        async def ended() -> bool:
            return not await asyncio.to_thread(self._place.processes, self._victim)

        await eventually(f"{self._victim} to give up", ended, PATIENCE)

    async def _without_the_service(self) -> None:
        """The others live and are ready: none of them depends on it."""
        if self._fault == "absent":
            await self._start_the_others(wait=True)
        await asyncio.gather(*(self._is_ready(name) for name in ON_CHASSIS if name != self._victim))
        self._story.begin(self._story.knock())
        match self._fault:
            case "freeze":
                await self._overtaken()
            case "full":
                await eventually(f"{self._victim} to say that it cannot write", self._cannot_write, PATIENCE)
            case "reset":
                self._reset()

    async def _is_ready(self, name: str) -> None:
        async def ready() -> bool:
            return (await self._get(name, "/readyz")).status_code == 200

        assert (await self._get(name, "/livez")).status_code == 200
        await eventually(f"{name} to be ready", ready, PATIENCE)

    async def _cannot_write(self) -> bool:
        ready = await self._get(self._victim, "/readyz")
        return ready.status_code == 503 and "OSError" in ready.json()["missing"].get("consumer", "")

    async def _overtaken(self) -> None:
        """A second instance has the partitions, the lease and the jobs; then the first one wakes up."""
        async with self._place.second(self._story.company.http, self._victim) as url:
            async with superuser(self._stack, self._victim) as connection:
                await connection.execute(CLAIMS_END, timeout=60)

                async def overtaken() -> bool:
                    return bool(await connection.fetchval("SELECT holder = 'second' FROM chassis.leases"))

                await eventually(f"a second {self._victim} to publish", overtaken, PATIENCE)
            await eventually(f"a second {self._victim} to be ready", lambda: self._ready_at(url), PATIENCE)
            self._place.signal(self._victim, signal.SIGCONT)
            await self._is_ready(self._victim)

    async def _ready_at(self, url: str) -> bool:
        try:
            return (await self._story.company.http.get(f"{url}/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    async def _start_the_others(self, *, wait: bool) -> None:
        others = [name for name in RUNNING if name not in (self._victim, "sink", "issuer")]
        await asyncio.gather(*(_aside(self._stack.restart, name) for name in others))
        if wait:
            await asyncio.to_thread(self._stack.wait, *others, seconds=90)

    def _reset(self) -> None:
        doors: Iterable[str] = (self._victim,) if self._is_server else SERVERS
        for door in doors:
            self._place.doors[door].reset(None if self._is_server else self._stack.pid(self._victim))

    async def _get(self, name: str, path: str) -> httpx.Response:
        async def answer() -> httpx.Response | None:
            try:
                return await self._story.company.http.get(f"{self._stack.url(name)}{path}")
            except httpx.TransportError:
                return None  # it starts, or closed a connection that was kept

        return await eventually(f"{name} to answer {path}", answer, PATIENCE)


CLAIMS_END = "UPDATE chassis.jobs SET run_at = now() WHERE claim IS NOT NULL AND holder <> 'second'"
"""As after a minute. The relay's lease runs out by itself."""


async def _aside(work: Callable[..., Any], *names: str) -> None:
    """Something that waits for processes."""
    await asyncio.to_thread(work, *names)
