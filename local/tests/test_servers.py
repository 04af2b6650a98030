"""The two servers: shared by parallel callers, private to each role, back after a crash."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from confluent_kafka.admin import AdminClient

from local_stack import DEFAULT_DIRECTORY, LocalStackError, databases, kafka, servers
from local_stack.ports import LOOPBACK, free_port
from local_stack.processes import kill, read_pidfile, wait_for
from local_stack.servers import Servers


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """A pair of servers that a test may kill."""
    directory = tmp_path_factory.mktemp("servers")
    yield servers.start(directory)
    servers.halt(directory)


def test_parallel_callers_share_one_pair(shared: Servers) -> None:
    command = [sys.executable, "-m", "local_stack", "servers", "--json"]
    callers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]

    assert {caller.communicate(timeout=240)[0].strip() for caller in callers} == {shared.to_json()}


def test_a_broker_that_does_not_answer_writes_down_what_it_does(own: Servers) -> None:
    directory, port = Path(own.directory) / "kafka", int(own.kafka.bootstrap.partition(":")[2])
    identity = read_pidfile(directory / "pid")
    assert identity
    with pytest.raises(LocalStackError, match="Kafka runs and does not answer"):
        kafka.wait_until_ready(identity, directory, port, "another password", seconds=1)
    assert wait_for(lambda: "Full thread dump" in (directory / "kafka.log").read_text(), 20)


async def test_a_role_reaches_its_own_database_and_no_other(shared: Servers) -> None:
    database = f"local_{os.getpid()}"
    await databases.create_database(shared.postgres.url, "dsr", database)
    try:
        for role in ("dsr", "dsr_owner"):
            connection = await asyncpg.connect(_url(shared, role, database))
            assert await connection.fetchval("SELECT current_user") == role
            await connection.close()
        for role, target in (("consent", database), ("consent_owner", database), ("dsr", "postgres")):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await asyncpg.connect(_url(shared, role, target))
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(databases.url(shared.postgres.port, "dsr", "guess", database))
        assert not await databases.create_database(shared.postgres.url, "dsr", database)
    finally:
        await databases.drop_database(shared.postgres.url, database)


async def test_the_runtime_role_makes_no_tables(shared: Servers) -> None:
    database = f"local_ddl_{os.getpid()}"
    await databases.create_database(shared.postgres.url, "dsr", database)
    connection = await asyncpg.connect(_url(shared, "dsr", database))
    try:
        for statement in ("CREATE SCHEMA dsr", "CREATE TABLE public.t (a int)", "CREATE TEMP TABLE t (a int)"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()
        await databases.drop_database(shared.postgres.url, database)


def test_both_are_back_with_their_data_after_a_kill(own: Servers) -> None:
    directory = Path(own.directory)
    servers.converge(own, "kept.")
    for name in servers.HALTS:
        kill(servers.running(directory, name))
    for _ in range(2):  # a look starts nothing
        assert [part.lacking for part in servers.parts(directory)] == ["it does not run"] * 2

    again = servers.start(directory)

    assert again == own
    assert [part.lacking for part in servers.parts(directory)] == [None, None]
    assert "kept.accounts" in servers.admin(again).list_topics(timeout=60).topics
    client = kafka.client_configuration(again.kafka.bootstrap, "dsr", again.kafka.users["dsr"])
    assert "kept.requests" in AdminClient(client).list_topics(timeout=60).topics


def test_the_data_belongs_to_somebody_unprivileged_who_alone_may_enter(own: Servers) -> None:
    data = (Path(own.directory) / "postgres" / "data").stat()

    assert data.st_uid != 0
    assert stat.S_IMODE(data.st_mode) == 0o700


@pytest.mark.parametrize("name", ["passwords.json", "kafka/server.properties"])
def test_passwords_are_in_files_that_only_their_owner_may_read(own: Servers, name: str) -> None:
    assert stat.S_IMODE((Path(own.directory) / name).stat().st_mode) == 0o600


def test_a_repr_shows_no_password(own: Servers) -> None:
    assert own.kafka.admin_password not in repr(own)
    assert own.postgres.roles["dsr"] not in repr(own)
    assert own.postgres.url not in repr(own)


def test_a_busy_port_stops_the_start_and_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        port = other.getsockname()[1]

        with pytest.raises(LocalStackError, match=rf"port {port} for Kafka .* KAFKA_PORT"):
            servers.start(tmp_path, kafka_port=port)


def test_a_busy_port_of_one_leaves_the_other_stopped(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()

        with pytest.raises(LocalStackError, match="POSTGRES_PORT"):
            servers.start(tmp_path, postgres_port=other.getsockname()[1])

    assert [part.pid for part in servers.parts(tmp_path)] == [None, None]


def test_a_cluster_id_may_begin_with_a_hyphen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "uuid4", lambda: UUID(int=0xF8 << 120))

    kafka.halt(kafka.start(tmp_path, free_port(), free_port(), "sample"))

    assert "cluster.id=-A" in (tmp_path / "data" / "meta.properties").read_text()


def test_the_shared_pair_is_where_everyone_looks(shared: Servers) -> None:
    assert Path(shared.directory) == DEFAULT_DIRECTORY / "test"


def _url(shared: Servers, role: str, database: str) -> str:
    return databases.url(shared.postgres.port, role, shared.postgres.roles[role], database)
