"""The two servers of a stack, Postgres and Kafka: started once per folder, shared by all who ask.

Invariant: whoever changes anything in the folder holds its lock, so parallel callers get the same two servers.
"""

import asyncio
import contextlib
import fcntl
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from confluent_kafka.admin import AdminClient

from local_stack import databases, kafka, postgres
from local_stack.passwords import passwords, write_private
from local_stack.ports import LOOPBACK, answers, claim, configured, free_port, is_free, last_ports
from local_stack.processes import Identity, Part, alive, read_pidfile
from privacy_contracts.topology import topics
from privacy_topology import converge as topology
from privacy_topology.converge import Changes
from privacy_topology.generated import DAY_MS, principals

POSTGRES_PORT = "POSTGRES_PORT"
KAFKA_PORT = "KAFKA_PORT"
HALTS = {"kafka": kafka.halt, "postgres": postgres.halt}  # in the order in which they are stopped


@dataclass(frozen=True)
class Postgres:
    """A running Postgres: `url` is the super user's; `roles` maps each service role to its password."""

    host: str
    port: int
    superuser: str
    url: str = field(repr=False)
    roles: dict[str, str] = field(repr=False)


@dataclass(frozen=True)
class Kafka:
    """A running broker, its super user, and the password of each principal (users exist once `converge` ran)."""

    bootstrap: str
    admin_username: str
    admin_password: str = field(repr=False)
    users: dict[str, str] = field(repr=False)


@dataclass(frozen=True)
class Servers:
    """Where the two servers are, and how to enter."""

    directory: str
    postgres: Postgres
    kafka: Kafka

    def to_json(self) -> str:
        """Return all of it, passwords included, as one JSON object."""
        return json.dumps(asdict(self))


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the folder's lock; a process that dies loses it."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def start(
    directory: Path,
    *,
    postgres_port: int | None = None,
    kafka_port: int | None = None,
    kafka_advertised: int | None = None,
    durable: bool = True,
) -> Servers:
    """Start what does not run yet, on the given ports or on free ones, and return both servers.

    Not `durable`, Postgres does not wait for the disk: for tests, which kill processes but not machines. Clients of
    Kafka are told to connect to `kafka_advertised`, where somebody may stand between.

    Raises:
        LocalStackError: a port is in use, or a server did not start.

    """
    directory = directory.resolve()
    with locked(directory):
        users = {f"kafka.{name}": name for name in (kafka.ADMIN, *principals(topics().values()))}
        known = passwords(directory / "passwords.json", [postgres.SUPERUSER, *databases.ROLES, *users])
        wanted = _ports(directory, postgres_port, kafka_port)
        database = _answering(directory, "postgres", wanted["postgres"], POSTGRES_PORT)
        broker = _answering(directory, "kafka", wanted["kafka"], KAFKA_PORT)
        if broker is None:
            password, ports = known[f"kafka.{kafka.ADMIN}"], (wanted["kafka"], wanted["controller"])
            broker = kafka.start(directory / "kafka", *ports, password, kafka_advertised)
        server_url = databases.url(wanted["postgres"], postgres.SUPERUSER, known[postgres.SUPERUSER], "postgres")
        roles = {role: known[role] for role in databases.ROLES}
        if database is None:
            (directory / "roles").unlink(missing_ok=True)
            postgres.start(directory / "postgres", wanted["postgres"], known[postgres.SUPERUSER], durable=durable)
        if not (directory / "roles").exists():
            asyncio.run(databases.create_roles(server_url, roles))
            (directory / "roles").touch()
        kafka.wait_until_ready(broker, directory / "kafka", wanted["kafka"], known[f"kafka.{kafka.ADMIN}"])
    scram = {name: known[key] for key, name in users.items()}
    return Servers(
        str(directory),
        Postgres(LOOPBACK, wanted["postgres"], postgres.SUPERUSER, server_url, roles),
        Kafka(f"{LOOPBACK}:{wanted['kafka']}", kafka.ADMIN, scram.pop(kafka.ADMIN), scram),
    )


def converge(servers: Servers, prefix: str, *, compaction_lag_ms: int = DAY_MS) -> Changes:
    """Create topics, ACLs and users under a prefix, exactly as `topics.toml` says."""
    return topology.converge(admin(servers), prefix, passwords=servers.kafka.users, compaction_lag_ms=compaction_lag_ms)


def remove_topics(servers: Servers, prefix: str) -> None:
    """Delete the topics, and the rights, of a deployment, once it is stopped."""
    client = admin(servers)
    topology.apply(client, topology.differences(client, {}, frozenset(), prefix), replication=1)
    names = [name for name in client.list_topics(timeout=10.0).topics if name.startswith(prefix)]
    for future in client.delete_topics(names).values() if names else ():
        future.result()


def admin(servers: Servers) -> AdminClient:
    """Return a client with the super user's rights."""
    return AdminClient(
        kafka.client_configuration(servers.kafka.bootstrap, servers.kafka.admin_username, servers.kafka.admin_password)
    )


def halt(directory: Path) -> None:
    """Stop both servers of the folder; their data stays."""
    with locked(directory):
        for name, stop in HALTS.items():
            stop(running(directory, name))


def running(directory: Path, name: str) -> Identity | None:
    """Return the folder's `postgres` or `kafka`, None when it does not run."""
    if name == "postgres":
        return postgres.running(directory / "postgres")
    identity = read_pidfile(directory / "kafka" / "pid")
    return identity if alive(identity) else None


def parts(directory: Path) -> list[Part]:
    """Return how the two servers of a folder fare. It only looks."""
    return [_part(name, running(directory, name), last_ports(directory).get(name)) for name in HALTS]


def _part(name: str, identity: Identity | None, port: int | None) -> Part:
    if identity is None or port is None:
        return Part(name, None, "", "it does not run")
    return Part(name, identity.pid, f"{LOOPBACK}:{port}", None if answers(port) else "it does not answer")


def _answering(directory: Path, name: str, port: int, variable: str) -> Identity | None:
    """Return the server if it answers; otherwise it is stopped, and the port is free for another start."""
    identity = running(directory, name)
    if identity is not None and answers(port):
        return identity
    HALTS[name](identity)
    claim(name.capitalize(), port, variable)
    return None


def _ports(directory: Path, postgres_port: int | None, kafka_port: int | None) -> dict[str, int]:
    """Return the ports: those asked for, else those of a running server, else last time's if free, else free ones."""
    last = last_ports(directory)
    asked = {
        "postgres": postgres_port or configured(POSTGRES_PORT),
        "kafka": kafka_port or configured(KAFKA_PORT),
        "controller": None,
    }
    chosen = {}
    for name, port in asked.items():
        runs = running(directory, "kafka" if name == "controller" else name)
        usable = last.get(name) if name in last and (runs or is_free(last[name])) else None
        chosen[name] = port or usable or free_port()
    if chosen != last:
        write_private(directory / "ports.json", json.dumps(chosen))
    return chosen
