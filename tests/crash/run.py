"""A company at work while its processes die: deletions all the while, deaths at named points and at random."""

import asyncio
import contextlib
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg

from local_stack import LocalStackError, servers
from local_stack.layout import EVERY
from local_stack.observe import AUDITOR
from local_stack.processes import kill

from ..people import Company, Customer, eventually
from .plan import INSTANCES, TWICE, Death
from .watching import NO_DATABASE, Watcher

AT_RANDOM = (*(name for names in INSTANCES.values() for name in names), "orders", "marketing")
"""Who may be killed at any moment."""
SERVERS = ("kafka", "postgres")
"""They may be killed where the deployment has them for itself."""
SETTINGS = {"dsr": {"COOLING_OFF": "5"}, "accounts": {"COMPACTION_LAG_SECONDS": "8"}}
"""Timers are due often enough for either instance to meet one: a heartbeat on each partition every four seconds."""
REACH = 180
"""Seconds within which a process that is to die at a point has to pass it."""
HANDED_OVER = ("timers.before-commit", "relay.in-transaction", "relay.after-produce")
"""Where it is seen each time that the other takes over; it takes as long as a lease of the relay, ten seconds."""
MOST_AGAIN, RECOGNISED = 4, 10
"""How often one dies again until a repeat was recognised, and the seconds that each time is given."""
SMTP_CONNECTIONS = 8
"""How many mails a notifier may have in flight when it dies."""


class Doubled(Company):
    """The company seen by those who reach either instance of a service, as behind a load balancer.

    Its services call first instances alone: while one of those is away, jobs are tried again, longer and longer apart.
    """

    patience = 300.0
    random: random.Random

    def at(self, service: str) -> str:
        """The address of one of its instances that run."""
        running = [name for name in INSTANCES.get(service, ()) if self.stack.pid(name)]
        return self.stack.url(self.random.choice(running) if running else service)

    async def rows(self, service: str, statement: str, *values: Any) -> list[asyncpg.Record]:
        """Rows of a service's database; asked again while Postgres is away."""
        found: list[list[asyncpg.Record]] = []

        async def answered() -> bool:
            with contextlib.suppress(*NO_DATABASE):
                found.append(await super(Doubled, self).rows(service, statement, *values))
            return bool(found)

        await eventually("Postgres to answer", answered, self.patience)
        return found[0]


class Run:
    """What is under way, and what has been done. `kills` counts by process, `deaths` are those at named points.

    A `patient` one leaves each dead instance dead until the other has what it had in hand; a claim lasts a minute.
    """

    def __init__(self, company: Doubled, seed: int, *, patient: bool = False) -> None:
        self.patient = patient
        self.company, self.stack, self.watcher = company, company.stack, Watcher(company)
        self.random, company.random = random.Random(seed), random.Random(seed)  # noqa: S311 - repeatable, no secret
        self.turn = defaultdict[str, asyncio.Lock](asyncio.Lock)
        self.deaths: list[tuple[str, str]] = []
        self.kills = Counter[str]()
        self.mailers_ended = 0
        self.dying = True
        self.deleted: dict[str, Customer] = {}
        self.unknown: dict[str, str] = {}
        self.confirmed = 0

    async def go(self, deaths: Iterable[Death], kills: list[str], *, deletions: int, at_once: int = 4) -> None:
        """Have everybody die in turn while at least so many deletions run, `at_once` of them at a time."""
        in_turn = {service: [death for death in deaths if death[0] == service] for service in TWICE}
        async with asyncio.TaskGroup() as work:
            watching = work.create_task(self.watcher.run())
            people = [work.create_task(self._come_and_go(deletions)) for _ in range(at_once)]
            await eventually("the first deletions to be confirmed", self._is_under_way, 120)
            people.append(work.create_task(self._stir()))
            async with asyncio.TaskGroup() as dying:
                for service in TWICE:
                    dying.create_task(self._die_in_turn(in_turn[service]))
                dying.create_task(self._die_at_random(kills))
            self.dying = False
            await asyncio.gather(*people)
            watching.cancel()

    # Who dies

    async def _die_in_turn(self, deaths: list[Death]) -> None:
        for service, point, number in deaths:
            names = INSTANCES[service]
            await self._die(service, point, names[number], names[1 - number])
            self.deaths.append((names[number], point))
            for _ in range(MOST_AGAIN):
                if point != "relay.after-produce" or await self._was_recognised():
                    break
                await self._die(service, point, names[number], names[1 - number])

    async def _was_recognised(self) -> bool:
        """Whether an inbox has recognised a repeat by now: what was said twice may have been for the audit alone, which
        keeps none."""
        for _ in range(2 * RECOGNISED):
            if self.watcher.seen.inbox_skips:
                return True
            await asyncio.sleep(0.5)
        return False

    async def _die(self, service: str, point: str, name: str, other: str) -> None:
        """Kill one instance at a point, and see that what it had in hand becomes the other's while it is away.

        Only one relay publishes. So for a point of the relay the other is killed and stays dead until this one, which
        has then all that was left unpublished, has died too.
        """
        of_relay = point.startswith("relay.")
        async with self._hold(*sorted({name, other} if of_relay else {name})):
            log = self.stack.log(name)
            said = partial(_said, log, log.stat().st_size, point)
            await self._off_loop(self._restart_to_die, name, point)
            if of_relay:
                await self._off_loop(self.stack.wait, name, seconds=90)
                self._ends(other)
                await self._off_loop(self.stack.kill, other, for_good=True)
            await eventually(f"{name} to die at {point}", said, REACH)
            self._ends(name)
            if of_relay:
                await self._off_loop(self.stack.start, other)
            if point in HANDED_OVER or self.patient:
                await self._is_taken_over(service, point, name)
            await self._off_loop(self.stack.start, name)
            await self._off_loop(self.stack.wait, name, seconds=90)

    async def _is_taken_over(self, service: str, point: str, dead: str) -> None:
        if point == "timers.before-commit":
            await self.watcher.timer_taken_over(service)
        elif point == "jobs.after-claim":
            await self.watcher.jobs_taken_over(service, dead)
        elif point.startswith("relay."):
            await self.watcher.lease_taken_over(service, dead)

    def _restart_to_die(self, name: str, point: str) -> None:
        self._ends(name)
        self.stack.restart(name, {"CRASH_POINT": point}, watched=False)

    async def _die_at_random(self, kills: list[str]) -> None:
        """Kill these, some time; the supervisor starts them again. Several may be away at a time."""
        async with asyncio.TaskGroup() as away:
            for name in kills:
                await asyncio.sleep(self.random.uniform(1, 4))
                await self.turn[name].acquire()
                away.create_task(self._kill(name))

    async def _kill(self, name: str) -> None:
        try:
            self._ends(name)
            if name in SERVERS:
                await self._off_loop(self._kill_server, name)
            else:
                await self._off_loop(self.stack.kill, name)
            self.kills[name] += 1
            if name in EVERY:
                await self._off_loop(self.stack.wait, name, seconds=180)
        finally:
            self.turn[name].release()

    def _kill_server(self, name: str) -> None:
        """Kill Kafka or Postgres, and start it again; what a killed Postgres leaves takes a moment to end."""
        folder = Path(self.stack.deployment.servers.directory)
        kill(servers.running(folder, name))
        until = time.monotonic() + 60
        while True:
            try:
                servers.start(folder, durable=False)
                return
            except LocalStackError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)

    @contextlib.asynccontextmanager
    async def _hold(self, *names: str) -> AsyncIterator[None]:
        """Have one reason at a time for which these processes are away."""
        async with contextlib.AsyncExitStack() as held:
            for name in names:
                await held.enter_async_context(self.turn[name])
            yield

    def _ends(self, name: str) -> None:
        """Count the mailers whose mails in flight may go out again; without a server none gets its end written."""
        self.mailers_ended += 2 if name in SERVERS else EVERY[name].service == "notifier"

    async def _off_loop(self, work: Callable[..., None], *arguments: object, **named: object) -> None:
        await self.company.off_loop(work, *arguments, **named)

    # Who lives

    async def _is_under_way(self) -> bool:
        """Whether two deletions stand before their point of no return."""
        return self.confirmed >= 2

    async def _come_and_go(self, deletions: int) -> None:
        """One deletion after the other, while anybody dies and until there were enough."""
        while self.dying or len(self.deleted) < deletions:
            await self._delete_one()

    async def _delete_one(self) -> None:
        """A customer comes, orders, and goes for good."""
        customer = await self.company.register("person", order=True)
        await self.company.choose(customer, "granted")
        request = await self.company.ask(customer.email)
        self.deleted[request] = customer
        link = await self.company.link(customer.email, request)
        await self.company.press(link, "verify")
        await self.company.press(link, "confirm")
        self.confirmed += 1
        await self.company.closed(customer.email, request, self.company.patience)

    async def _stir(self) -> None:
        """Small things that keep every service busy while anybody dies."""
        somebody = await self.company.register("somebody")
        while self.dying:
            email = f"nobody-{uuid4().hex[:10]}@example.com"
            self.unknown[await self.company.ask(email)] = email
            await self.company.choose(somebody, self.random.choice(("granted", "withdrawn")))
            await self.company.get("audit", "/v1/entries", AUDITOR, subject=somebody.subject)
            feed = {"recipient": "adco", "purpose": "third_party_marketing"}
            await self.company.post("accounts", "/v1/feeds", feed, "operator-01", status=202)
            await asyncio.sleep(0.5)


async def _said(log: Path, after: int, point: str) -> bool:
    said = await asyncio.to_thread(log.read_bytes)
    return f"crash point {point}: killed" in said[after:].decode("utf-8", "replace")
