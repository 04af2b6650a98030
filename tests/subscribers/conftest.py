"""The five subscribers of the platform, each as its service makes it, on its own topics and with its own rights."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from confluent_kafka import TopicPartition as AdminPartition
from confluent_kafka.admin import AdminClient
from uuid_utils.compat import uuid7

import accounts.app
import accounts.settings
import audit.app
import audit.settings
import consent.app
import consent.settings
import dsr.app
import dsr.settings
import notifier.app
import notifier.settings
from chassis.app.runtime import App, Runtime, kafka
from chassis.app.service import Service
from chassis.consumer import Handlers, Received, Record
from chassis.database import Connection
from chassis.settings import Settings
from chassis.testing import Database, record, until
from local_stack import servers as local_servers
from local_stack.servers import Servers
from privacy_contracts import EVENTS, Event
from privacy_contracts.topology import topics

EXAMPLES = Path(__file__).parents[2] / "contracts" / "examples"
REQUESTS = [uuid7() for _ in range(10)]
"""Tests speak of a record by a number: that of its request here, whose id is the record's key."""
OWN_SETTINGS = {"smtp_host": "mail.example.com", "feed_dir": Path("unused")}
"""What single services want beside what all do; the others take no notice."""

Hook = Callable[[int, Connection], Awaitable[None]]


@dataclass(frozen=True)
class Kind:
    """A service: how it is put together, the golden example that it is told, and where its tables show the effect.

    `applied` selects the keys of what was applied, a row for each time, in the order of the commits; `aside` those of
    what could not be read.
    """

    name: str
    build: Callable[[Runtime[Any]], App]
    settings: type[Settings]
    example: str
    applied: str
    aside: str = "SELECT convert_from(key, 'UTF8') AS key FROM chassis.dead_letters ORDER BY id"


ANSWERS = "SELECT key FROM chassis.outbox WHERE topic LIKE 'replies.%' ORDER BY id"
ASKED = "deletion.requested"
TOLD = ("requests", "replies.marketing")
"""The topics of the examples; the audit service reads both."""
KINDS = (
    Kind("consent", consent.app.build, consent.settings.Settings, ASKED, ANSWERS),
    Kind(
        "dsr", dsr.app.build, dsr.settings.Settings, "reply.done", "SELECT request_id AS key FROM replies ORDER BY ctid"
    ),
    Kind("notifier", notifier.app.build, notifier.settings.Settings, ASKED, ANSWERS),
    Kind(
        "audit",
        audit.app.build,
        audit.settings.Settings,
        ASKED,
        "SELECT key FROM entries WHERE payload IS NOT NULL ORDER BY index",
        "SELECT key FROM entries WHERE payload IS NULL ORDER BY index",
    ),
    Kind("accounts", accounts.app.build, accounts.settings.Settings, ASKED, ANSWERS),
)


@dataclass(frozen=True)
class Subscriber:
    """One of them on a fresh database, and the hand that writes to its topics; `admin` has every right."""

    kind: Kind
    runtime: Runtime[Any]
    admin: dict[str, Any] = field(repr=False)
    producer: AIOKafkaProducer

    def good(self, number: int, **changes: Any) -> Record:
        """A genuine record; `changes` as for `chassis.testing.record`."""
        return record(self._event(number), sequence=number, **changes)

    async def tell(self, *records: Record) -> None:
        """Append records as they are, to their partitions."""
        for each in records:
            await self.producer.send(
                self.full(each.topic), each.value, each.key, partition=each.partition, headers=list(each.headers)
            )
        await self.producer.flush()

    @asynccontextmanager
    async def running(self, hook: Hook | None = None) -> AsyncIterator[None]:
        """A member of the group; `hook` runs behind the service's own handler, in its transaction."""
        app = self.kind.build(self.runtime)
        if hook:
            _add(app.handlers, type(self._event(0)), hook)
        task = asyncio.create_task(Service(self.runtime, app, [])._subscription.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def applied(self) -> list[int]:
        """What was applied, in order; twice what was applied twice."""
        return await self._numbers(self.kind.applied)

    async def aside(self) -> list[int]:
        """What was put aside as unreadable: dead letters, or entries without a payload."""
        return await self._numbers(self.kind.aside)

    async def reached(self, count: int) -> list[int]:
        """What was applied, once it is so many."""

        async def enough() -> list[int] | None:
            found = await self.applied()
            return found if len(found) >= count else None

        found: list[int] = await until(enough)
        return found

    async def ends(self, topic: str) -> dict[TopicPartition, int]:
        """Where a topic ends, by partition."""
        async with self._reading() as consumer:
            return await self._ends(consumer, topic)

    async def commit_to_the_end(self) -> None:
        """Have Kafka hold that the group has read everything."""
        async with self._reading(group_id=self.full(self.kind.name)) as consumer:
            ends = await self._ends(consumer, self._event(0).topic)
            consumer.assign(list(ends))
            await consumer.commit(ends)

    def full(self, name: str) -> str:
        """A topic's or a group's name with the prefix."""
        return f"{self.runtime.settings.topic_prefix}{name}"

    def _event(self, number: int) -> Event:
        event = EVENTS[self.kind.example].model_validate_json(
            (EXAMPLES / f"{self.kind.example}.full.json").read_bytes()
        )
        own = {"systems": [self.kind.name]} if self.kind.example == ASKED else {}
        return event.model_copy(update={"request": REQUESTS[number]} | own)

    async def _numbers(self, statement: str) -> list[int]:
        return [REQUESTS.index(UUID(str(row["key"]))) for row in await self.runtime.pool.fetch(statement)]

    @asynccontextmanager
    async def _reading(self, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(**self.admin, **options)
        await consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop()

    async def _ends(self, consumer: AIOKafkaConsumer, topic: str) -> dict[TopicPartition, int]:
        parts = [TopicPartition(self.full(topic), each) for each in range(topics()[topic].partitions)]
        ends: dict[TopicPartition, int] = await consumer.end_offsets(parts)
        return ends


def _add(handlers: Handlers, event: type[Event], hook: Hook) -> None:
    own = handlers.raw_handler

    async def handled(received: Received[Event], tx: Connection) -> None:
        await hook(REQUESTS.index(UUID(received.event.key)), tx)

    async def recorded(records: Sequence[Record], tx: Connection) -> None:
        assert own is not None
        await own(records, tx)
        for each in records:
            await hook(REQUESTS.index(UUID((each.key or b"").decode())), tx)

    handlers.raw(recorded) if own else handlers.reaction(event)(handled)


@pytest.fixture(scope="session")
def prefix(servers: Servers) -> Iterator[str]:
    """Every topic with the rights on it, for all tests here."""
    made = f"s{uuid7().hex[-10:]}."
    local_servers.converge(servers, made)
    yield made
    local_servers.remove_topics(servers, made)


@pytest.fixture(scope="session")
def admin(servers: Servers) -> AdminClient:
    """The cluster's administrator."""
    return local_servers.admin(servers)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
async def subscriber(
    request: pytest.FixtureRequest,
    servers: Servers,
    prefix: str,
    admin: AdminClient,
    database: Database,
    runtime: Callable[..., Runtime[Any]],
) -> AsyncIterator[Subscriber]:
    """Each of the five in turn; what was told before is gone from the topics."""
    kind: Kind = request.param
    told = [AdminPartition(f"{prefix}{name}", each, -1) for name in TOLD for each in range(topics()[name].partitions)]
    for future in admin.delete_records(told).values():
        future.result()
    async with database(kind.name) as pool:
        rights = {"kafka_username": kind.name, "kafka_password": servers.kafka.users[kind.name]}
        short = {"topic_prefix": prefix, "session_timeout_ms": 2_000, "fetch_wait_ms": 100}
        made = runtime(kind.name, pool, kind.settings, **short, **rights, **OWN_SETTINGS)
        every_right = kafka(runtime("admin", pool).settings)
        async with AIOKafkaProducer(**every_right) as producer:
            yield Subscriber(kind, made, every_right, producer)
