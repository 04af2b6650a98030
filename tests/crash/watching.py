"""What a run has to have seen, or it has proven nothing: looked at from outside, while processes die.

A process's own counters die with it, so they are read every two seconds, and what the last look of a life told is kept:
a count here is a lower bound.
"""

import asyncio
import contextlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment as Assignment
from aiokafka.errors import KafkaError

from local_stack import LocalStackError
from privacy_contracts.topology import topics

from ..invariants import Evidence
from ..log import login
from ..people import Company, eventually
from .plan import INSTANCES

_SKIPPED = re.compile(r"^consumer_repeated_total(?:\{[^}]*\})? ([0-9.e+]+)$", re.MULTILINE)
NO_DATABASE = (
    *(OSError, asyncpg.InterfaceError, asyncpg.InternalClientError),
    *(asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError, asyncpg.InsufficientResourcesError),
)
"""What a query ends in while Postgres is away or comes back."""
_AWAY = (*NO_DATABASE, httpx.HTTPError, KafkaError, LocalStackError, TimeoutError)


@dataclass
class Seen:
    """How often each thing was seen.

    inbox_skips: events that a consumer's inbox recognised as applied already.
    relay_repeats: records that stand on a topic once more, with the same id and number.
    relay_takeovers: times that the lease of a service's relay went to the other instance.
    rebalances: times that partitions went to a consumer that was there before, from another.
    timer_takeovers: times that the other instance fired the timer that a dead one had in hand.
    job_takeovers: jobs that the other instance did, claimed by one that died and stayed dead.
    """

    inbox_skips: int = 0
    relay_repeats: int = 0
    relay_takeovers: int = 0
    rebalances: int = 0
    timer_takeovers: int = 0
    job_takeovers: int = 0

    NEEDED = ("inbox_skips", "relay_repeats", "rebalances", "timer_takeovers")

    def lacking(self) -> list[str]:
        """What should have been seen and was not."""
        return [name for name in self.NEEDED if not getattr(self, name)]

    def as_dict(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


@dataclass
class Watcher:
    """Looks at a deployment again and again until it is cancelled, and at what dead instances leave."""

    company: Company
    seen: Seen = field(default_factory=Seen)
    _skips: dict[tuple[str, int], int] = field(default_factory=dict)
    _holders: dict[str, str] = field(default_factory=dict)
    _owners: dict[str, dict[TopicPartition, str]] = field(default_factory=lambda: defaultdict(dict))
    _members: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    async def run(self) -> None:
        """One look every two seconds. What is away is looked at next time."""
        while True:
            for look in (self._look_at_inboxes, self._look_at_leases, self._look_at_groups):
                with contextlib.suppress(*_AWAY):
                    await look()
            await asyncio.sleep(2)

    async def _look_at_inboxes(self) -> None:
        for name in (each for instances in INSTANCES.values() for each in instances):
            pid = self.company.stack.pid(name)
            with contextlib.suppress(httpx.HTTPError):
                told = await self.company.http.get(f"{self.company.stack.url(name)}/metrics", timeout=2)
                if pid is not None:
                    self._skips[name, pid] = sum(int(float(each)) for each in _SKIPPED.findall(told.text))
        self.seen.inbox_skips = sum(self._skips.values())

    async def _look_at_leases(self) -> None:
        for service in INSTANCES:
            holder = await self.holder(service)
            if holder and self._holders.get(service, holder) != holder:
                self.seen.relay_takeovers += 1
            self._holders[service] = holder

    async def holder(self, service: str) -> str:
        """Which instance's relay publishes, or did last."""
        told = await self.company.value(service, "SELECT holder FROM chassis.leases WHERE name = 'relay'")
        return str(told or "")

    async def _look_at_groups(self) -> None:
        for service, now in (await self._assignments()).items():
            owners, members = self._owners[service], self._members[service]
            if any(owners.get(place, owner) != owner and owner in members for place, owner in now.items()):
                self.seen.rebalances += 1
            owners.update(now)
            self._members[service] = set(now.values()) or members

    async def _assignments(self) -> dict[str, dict[TopicPartition, str]]:
        """Which member has which partition, by service, as the broker tells it; a group on the move has none."""
        prefix, found = self.company.stack.deployment.prefix, dict[str, dict[TopicPartition, str]]()
        kafka = AIOKafkaAdminClient(**login(self.company.stack))
        try:
            async with asyncio.timeout(10):
                await kafka.start()
                for service in INSTANCES:  # one by one: the library cannot read the answer about several
                    [told] = await kafka.describe_consumer_groups([f"{prefix}{service}"])
                    members = [each for each in told.to_object()["groups"][0]["members"] if each["member_assignment"]]
                    has = [(each["member_id"], each["member_assignment"]) for each in members]
                    found[service] = {
                        at: who for who, parts in has if parts for at in Assignment.decode(parts).partitions()
                    }
        finally:
            await kafka.close()
        return found

    # What a dead instance leaves

    async def timer_taken_over(self, service: str) -> None:
        """An instance died with a timer in hand and stays dead: wait until none that was due is left."""
        died = datetime.now(UTC)

        async def fired() -> bool:
            due = await self.company.value(service, "SELECT count(*) FROM chassis.timers WHERE due_at <= $1", died)
            return int(due) == 0

        await self._wait(f"the other {service} to fire what was due", fired, 60)
        self.seen.timer_takeovers += 1

    async def jobs_taken_over(self, service: str, dead: str) -> None:
        """An instance died with jobs in hand and stays dead: wait until the other has them, when their lease ends."""
        held = "SELECT kind, key FROM chassis.jobs WHERE holder = $1 AND claim IS NOT NULL"
        left = len(await self.company.rows(service, held, dead))

        async def taken() -> bool:
            return not await self.company.rows(service, held, dead)

        await self._wait(f"the other {service} to take over {left} jobs", taken, 150)
        self.seen.job_takeovers += left

    async def lease_taken_over(self, service: str, dead: str) -> None:
        """The instance that published died and stays dead: wait until the other publishes."""

        async def taken() -> bool:
            return await self.holder(service) != dead

        await self._wait(f"the other {service} to publish", taken, 60)

    async def _wait(self, what: str, condition: Any, seconds: float) -> None:
        async def looked() -> bool:
            with contextlib.suppress(*_AWAY):
                return bool(await condition())
            return False

        await eventually(what, looked, seconds)

    # At the end

    def count(self, evidence: Evidence) -> Seen:
        """Everything that was seen, with the repeats that stand on the topics."""
        sequenced = {name for name, topic in topics().items() if topic.sequenced}
        written = [(each.topic, each.id) for each in evidence.records if each.topic in sequenced and not each.planted]
        self.seen.relay_repeats = sum(times - 1 for times in Counter(written).values())
        return self.seen


def together(runs: Iterable[Seen]) -> Seen:
    """The sum of several runs."""
    total = Seen()
    for run in runs:
        for name, count in run.as_dict().items():
            setattr(total, name, getattr(total, name) + count)
    return total
