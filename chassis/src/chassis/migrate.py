"""Numbered SQL, applied once each by the owner role, under a lock.

A file is `NNNN_name.sql`; its first line says the oldest code that may run on the schema it leaves:
`-- requires code >= N`. Older code refuses, newer code waits until its migrations are there. `:runtime` in a file
stands for the service's runtime role, `:owner` for the owner's.
"""

import asyncio
import logging
import re
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

import asyncpg

from chassis.database import Connection

log = logging.getLogger(__name__)
CODE = 1
"""The version of the code that migrations speak of; raised with the first migration that needs it."""

_HEAD = re.compile(r"-- requires code >= (\d+)")


class WrongSchema(Exception):
    """The schema is not the one this code needs; the message says what to do."""


@dataclass(frozen=True)
class Migration:
    """One file. `scope` is `chassis` or the service."""

    scope: str
    name: str
    requires: int
    sql: str


def found(scope: str, folder: Traversable) -> list[Migration]:
    """The migrations of a folder, in order. Raises `ValueError` for a file that does not say what it requires."""
    migrations = []
    for file in sorted(folder.iterdir(), key=lambda each: each.name):
        if not re.fullmatch(r"\d{4}_[a-z0-9_]+\.sql", file.name):
            continue
        sql = file.read_text("utf-8")
        head = _HEAD.match(sql)
        if head is None:
            raise ValueError(f"{file.name}: the first line must say what code it requires")
        migrations.append(Migration(scope, file.name, int(head[1]), sql))
    return migrations


def all_of(service: str, folder: Traversable) -> list[Migration]:
    """Chassis' migrations, then the service's."""
    return found("chassis", files("chassis.migrations")) + found(service, folder)


async def apply(owner: "asyncpg.Connection[asyncpg.Record]", service: str, migrations: list[Migration]) -> list[str]:
    """Apply what is missing, each in its own transaction, as the owner. Returns the names applied."""
    await owner.execute("SELECT pg_advisory_lock(hashtext('chassis.migrate'))")
    try:
        await owner.execute(
            "CREATE TABLE IF NOT EXISTS public.migrations (scope text, name text, requires int NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (scope, name))"
        )
        await owner.execute(f'GRANT SELECT ON public.migrations TO "{service}"')
        done = {(row["scope"], row["name"]) for row in await owner.fetch("SELECT scope, name FROM public.migrations")}
        applied = []
        for migration in migrations:
            if (migration.scope, migration.name) in done:
                continue
            async with owner.transaction():
                sql = migration.sql.replace(":runtime", f'"{service}"').replace(":owner", f'"{service}_owner"')
                await owner.execute(sql)
                done_now = "INSERT INTO public.migrations (scope, name, requires) VALUES ($1, $2, $3)"
                await owner.execute(done_now, migration.scope, migration.name, migration.requires)
            applied.append(f"{migration.scope}/{migration.name}")
        return applied
    finally:
        await owner.execute("SELECT pg_advisory_unlock(hashtext('chassis.migrate'))")


async def check(tx: Connection, migrations: list[Migration]) -> None:
    """Raises `WrongSchema` where the schema lacks what this code needs, or has what it is too old for."""
    if not await tx.fetchval("SELECT to_regclass('public.migrations')"):
        raise WrongSchema("migrations missing: all")
    rows = await tx.fetch("SELECT scope, name, requires FROM public.migrations")
    if (needed := max((row["requires"] for row in rows), default=0)) > CODE:
        raise WrongSchema(f"the schema needs newer code: {needed} or higher, and this is {CODE}")
    done = {(row["scope"], row["name"]) for row in rows}
    if missing := [f"{each.scope}/{each.name}" for each in migrations if (each.scope, each.name) not in done]:
        raise WrongSchema(f"migrations missing: {', '.join(missing)}")


async def connect(url: str, patience: float = 60) -> "asyncpg.Connection[asyncpg.Record]":
    """A connection for migrating; waits up to `patience` seconds for the server."""
    async with asyncio.timeout(patience):
        while True:
            try:
                return await asyncpg.connect(url)
            except (OSError, asyncpg.CannotConnectNowError):
                log.info("waiting for the database")
                await asyncio.sleep(0.5)
