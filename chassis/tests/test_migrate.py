"""Migrations: in order, once, one at a time; too new refused, missing waited for."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from chassis import migrate
from chassis.database import Connection
from local_stack import databases
from local_stack.servers import Servers

SERVICE = "consent"
Owner = Connection


@pytest.fixture
async def url(servers: Servers) -> AsyncIterator[str]:
    """The address of an empty database, for its owner."""
    name = f"test_migrate_{uuid7().hex[-12:]}"
    await databases.create_database(servers.postgres.url, SERVICE, name)
    role = f"{SERVICE}_owner"
    yield databases.url(servers.postgres.port, role, servers.postgres.roles[role], name)
    await databases.drop_database(servers.postgres.url, name)


def write(folder: Path, **files: str) -> list[migrate.Migration]:
    for name, sql in files.items():
        (folder / f"{name.removeprefix('m')}.sql").write_text(sql)
    return migrate.found(SERVICE, folder)


FIRST = "-- requires code >= 1\nCREATE TABLE things (n int); GRANT SELECT ON things TO :runtime;"
SECOND = "-- requires code >= 1\nALTER TABLE things ADD COLUMN m int; INSERT INTO things VALUES (1, 2);"


async def test_files_are_applied_in_order_and_once(url: str, tmp_path: Path) -> None:
    owner = await migrate.connect(url)
    wanted = write(tmp_path, m0002_second=SECOND, m0001_first=FIRST)
    with pytest.raises(migrate.WrongSchema, match="migrations missing: all"):
        await migrate.check(owner, wanted)
    assert await migrate.apply(owner, SERVICE, wanted[:1]) == ["consent/0001_first.sql"]
    with pytest.raises(migrate.WrongSchema, match="migrations missing: consent/0002_second"):
        await migrate.check(owner, wanted)
    assert await migrate.apply(owner, SERVICE, wanted) == ["consent/0002_second.sql"]
    assert await migrate.apply(owner, SERVICE, wanted) == []
    assert await owner.fetchval("SELECT m FROM things") == 2
    await owner.close()


async def test_two_at_a_time_apply_each_file_once(url: str, tmp_path: Path) -> None:
    wanted = write(tmp_path, m0001_first=FIRST, m0002_second=SECOND)
    owners = [await migrate.connect(url) for _ in range(3)]
    applied = await asyncio.gather(*(migrate.apply(owner, SERVICE, wanted) for owner in owners))
    assert sorted(map(len, applied)) == [0, 0, 2]
    for owner in owners:
        await owner.close()


async def test_a_file_that_fails_leaves_nothing_and_can_be_mended(url: str, tmp_path: Path) -> None:
    owner = await migrate.connect(url)
    wanted = write(tmp_path, m0001_first=FIRST, m0002_second=SECOND + " SELECT 1 / 0;")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate.apply(owner, SERVICE, wanted)
    assert await owner.fetchval("SELECT count(*) FROM things") == 0
    mended = write(tmp_path, m0002_second=SECOND)
    assert await migrate.apply(owner, SERVICE, mended) == ["consent/0002_second.sql"]
    await owner.close()


async def test_code_that_is_too_old_for_the_schema_refuses(url: str, tmp_path: Path) -> None:
    owner = await migrate.connect(url)
    future = f"-- requires code >= {migrate.CODE + 1}\nSELECT 1;"
    await migrate.apply(owner, SERVICE, write(tmp_path, m0001_future=future))
    with pytest.raises(migrate.WrongSchema, match="needs newer code"):
        await migrate.check(owner, [])
    await owner.close()


def test_a_file_says_what_code_it_requires(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"0001_first\.sql"):
        write(tmp_path, m0001_first="SELECT 1;")
    (tmp_path / "0001_first.sql").write_text(FIRST)
    (tmp_path / "readme.txt").write_text("not a migration")
    assert [each.name for each in migrate.found(SERVICE, tmp_path)] == ["0001_first.sql"]


async def test_the_runtime_role_may_not_change_the_schema(url: str, servers: Servers, tmp_path: Path) -> None:
    owner = await migrate.connect(url)
    await migrate.apply(owner, SERVICE, migrate.all_of(SERVICE, tmp_path) + write(tmp_path, m0001_first=FIRST))
    await owner.close()
    name = url.rsplit("/", 1)[1]
    runtime = await asyncpg.connect(
        databases.url(servers.postgres.port, SERVICE, servers.postgres.roles[SERVICE], name)
    )
    assert await runtime.fetch("SELECT n FROM things") == []
    for statement in (
        "CREATE TABLE chassis.mine (n int)",
        "DROP TABLE chassis.outbox",
        "TRUNCATE chassis.outbox",
        "INSERT INTO things VALUES (1)",
        "DELETE FROM public.migrations",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await runtime.execute(statement)
    await runtime.close()


async def test_the_inbox_gets_a_partition_for_each_day_and_loses_the_old(url: str, tmp_path: Path) -> None:
    owner = await migrate.connect(url)
    await migrate.apply(owner, SERVICE, migrate.all_of(SERVICE, tmp_path))
    await owner.execute(
        "CREATE TABLE chassis.inbox_20200101 PARTITION OF chassis.inbox"
        " FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')"
    )
    await owner.execute("SELECT chassis.roll_inbox()")
    days = await owner.fetchval("SELECT count(*) FROM pg_inherits WHERE inhparent = 'chassis.inbox'::regclass")
    assert days == 9
    await owner.execute("INSERT INTO chassis.inbox (source, id, seen) VALUES ('a', 'b', current_date + 6)")
    assert await owner.fetchval("SELECT to_regclass('chassis.inbox_20200101')") is None
    await owner.close()


async def test_it_waits_for_its_server(servers: Servers) -> None:
    with pytest.raises(TimeoutError):
        await migrate.connect("postgresql://nobody@127.0.0.1:1/none", patience=0.1)
