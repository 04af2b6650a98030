"""Every named crash point kills somebody while deletions run; then everything is counted from outside.

The order of things is drawn from `SEED`, which is printed; give it again to repeat a run. The run fails when a point
was never reached.
"""

import asyncio
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

import chassis
from chassis.crash import POINTS
from local_stack import ROOT
from local_stack.observe import AUDITOR
from local_stack.stack import Stack

from ..deployment import deployed
from ..invariants import assert_all_hold, repeated_mails
from ..people import Company, Customer, eventually

DELETIONS = 10
RANDOM_KILLS = 5
KILLED_AT_RANDOM = ("dsr", "consent", "notifier", "audit", "accounts", "orders")
SMTP_CONNECTIONS = 8
"""How many mails the notifier may have in flight when it dies."""
PLAN = {
    "dsr": ("timers.before-commit", "consumer.after-inbox", "timers.after-commit", "sealing.after-ledger"),
    "notifier": ("jobs.after-claim", "notifier.before-data", "notifier.after-data", "jobs.after-effect"),
    "consent": ("relay.in-transaction", "relay.after-numbering"),
    "audit": ("consumer.after-commit", "consumer.before-commit"),
    "accounts": ("relay.after-produce", "jobs.before-effect", "relay.after-delete"),
}
"""Who dies where. Each point is served once; services die side by side, each through its own list."""


def named_points() -> set[str]:
    """Every point in the code of chassis and of the services."""
    sources = [Path(chassis.__path__[0]), *(ROOT / "services").glob("*/src"), ROOT / "examples" / "company"]
    code = "".join(file.read_text("utf-8") for source in sources for file in source.rglob("*.py"))
    return set(re.findall(r'\bpoint\("([a-z.-]+)"\)', code))


def test_every_point_in_the_code_has_its_turn() -> None:
    assert set(POINTS) <= named_points()
    assert named_points() == {point for points in PLAN.values() for point in points}


@pytest.fixture(scope="module")
def victim() -> Iterator[Stack]:
    """A deployment for this test alone."""
    with deployed("crash", without=("website",), more={"dsr": {"COOLING_OFF": "5"}}) as made:
        yield made


@pytest.fixture
def company(http: httpx.AsyncClient, victim: Stack) -> Company:
    """The deployment that is killed, seen by those who use it."""
    return Company(http, victim)


class Run:
    """What is under way, and what has been done."""

    def __init__(self, company: Company, seed: int) -> None:
        self.company, self.stack = company, company.stack
        self.random = random.Random(seed)  # noqa: S311 - repeatable, and nothing is secret here
        self.turn = {name: asyncio.Lock() for name in KILLED_AT_RANDOM}
        self.deaths: list[tuple[str, str]] = []
        self.all_reached = asyncio.Event()
        self.deleted: dict[str, Customer] = {}
        self.unknown: dict[str, str] = {}
        self.confirmed = 0

    async def die_in_turn(self, service: str) -> None:
        """Kill one service at each of its points, one after the other; the supervisor brings it back in the end."""
        async with self.turn[service]:
            for point in PLAN[service]:
                log = self.stack.log(service)
                said = partial(_said, log, log.stat().st_size, point)
                await asyncio.to_thread(self.stack.restart, service, {"CRASH_POINT": point})
                await eventually(f"{service} to die at {point}", said, 90)
                self.deaths.append((service, point))
            await asyncio.to_thread(self.stack.wait, service, seconds=60)

    async def die_at_random(self) -> None:
        """Kill somebody, some time."""
        for service in self.random.sample(KILLED_AT_RANDOM, k=RANDOM_KILLS):
            await asyncio.sleep(self.random.uniform(1, 4))
            async with self.turn[service]:
                await asyncio.to_thread(self.stack.kill, service)
                self.deaths.append((service, "at random"))
                await asyncio.to_thread(self.stack.wait, service, seconds=60)

    async def delete_one(self) -> None:
        """A customer comes, orders, and goes for good."""
        customer = await self.company.register("person", order=True)
        await self.company.choose(customer, "granted")
        request = await self.company.ask(customer.email)
        self.deleted[request] = customer
        link = await self.company.link(customer.email, request)
        await self.company.press(link, "verify")
        await self.company.press(link, "confirm")
        self.confirmed += 1
        await self.company.closed(customer.email, request, 150)

    async def is_under_way(self) -> bool:
        """Whether two deletions stand before their point of no return."""
        return self.confirmed >= 2

    async def stir(self) -> None:
        """Small things that keep every service busy until all points were reached."""
        somebody = await self.company.register("somebody")
        while not self.all_reached.is_set():
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


async def test_nothing_is_lost_or_done_twice_whoever_dies(
    company: Company, record_property: Callable[[str, object], None]
) -> None:
    seed = int(os.environ.get("SEED", time.time_ns() % 2**32))
    record_property("crash: SEED", seed)
    run = Run(company, seed)
    async with asyncio.TaskGroup() as deletions:
        for _ in range(4):
            deletions.create_task(run.delete_one())
        await eventually("the first deletions to be confirmed", run.is_under_way, 60)
        stirring = deletions.create_task(run.stir())
        async with asyncio.TaskGroup() as deaths:
            for service in PLAN:
                deaths.create_task(run.die_in_turn(service))
            deaths.create_task(run.die_at_random())
            for _ in range(DELETIONS - 4):
                deletions.create_task(run.delete_one())
                await asyncio.sleep(run.random.uniform(0.5, 2))
        run.all_reached.set()
        await stirring
    record_property("crash: deaths", ", ".join(f"{service} {point}" for service, point in run.deaths))

    assert {point for _, point in run.deaths} >= named_points()
    seen = await assert_all_hold(company, run.deleted, run.unknown)
    ends = sum(2 if point != "at random" else 1 for service, point in run.deaths if service == "notifier")
    assert repeated_mails(seen) <= ends * SMTP_CONNECTIONS
