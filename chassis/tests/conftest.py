"""One database and one prefix for all tests of chassis; each test finds both empty."""

import asyncio
import base64
import itertools
import json
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from uuid_utils.compat import uuid7

from chassis import migrate
from chassis.app.runtime import Runtime, kafka
from chassis.consumer.batches import Batches
from chassis.consumer.records import Record
from chassis.consumer.subscription import Subscription, as_record
from chassis.database import Pool, open_pool
from chassis.testing import until
from local_stack import databases
from local_stack import servers as local_servers
from local_stack.ports import free_port
from local_stack.servers import Servers

from .sample import MIGRATIONS, SERVICE, Sample

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def database_url(servers: Servers) -> Iterator[str]:
    """The sample's database, as its runtime role."""
    name, superuser = f"test_chassis_{uuid7().hex[-12:]}", servers.postgres.url
    port, roles = servers.postgres.port, servers.postgres.roles

    async def make() -> None:
        await databases.create_database(superuser, SERVICE, name)
        owner = await asyncpg.connect(databases.url(port, f"{SERVICE}_owner", roles[f"{SERVICE}_owner"], name))
        try:
            await migrate.apply(owner, SERVICE, migrate.all_of(SERVICE, MIGRATIONS))
        finally:
            await owner.close()

    asyncio.run(make())
    yield databases.url(port, SERVICE, roles[SERVICE], name)
    asyncio.run(databases.drop_database(superuser, name))


@pytest.fixture(autouse=True)
async def _debugged() -> None:
    """The event loop checks more than usual where tasks are made and handed over; it costs a quarter of the time."""
    asyncio.get_running_loop().set_debug(True)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    """A pool on the emptied database."""
    made = await open_pool(database_url, SERVICE, 12)
    tables = await made.fetch(
        "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
        " WHERE schemaname IN ('chassis', 'keys', 'dsr') AND tablename NOT LIKE 'inbox\\_%'"
    )
    await made.execute("; ".join("DELETE FROM " + row["name"] for row in tables))  # noqa: S608 - names from the catalogue
    yield made
    made.terminate()


@pytest.fixture
def sample() -> Sample:
    """The sample service."""
    return Sample()


@pytest.fixture(scope="session")
def admin(servers: Servers) -> AdminClient:
    """The cluster's administrator."""
    return local_servers.admin(servers)


@pytest.fixture(scope="session")
def session_prefix(servers: Servers) -> Iterator[str]:
    """What the names of all topics of this run begin with."""
    prefix = f"c{uuid7().hex[-10:]}."
    yield prefix
    local_servers.remove_topics(servers, prefix)


@pytest.fixture
def prefix(admin: AdminClient, session_prefix: str) -> str:
    """A prefix of the test's own, with the sample's two topics."""
    mine = f"{session_prefix}{next(_numbers)}."
    new = [NewTopic(mine + name, num_partitions=3, replication_factor=1) for name in ("letters", "notes")]
    for future in admin.create_topics(new).values():
        future.result()
    return mine


@pytest.fixture
def rt(runtime: Callable[..., Runtime[Any]], pool: Pool, prefix: str) -> Runtime[Any]:
    """The sample's runtime on real servers."""
    return runtime(SERVICE, pool, topic_prefix=prefix)


class Told:
    """Writes to the sample's topics as the tester does."""

    def __init__(self, producer: AIOKafkaProducer, prefix: str) -> None:
        self._producer, self._prefix = producer, prefix

    async def __call__(self, *records: Record) -> None:
        """Append records as they are, to their partition."""
        for each in records:
            await self._producer.send(
                self._prefix + each.topic,
                each.value,
                each.key,
                partition=each.partition,
                headers=list(each.headers),
            )
        await self._producer.flush()


@pytest.fixture
async def tell(rt: Runtime[Any], prefix: str) -> AsyncIterator[Told]:
    """`await tell(record(Letter(...)))`."""
    producer = AIOKafkaProducer(**kafka(rt.settings))
    await producer.start()
    yield Told(producer, prefix)
    await producer.stop()


Subscribed = Callable[..., Any]
SHORT = {"session_timeout_ms": 6000, "fetch_wait_ms": 100}


@pytest.fixture
def subscribed(rt: Runtime[Any], sample: Sample) -> Subscribed:
    """`async with subscribed() as subscription`: a running member of the sample's group; `changes` to its settings."""

    @asynccontextmanager
    async def run(who: Sample = sample, pool: Pool = rt.pool, **changes: Any) -> AsyncIterator[Subscription]:
        batches = Batches(pool, who.handlers, rt.sealing, backoff=(0.01, 0.01), pause=0.05)
        settings = rt.settings.model_copy(update=SHORT | changes)
        subscription = Subscription(batches, SERVICE, settings)
        running = asyncio.create_task(subscription.run())
        try:
            yield subscription
        finally:
            running.cancel()
            await asyncio.wait([running])

    return run


@pytest.fixture
def environment(rt: Runtime[Any], database_url: str, tmp_path: Path) -> dict[str, str]:
    """The environment of the sample as a process of its own."""
    (tmp_path / "masters.json").write_text(json.dumps({"1": base64.b64encode(bytes(32)).decode()}))
    (tmp_path / "company.toml").write_text(COMPANY)
    given = {
        "ENVIRONMENT": "local",
        "INSTANCE": "one",
        "PORT": str(free_port()),
        "PUBLIC_URL": "http://sample.example.com",
        "DATABASE_URL": database_url,
        "KAFKA_BOOTSTRAP": rt.settings.kafka_bootstrap,
        "KAFKA_USERNAME": rt.settings.kafka_username,
        "KAFKA_PASSWORD": rt.settings.kafka_password.get_secret_value(),
        "KAFKA_TLS": "false",
        "TOPIC_PREFIX": rt.settings.topic_prefix,
        "SESSION_TIMEOUT_MS": "1000",
        "ISSUER": "http://127.0.0.1:1",
        "CLIENT_ID": SERVICE,
        "CLIENT_SECRET": "unused",
        "MASTER_KEYS": str(tmp_path / "masters.json"),
        "ERASURE_LEDGER": str(tmp_path / "erasures"),
        "COMPANY": str(tmp_path / "company.toml"),
    }
    return {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"} | given


Processes = Callable[..., Awaitable[Process]]


@pytest.fixture
async def process(environment: dict[str, str]) -> AsyncIterator[Processes]:
    """`await process("serve", CRASH_POINT="...")` starts the sample; what is left running at the end is killed."""
    started: list[Process] = []

    async def start(*arguments: str, script: str = "sample.py", **changes: str) -> Process:
        made = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name(script)),
            *arguments,
            env=environment | changes,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        started.append(made)
        return made

    yield start
    for each in started:
        if each.returncode is None:
            each.kill()
        await each.communicate()


COMPANY = """[company]
name = "Sample Express"
legal_name = "Sample Express, Inc."
website = "https://www.example.com"
time_zone = "UTC"
brand_color = "#000000"
[mail]
sender = "privacy@example.com"
privacy_mailbox = "privacy@example.com"
product_mailbox = "product@example.com"
support_mailbox = "support@example.com"
[post]
postal_address = ["1 Sample Street"]
"""


@asynccontextmanager
async def reading(rt: Runtime[Any], **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """A plain consumer."""
    consumer = AIOKafkaConsumer(**kafka(rt.settings), **options)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def published(rt: Runtime[Any], name: str = "notes") -> list[Record]:
    """Everything that was committed to a topic so far, partition by partition."""
    found: list[Record] = []
    parts = [TopicPartition(rt.settings.topic_prefix + name, each) for each in range(3)]
    async with reading(rt, isolation_level="read_committed", auto_offset_reset="earliest") as consumer:
        consumer.assign(parts)
        ends = await consumer.end_offsets(parts)
        await consumer.seek_to_beginning(*parts)
        while any([await consumer.position(each) < ends[each] for each in parts]):
            for batch in (await consumer.getmany(timeout_ms=100)).values():
                found += [as_record(raw, rt.settings.topic_prefix) for raw in batch]
    return found


async def effects(pool: Pool, name: str | None = None) -> list[int]:
    """The numbers of the effects, in the order of their commits."""
    rows = await pool.fetch("SELECT number FROM dsr.effects WHERE name = coalesce($1, name) ORDER BY id", name)
    return [row["number"] for row in rows]


async def reached(pool: Pool, count: int, seconds: float = 20) -> list[int]:
    """The effects, once there are `count`."""

    async def enough() -> list[int] | None:
        found = await effects(pool)
        return found if len(found) >= count else None

    found: list[int] = await until(enough, seconds)
    return found


async def letters(pool: Pool) -> list[tuple[str | None, int]]:
    """Reasons and offsets of the dead letters."""
    rows = await pool.fetch('SELECT reason, "offset" FROM chassis.dead_letters ORDER BY "offset"')
    return [(row["reason"], row["offset"]) for row in rows]
