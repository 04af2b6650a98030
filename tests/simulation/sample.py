"""The simulated service: what it is told, what it does then, and where it counts what it did.

A client's letter goes out through the outbox and comes back from the log. It then takes effect, is noted (an event of
its own), and sets a timer and a job, whose effects are counted too. Notes are kept as raw records. Each letter seals a
value for its name; a farewell, which is a letter, erases the name's key behind its own.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.resources import files
from random import Random
from typing import ClassVar

import asyncpg
from uuid_utils.compat import uuid7

from chassis import jobs, migrate, timers
from chassis.consumer import Handlers, Received, Record, Rejected
from chassis.database import Connection
from chassis.outbox import emit, emit_all
from chassis.sealing import Sealing
from chassis.testing import START
from local_stack import databases
from local_stack.servers import Servers
from privacy_contracts import Event
from privacy_contracts.topology import Topic

from .broker import PARTITIONS
from .schedule import pause

SERVICE = "dsr"
"""Whose database roles the sample borrows."""
_COMMON = {"key": "name", "writer": SERVICE, "readers": (), "retention_days": 0}
LETTERS, NOTES = (
    Topic(name=name, partitions=PARTITIONS[name], ordered=True, sequenced=True, personal=False, **_COMMON)  # type: ignore[arg-type]  # values of several types
    for name in ("letters", "notes")
)
_CLOCK = """
CREATE SCHEMA simulation;
CREATE SEQUENCE simulation.clock MINVALUE 0;
CREATE FUNCTION simulation.now() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT timestamptz '2026-11-20' + last_value * interval '1 second'
         + (pg_catalog.clock_timestamp() - timestamptz '2026-11-20') / 20 FROM simulation.clock $$;
GRANT USAGE ON SCHEMA simulation TO dsr;
GRANT SELECT, UPDATE ON SEQUENCE simulation.clock TO dsr;
"""
"""Time passes when the schedule says so; real time only keeps the order of what happens between."""
_TABLES = """
CREATE SCHEMA dsr;
CREATE TABLE dsr.told (name text PRIMARY KEY, last int NOT NULL);
CREATE TABLE dsr.effects (id bigint GENERATED ALWAYS AS IDENTITY, kind text, name text, number int);
CREATE TABLE dsr.sealed (name text, number int, value bytea);
CREATE TABLE dsr.kept (id bigint GENERATED ALWAYS AS IDENTITY, partition int, "offset" bigint);
GRANT USAGE ON SCHEMA dsr TO dsr;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA dsr TO dsr;
"""
SEARCH_PATH = {"search_path": "simulation,pg_catalog,dsr,chassis,public", "timezone": "UTC"}
"""Finds the simulated clock before the real one."""


@asynccontextmanager
async def database(servers: Servers) -> AsyncIterator[str]:
    """A database of the sample's, under the simulated clock; gives the runtime role's URL."""
    name, port, roles = f"test_simulation_{uuid7().hex[-12:]}", servers.postgres.port, servers.postgres.roles
    await databases.create_database(servers.postgres.url, SERVICE, name)
    try:
        url = databases.url(port, f"{SERVICE}_owner", roles[f"{SERVICE}_owner"], name)
        owner = await asyncpg.connect(url, server_settings=SEARCH_PATH)
        try:
            await owner.execute(_CLOCK)
            await migrate.apply(owner, SERVICE, migrate.found("chassis", files("chassis.migrations")))
            await owner.execute(_TABLES)
        finally:
            await owner.close()
        yield databases.url(port, SERVICE, roles[SERVICE], name)
    finally:
        await databases.drop_database(servers.postgres.url, name)


SEALED = "value"


def owner(name: str) -> str:
    """Whose key seals the values of a name."""
    return f"sample/{name}"


class Letter(Event):
    """What the service is told: the next number of a name."""

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
        return owner(self.name)


class Farewell(Letter):
    """A letter behind which the name is forgotten; letters that follow are those of somebody new."""

    type: ClassVar[str] = "sample.farewell"


class Note(Letter):
    """What the service tells in turn."""

    type: ClassVar[str] = "sample.note"
    stream: ClassVar[str] = "notes"


class Sample:
    """The service's parts. `poison` are the letters that cannot be applied, `fails` says that something else fails."""

    def __init__(self, chance: Random, sealing: Sealing, fails: Callable[[], bool]) -> None:
        self.poison = set[tuple[str, int]]()
        self._chance, self._sealing, self._fails = chance, sealing, fails
        self.letters, self.notes = Handlers([LETTERS]), Handlers([NOTES])
        self.letters.reaction(Letter)(self._react)
        self.letters.reaction(Farewell)(self._part)
        self.notes.raw(self._keep)
        self.timers = {"ring": self._ring}
        self.job = jobs.JobKind(self._call, lambda job, tx: self._effect(tx, "call", job.key))

    async def tell(self, tx: Connection, name: str, many: int, *, poisoned: bool, farewell: bool) -> None:
        """The next `many` letters of a name; the last of them may be one that cannot be applied, or a farewell."""
        row = (
            "INSERT INTO told (name, last) VALUES ($1, $2)"
            " ON CONFLICT (name) DO UPDATE SET last = told.last + excluded.last RETURNING last"
        )
        last = await tx.fetchval(row, name, many)
        if poisoned:
            self.poison.add((name, last))
        letters = [Letter(name=name, number=last - many + nth) for nth in range(1, many + 1)]
        if farewell:
            letters[-1] = Farewell(name=name, number=last)
        await emit_all(tx, letters, START)
        if self._fails():
            raise ValueError("the client changes its mind")

    async def _react(self, received: Received[Letter], tx: Connection) -> None:
        name, number = received.event.name, received.event.number
        if self._fails():
            raise self._chance.choice([OSError, ValueError])
        if (name, number) in self.poison:
            raise Rejected("poison") if number % 2 else ValueError("poison")
        key = f"{name}-{number}"
        await self._effect(tx, "letter", key)
        value = await self._sealing.seal(tx, owner(name), key, SEALED)
        await tx.execute("INSERT INTO sealed (name, number, value) VALUES ($1, $2, $3)", name, number, value)
        await emit(tx, Note(name=name, number=number), START)
        due = START + timedelta(minutes=self._chance.randrange(6), microseconds=number * 100 + ord(name))
        await timers.put(tx, "ring", key, due)
        await jobs.put(tx, "call", key, {}, timedelta(minutes=self._chance.choice([2, 60, 600])))

    async def _part(self, received: Received[Farewell], tx: Connection) -> None:
        await self._react(received, tx)
        await self._effect(tx, "farewell", f"{received.event.name}-{received.event.number}")
        await self._sealing.erase(tx, owner(received.event.name))
        if self._fails():
            raise self._chance.choice([OSError, ValueError])

    async def _ring(self, timer: timers.Timer, tx: Connection) -> None:
        await self._effect(tx, "ring", timer.key)
        if self._fails():
            raise ValueError("a timer's handler fails")

    async def _call(self, job: jobs.Job) -> jobs.Effect:
        await pause(f"calls {job.key}", idle=True)
        if self._fails():
            raise self._chance.choice([OSError, jobs.Retry])
        return lambda tx: self._effect(tx, "call", job.key)

    async def _keep(self, records: Sequence[Record], tx: Connection) -> None:
        if self._fails():
            raise OSError
        places = [each.partition for each in records], [each.offset for each in records]
        await tx.execute(
            'INSERT INTO kept (partition, "offset") SELECT * FROM unnest($1::int[], $2::bigint[])', *places
        )

    @staticmethod
    async def _effect(tx: Connection, kind: str, key: str) -> None:
        name, number = key.split("-")
        await tx.execute("INSERT INTO effects (kind, name, number) VALUES ($1, $2, $3)", kind, name, int(number))
