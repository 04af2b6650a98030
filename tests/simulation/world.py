"""One seed's world: who takes part, what goes wrong, and what must be true afterwards.

First everything may fail; then nothing does but the poisoned letters; then those are mended and replayed. What is true
is read from the log and from the sample's own tables. Chassis' tables only tell whether work is left.
"""

import json
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import asyncpg
from uuid_utils.compat import uuid7

from chassis import crash, jobs, outbox, timers
from chassis import database as chassis_database
from chassis.consumer import Handlers, dead_letters
from chassis.consumer.batches import Batches, Fenced, Stopped
from chassis.consumer.records import Partition, Record
from chassis.database import Pool, repeat, transaction
from chassis.sealing import KeyErased, Sealing
from chassis.testing import START, FixedClock
from local_stack.servers import Servers
from privacy_contracts.accesses import OperatorActed

from . import sample
from .broker import PARTITIONS, Log, Producer
from .schedule import TIMELESS, Gated, Schedule, Wakeup, die, pause

NAMES, TELLINGS, MOST_STEPS = "abc", 7, 10_000
LEDGER = "erasures"
_FOREVER = 1e6


class Failed(AssertionError):
    """What was not as it must be."""


@dataclass
class Place:
    """Where all seeds run: one database, emptied for each. `killed` counts the deaths at each named point."""

    pool: Pool
    monitor: "asyncpg.Connection[asyncpg.Record]"
    folder: Path
    killed: Counter[str] = field(default_factory=Counter)


@asynccontextmanager
async def place(servers: Servers) -> AsyncIterator[Place]:
    """A database, and what looks at it from outside."""
    async with sample.database(servers) as url:
        options: dict[str, Any] = {"init": chassis_database._init, "server_settings": sample.SEARCH_PATH}
        with TemporaryDirectory() as folder:
            monitor = await asyncpg.connect(servers.postgres.url)
            pool = await asyncpg.create_pool(url, connection_class=Gated, min_size=0, max_size=24, **options)
            try:
                yield Place(pool, monitor, Path(folder))
            finally:
                pool.terminate()
                await monitor.close()


@dataclass
class Group:
    """The members of a consumer group. Who owns a partition is the coordinator's; a member may notice it late."""

    handlers: Handlers
    owners: dict[Partition, int] = field(default_factory=dict)
    generation: int = 0
    members: dict[int, Batches] = field(default_factory=dict)
    reading: dict[int, dict[Partition, int]] = field(default_factory=lambda: defaultdict(dict))


class World:
    """A seed's world. `rates` are this seed's kinds of fault and how often they come: some seeds lack some."""

    def __init__(self, place: Place, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - repeatable, and nothing is secret here
        kinds = ("crash", "point", "cut", "rebalance", "time", "kafka", "handler", "poison", "mend", "again", "gone")
        self.rates = {kind: self.chance.choice((0, 0.01, 0.04, 0.12)) for kind in kinds}
        self.place, self.pool, self.left = place, place.pool, TELLINGS
        self.schedule = Schedule(self.chance, place.monitor)
        self.log = Log(self.chance, self.rates["kafka"])
        self.sealing, self.clock = Sealing({1: bytes(32)}, place.folder / LEDGER), FixedClock()
        self.sample = sample.Sample(self.chance, self.sealing, lambda: self.happens("handler"))
        self.groups = [Group(self.sample.letters), Group(self.sample.notes)]

    def happens(self, kind: str, share: float = 1.0) -> bool:
        """Whether this fault comes now."""
        return self.chance.random() < self.rates[kind] * share

    async def run(self) -> None:
        """All of it. Raises `Failed`, or what an actor failed at that must not fail."""
        await self._empty()
        with ExitStack() as patches:
            self._patch(patches)
            self._people()
            try:
                await self.schedule.settle()
                while self.left or self.chance.random() > 0.02:
                    await self.schedule.step(self.rates["crash"] / 10)
                    await self._fault()
                self._calm()
                await self._drain(held=True)
                await self._check()
                self.sample.poison.clear()
                await self._drain(held=False)
                await self.sealing.replay_ledger(self.pool)  # a last start takes nothing that is there
                await self._check()
            finally:
                await self.schedule.end()

    def _patch(self, patches: ExitStack) -> None:
        for owner, name, instead in (
            (crash, "point", self._point),
            (outbox, "AIOKafkaProducer", partial(Producer, self.log)),
            (outbox, "asyncio", TIMELESS),
            (chassis_database, "asyncio", TIMELESS),
            (outbox, "BATCH", self.chance.choice((2, 5, 500))),
        ):
            patches.enter_context(patch.object(owner, name, instead))

    def _point(self, name: str) -> None:
        if self.happens("point"):
            self.place.killed[name] += 1
            self.schedule.note("crash point", name)
            die()

    # Who takes part

    def _people(self) -> None:
        for n in range(2):
            self.schedule.start(f"client {n}", self._client)
            self.schedule.start(f"relay {n}", outbox.Relay(self.pool, sample.SERVICE, "", f"relay {n}", {}).run)
            self.schedule.start(f"timers {n}", lambda: timers.run(self.pool, self.sample.timers, self.clock))
            self.schedule.start(f"jobs {n}", partial(self._jobs, f"jobs {n}"))
            for group, name in zip(self.groups, ("letters", "notes"), strict=True):
                self.schedule.start(f"{name} {n}", partial(self._consumer, group, n))
        self.schedule.start("operator", lambda: repeat("operator", self._operator, 0))
        for group in self.groups:
            self._rebalance(group)

    async def _client(self) -> None:
        while self.left:
            self.left -= 1
            await pause("thinks", idle=True)
            name, many = self.chance.choice(NAMES), self.chance.randint(1, 3)
            last = {"poisoned": self.happens("poison"), "farewell": self.happens("gone", 4)}
            with suppress(Exception):  # it is told that its request failed
                async with transaction(self.pool) as tx:
                    await self.sample.tell(tx, name, many, **last)

    async def _jobs(self, holder: str) -> None:
        with suppress(Exception):
            async with transaction(self.pool) as tx:
                await jobs.take_up(tx, holder)
        await repeat("jobs", lambda: jobs.run_one(self.pool, "call", self.sample.job, holder), 0)

    async def _consumer(self, group: Group, me: int) -> None:
        waits = {"backoff": (_FOREVER, _FOREVER), "pause": _FOREVER, "stop": Wakeup()}
        batches = group.members[me] = Batches(self.pool, group.handlers, self.sealing, **waits)  # type: ignore[arg-type]
        generation, reading = -1, dict[Partition, int]()
        with suppress(chassis_database.Unavailable, OSError, asyncpg.PostgresError):
            await self.sealing.replay_ledger(self.pool)  # as at each start
        while True:
            try:
                if generation == -1 or (generation < group.generation and self.chance.random() < 0.5):
                    batches.stop.clear()
                    generation, reading = group.generation, {}
                    if mine := [each for each, owner in group.owners.items() if owner == me]:
                        reading = await batches.assigned(dict.fromkeys(mine, 0))
                if records := self._fetch(reading):
                    told = {each.place for each in records}
                    batches.passed = {each: at for each, at in reading.items() if each not in told}
                    await batches.handle(records)
                else:
                    group.reading[me] = dict(reading)
                    await pause("finds nothing", idle=True)
            except (Stopped, Fenced) as error:
                self.schedule.note(f"{me}", type(error).__name__)
                generation = -1
            except (chassis_database.Unavailable, OSError, asyncpg.PostgresError):
                generation = -1  # while it asked for its positions

    def _fetch(self, reading: dict[Partition, int]) -> list[Record]:
        """The next records of some partitions, as many as it happens; at times some that were read before."""
        found: list[Record] = []
        for each in self.chance.sample(list(reading), len(reading)):
            log, start = self.log.partitions.get(each, []), reading[each]
            if self.happens("again"):
                start = max(0, start - self.chance.randint(1, 4))
            reading[each] = max(start, min(len(log), start + self.chance.randint(0, 8)))
            found += [record for record in log[start : reading[each]] if record]
        return found

    async def _operator(self) -> bool:
        async with transaction(self.pool) as tx:
            letters = await dead_letters.listing(tx)
        if letters:
            letter = self.chance.choice(letters)["id"]
            who = {"actor": "staff/ann", "system": sample.SERVICE, "reason": "mended", "acted_at": START}
            what = {"act": uuid7(), "action": "dead_letter_replayed", "dead_letter": letter}
            acted = OperatorActed.model_validate(who | what)
            await dead_letters.act(self.pool, self.sealing, self.groups[0].handlers, acted)
        return False

    # What goes wrong

    async def _fault(self) -> None:
        if self.happens("cut", 0.2):
            await self.schedule.cut_off()
        if self.happens("rebalance"):
            self._rebalance(self.chance.choice(self.groups))
        if self.happens("time"):
            await self._pass_time(self.chance.choice((1, 12, 61, 700)))
        if self.happens("mend") and self.sample.poison:
            self.sample.poison.remove(self.chance.choice(sorted(self.sample.poison)))

    def _rebalance(self, group: Group) -> None:
        """Each partition gets an owner. Who lost one is told to stop, unless it is paused and hears nothing."""
        places = [(topic, n) for topic in group.handlers.topics for n in range(PARTITIONS[topic])]
        group.owners, group.generation = {each: self.chance.randrange(2) for each in places}, group.generation + 1
        self.schedule.note("coordinator", f"{group.owners}")
        for batches in group.members.values():
            if self.chance.random() < 0.6:
                batches.stop.set()

    async def _pass_time(self, seconds: int) -> None:
        self.schedule.note("clock", f"+{seconds} s")
        self.clock.advance(timedelta(seconds=seconds))
        await self.pool.execute("SELECT setval('clock', (SELECT last_value FROM clock) + $1)", seconds)

    def _calm(self) -> None:
        """Nothing fails from now on but the letters that are poisoned."""
        self.schedule.note("calm", "nothing fails any more")
        self.rates, self.log.faults = dict.fromkeys(self.rates, 0.0), 0.0
        for each in self.schedule.actors:
            each.weight = 1
        for group in self.groups:
            self._rebalance(group)

    async def _drain(self, *, held: bool) -> None:
        """Until nothing is left to do. With poison, its letters are left, and what waits behind them."""
        for step in range(MOST_STEPS):
            await self.schedule.step()
            if step % 10 == 9 and all(each.idle for each in self.schedule.actors if each.gate):
                if await self._is_drained(held):
                    return
                await self._pass_time(400)
        raise Failed(f"not drained after {MOST_STEPS} steps")

    async def _is_drained(self, held: bool) -> bool:
        for group in self.groups:
            for each, owner in group.owners.items():
                if group.reading[owner].get(each, -1) < len(self.log.partitions.get(each, [])):
                    return False
        left = await self.pool.fetchval(
            "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM timers) + (SELECT count(*) FROM jobs)"
        )
        letters = await self.pool.fetchval("SELECT count(*) FROM dead_letters WHERE reason IS NOT NULL")
        return not left and letters == (len(await self._poisoned()) if held else 0)

    async def _told(self) -> dict[str, int]:
        """The last letter of each name."""
        return {row["name"]: row["last"] for row in await self.pool.fetch("SELECT name, last FROM told")}

    async def _poisoned(self) -> dict[str, int]:
        """The first letter of each name that cannot be applied."""
        last = await self._told()
        poison = sorted(self.sample.poison, reverse=True)
        return {name: number for name, number in poison if number <= last.get(name, 0)}

    async def _empty(self) -> None:
        tables = await self.pool.fetch(
            "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
            " WHERE schemaname IN ('chassis', 'dsr', 'keys') AND tablename NOT LIKE 'inbox\\_%'"
        )
        for row in tables:
            await self.pool.execute(f"DELETE FROM {row['name']}")  # noqa: S608 - names from the catalogue
        (self.place.folder / LEDGER).write_text("")

    # What must be true

    async def _check(self) -> None:
        poisoned = await self._poisoned()
        told = await self._told()
        applied = {name: poisoned.get(name, last + 1) - 1 for name, last in told.items()}
        _same("letters on the log", self._published("letters"), _upto(told))
        _same("notes on the log", self._published("notes"), _upto(applied))
        for kind in ("letter", "ring", "call"):
            rows = await self.pool.fetch("SELECT name, number FROM effects WHERE kind = $1 ORDER BY id", kind)
            effects = [(row["name"], row["number"]) for row in rows]
            _same(f"effects of {kind}", _by_name(effects if kind == "letter" else sorted(effects)), _upto(applied))
        kept = await self.pool.fetch('SELECT partition, "offset" FROM kept ORDER BY id')
        places = {n: [each.offset for each in records] for (_, n), records in self.log.of("notes").items() if records}
        _same("notes kept, by partition", _by_name([(row["partition"], row["offset"]) for row in kept]), places)
        async with transaction(self.pool) as tx:
            waiting = sorted(each["waiting"] for each in await dead_letters.listing(tx))
        _same("waiting behind a poisoned letter", waiting, sorted(told[name] - at for name, at in poisoned.items()))
        for topic in {topic for topic, _ in self.log.partitions}:
            records = [each for found in self.log.of(topic).values() for each in found]
            pairs = {(int(each.header("ce_sequence") or 0), each.header("ce_id")) for each in records}
            _same(f"numbers of {topic}", sorted(number for number, _ in pairs), [*range(1, len(pairs) + 1)])
            _same(f"events of {topic}, each with one number", len({name for _, name in pairs}), len(pairs))

        await self._check_sealed(applied, told)

    async def _check_sealed(self, applied: dict[str, int], told: dict[str, int]) -> None:
        """What was sealed before a name's last farewell is closed for ever, the rest opens, and the ledger has each.

        A farewell that is poisoned, or failed behind its ledger line, may have closed what stands before it already.
        """
        rows = await self.pool.fetch("SELECT name, number, value FROM sealed ORDER BY name, number")
        farewells = await self.pool.fetch("SELECT name, number FROM effects WHERE kind = 'farewell'")
        written = (self.place.folder / LEDGER).read_text().splitlines()
        lines = Counter(json.loads(line)["owner"] for line in written if line)
        for name, last in applied.items():
            gone = [row["number"] for row in farewells if row["name"] == name]
            _same(f"farewells of {name} in the ledger", lines[sample.owner(name)] >= len(gone), True)
            opened = []
            async with transaction(self.pool) as tx:
                for row in (row for row in rows if row["name"] == name):
                    with suppress(KeyErased):
                        text = await self.sealing.open(tx, sample.owner(name), row["value"], sample.SEALED)
                        _same("what was sealed", text, f"{name}-{row['number']}")
                        opened.append(row["number"])
            if last == told[name]:
                _same(f"what opens of {name}", opened, list(range(max(gone, default=0) + 1, last + 1)))

    def _published(self, topic: str) -> dict[str, list[int]]:
        """By name, the numbers in the order of their first occurrences."""
        first: dict[str, tuple[str, int]] = {}
        for records in self.log.of(topic).values():
            for each in records:
                event = json.loads(each.value or b"")
                first.setdefault(each.header("ce_id") or "", (event["name"], event["number"]))
        return _by_name(list(first.values()))


def _same(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise Failed(f"{what}: {found}, not {expected}")


def _upto(lasts: dict[str, int]) -> dict[str, list[int]]:
    return {name: list(range(1, last + 1)) for name, last in lasts.items() if last}


def _by_name(pairs: list[tuple[str, int]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for name, number in pairs:
        found[name].append(number)
    return dict(found)
