"""What the service's own role cannot do to the record, tried as that role."""

import asyncpg
import pytest

from local_stack.servers import Servers

from .conftest import Service
from .records import record


async def filled(audit: Service) -> None:
    await audit.take(record(source="orders"), record())
    await audit.pool.execute("INSERT INTO audit.resolutions VALUES (1, 'arrived', now())")


async def refused(audit: Service, statement: str) -> None:
    try:
        await audit.pool.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        return
    pytest.fail(f"not refused: {statement}")


@pytest.mark.promise(76)
async def test_nothing_recorded_can_be_changed(audit: Service) -> None:
    await filled(audit)
    for table, column in (("entries", "subject"), ("findings", "kind"), ("resolutions", "reason")):
        for statement in ("UPDATE {0} SET {1} = {1}", "DELETE FROM {0}", "TRUNCATE {0} CASCADE"):
            await refused(audit, statement.format(f"audit.{table}", column))
    assert await audit.rows() == [(0,), (1,)]


@pytest.mark.promise(76)
async def test_the_role_may_read_and_append_and_no_more(audit: Service) -> None:
    """The trigger refuses the rest with the same words, so the rights are looked at by themselves."""
    for table in ("entries", "findings", "resolutions"):
        rights = await audit.pool.fetch(
            "SELECT p FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES']) AS p"
            " WHERE CASE WHEN p IN ('DELETE', 'TRUNCATE') THEN has_table_privilege($1, p)"
            " ELSE has_any_column_privilege($1, p) END",
            f"audit.{table}",
        )
        assert [row["p"] for row in rights] == ["SELECT", "INSERT"], table


GUARDS = (
    "INSERT INTO audit.entries SELECT * FROM audit.entries WHERE index = 0"
    " ON CONFLICT (index) DO UPDATE SET subject = 'account/other'",
    "MERGE INTO audit.entries AS e USING (SELECT 1) AS s ON true WHEN MATCHED THEN DELETE",
    "SELECT 1 FROM audit.entries FOR UPDATE",
    "ALTER TABLE audit.entries DISABLE TRIGGER append_only",
    "ALTER TABLE audit.entries DISABLE TRIGGER ALL",
    "DROP TRIGGER append_only ON audit.entries",
    "DROP TABLE audit.entries",
    "ALTER TABLE audit.entries OWNER TO audit",
    "CREATE RULE r AS ON INSERT TO audit.entries DO INSTEAD NOTHING",
    "CREATE OR REPLACE FUNCTION audit.refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "CREATE OR REPLACE FUNCTION audit.grow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "CREATE TABLE audit.log_state_2 (size bigint)",
    "SET session_replication_role = replica",
    "SET ROLE audit_owner",
    "SET SESSION AUTHORIZATION audit_owner",
    "UPDATE audit.log_state SET size = 0",
    "DELETE FROM audit.log_state",
    "DELETE FROM audit.tracks",
    "CREATE SCHEMA other",
    "CREATE TEMP TABLE log_state (size bigint)",
)


async def test_the_guards_cannot_be_taken_away(audit: Service) -> None:
    await filled(audit)
    before = await audit.rows("index, subject, body_hash")
    for statement in GUARDS:
        await refused(audit, statement)
    assert await audit.rows("index, subject, body_hash") == before
    assert await audit.pool.fetchval("SELECT size FROM audit.log_state") == 2


async def test_granting_itself_more_gives_it_nothing(audit: Service) -> None:
    """Postgres answers such a GRANT with a warning, not an error."""
    await filled(audit)
    await audit.pool.execute("GRANT ALL ON audit.entries TO audit WITH GRANT OPTION")
    await refused(audit, "DELETE FROM audit.entries")


COPY = (
    "INSERT INTO audit.entries SELECT {index}, topic, partition, \"offset\" + 1000, key, ce_source, ce_id || 'x',"
    " ce_type, subject, request, ce_time, sequence, broker_time, recorded_at, headers, payload, omitted, body_hash,"
    " foreign_source FROM audit.entries WHERE {where}"
)


async def test_a_gap_cannot_be_written(audit: Service) -> None:
    await filled(audit)
    for index, where in (
        ("index + 10", "index = 0"),
        ("index + 3", "true"),
        ("2 + 2 * index", "true"),
        ("-1", "index = 0"),
    ):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await audit.pool.execute(COPY.format(index=index, where=where))
    assert await audit.rows() == [(0,), (1,)]


async def test_even_a_stray_insert_continues_the_record(audit: Service) -> None:
    await filled(audit)
    await audit.pool.execute(COPY.format(index="index + 2", where="true"))
    await audit.take(record())
    assert await audit.rows() == [(index,) for index in range(5)]


async def test_the_owner_does_not_change_it_in_passing(audit: Service, servers: Servers) -> None:
    """The owner can take the guard away; but no statement of its changes the record while the guard stands."""
    await filled(audit)
    name = await audit.pool.fetchval("SELECT current_database()")
    owner = await asyncpg.connect(servers.postgres.url, database=name)
    try:
        await owner.execute("SET ROLE audit_owner")
        for statement in (
            "UPDATE audit.entries SET key = 'x'",
            "DELETE FROM audit.entries",
            "TRUNCATE audit.entries CASCADE",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await owner.execute(statement)
    finally:
        await owner.close()
    assert await audit.rows() == [(0,), (1,)]


async def test_the_role_owns_nothing_and_is_nobody_special(audit: Service) -> None:
    role = await audit.pool.fetchrow(
        "SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication FROM pg_roles"
        " WHERE rolname = current_user"
    )
    assert role is not None
    assert not any(role)
    assert await audit.pool.fetchval("SELECT count(*) FROM pg_class WHERE relowner = current_user::regrole") == 0
    assert not await audit.pool.fetchval("SELECT pg_has_role('audit_owner', 'MEMBER')")
