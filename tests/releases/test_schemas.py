"""Schemas only grow: what a release made is there today as it was, and what came since asks nothing of its code."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from chassis import migrate
from chassis.migrate import Migration
from local_stack import databases
from local_stack.servers import Servers

from .archive import unpacked

FOLDERS = {name: f"services/{name}/src/{name}" for name in ("consent", "dsr", "notifier", "audit")}
FOLDERS |= {"accounts": "examples/company/accounts/src/accounts"}
"""The services that migrate by chassis, and where each has its code."""

OURS = "n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' AND NOT c.relispartition"
TABLES = f"FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace AND c.relkind IN ('r', 'p') AND {OURS}"
COLUMNS = (
    "SELECT c.oid::regclass::text, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,"
    f" a.atthasdef OR a.attidentity <> '' {TABLES}"
    " JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
)
RULES = (
    "SELECT c.oid::regclass::text, pg_get_constraintdef(o.oid)"
    f" {TABLES} JOIN pg_constraint AS o ON o.conrelid = c.oid AND o.contype <> 'n'"
    " UNION SELECT c.oid::regclass::text, regexp_replace(pg_get_indexdef(i.indexrelid), ' INDEX \\S+', '')"
    f" {TABLES} JOIN pg_index AS i ON i.indrelid = c.oid AND i.indisunique AND NOT i.indisprimary"
)
RIGHTS = (
    "SELECT c.oid::regclass::text, a.attname::text, p.privilege"
    f" {TABLES} JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
    " CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p (privilege)"
    " WHERE CASE privilege WHEN 'DELETE' THEN has_table_privilege($1, c.oid, privilege)"
    " ELSE has_column_privilege($1, c.oid, a.attnum, privilege) END"
)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of release 1."""
    return unpacked(1, tmp_path_factory.mktemp("release"))


def migrations(service: str, old: Path) -> tuple[list[Migration], list[Migration]]:
    """Those of the release, and today's."""
    folders = {"chassis": old / "chassis/src/chassis", service: old / FOLDERS[service]}
    then = [each for scope, folder in folders.items() for each in migrate.found(scope, folder / "migrations")]
    return then, migrate.all_of(service, files(f"{service}.migrations"))


@asynccontextmanager
async def migrated(
    servers: Servers, service: str, wanted: list[Migration]
) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A database with this schema, as its owner sees it."""
    name, postgres, role = f"test_schema_{uuid7().hex[-12:]}", servers.postgres, f"{service}_owner"
    await databases.create_database(postgres.url, service, name)
    try:
        owner = await asyncpg.connect(databases.url(postgres.port, role, postgres.roles[role], name))
        try:
            await migrate.apply(owner, service, wanted)
            yield owner
        finally:
            await owner.close()
    finally:
        await databases.drop_database(postgres.url, name)


@pytest.mark.parametrize("service", FOLDERS)
def test_what_a_release_migrated_with_is_never_edited(service: str, old: Path) -> None:
    then, today = migrations(service, old)
    assert [each for each in then if each not in today] == []


@pytest.mark.parametrize("service", FOLDERS)
async def test_todays_schema_holds_that_of_a_release_and_asks_nothing_more(
    service: str, old: Path, servers: Servers
) -> None:
    then, today = migrations(service, old)
    async with migrated(servers, service, then) as before, migrated(servers, service, today) as after:
        was, now = [{row[:2]: row[2:] for row in await each.fetch(COLUMNS)} for each in (before, after)]
        tables = {table for table, _ in was}
        for column, (type_, needed, given) in was.items():
            assert column in now
            assert now[column][0] == type_, column
            assert now[column][1] <= needed, f"{column} must not be null now"
            assert now[column][2] >= given, f"{column} had a default"
        new = {column: how for column, how in now.items() if column[0] in tables and column not in was}
        assert [column for column, (_, needed, given) in new.items() if needed and not given] == []
        ruled, rules = [{tuple(row) for row in await each.fetch(RULES)} for each in (before, after)]
        assert {rule for rule in rules - ruled if rule[0] in tables} == set()
        may, might = [{tuple(row) for row in await each.fetch(RIGHTS, service)} for each in (after, before)]
        assert might - may == set()
