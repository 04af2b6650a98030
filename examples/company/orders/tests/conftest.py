"""The order system as its own process, with its own principal's rights, on a real Kafka and a real Postgres."""

import asyncio
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError

from local_stack import DEFAULT_DIRECTORY, ROOT, databases, servers
from local_stack.ports import free_port
from privacy_contracts.accounts import AccountStated
from privacy_contracts.envelope import Event
from privacy_contracts.fields import Personal
from privacy_contracts.replies import Reply, ReplyDone, ReplyNotFound, ReplyRetained
from privacy_contracts.requests import DeletionRequested

from .platform import Platform, playing

REPLIES: dict[str, type[Reply]] = {model.type: model for model in (ReplyDone, ReplyRetained, ReplyNotFound)}
SESSION_MS = 30_000  # long, so that a test fails where a killed process would be waited for

TLS = ssl.create_default_context()  # made once: each client would read all authorities' certificates again


@dataclass
class Answer:
    """A record of `replies.orders`: its headers, its key, and the body, also read by the contract."""

    headers: dict[str, str]
    key: str
    body: bytes
    reply: Reply


@dataclass
class Bench:
    """Everything around the process: its environment, a hand on both servers, and who plays the platform."""

    environment: dict[str, str] = field(repr=False)
    prefix: str
    login: dict[str, Any] = field(repr=False)
    owner_url: str = field(repr=False)
    platform: Platform

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.environment['PORT']}"

    @asynccontextmanager
    async def orders(
        self, ready: bool = True, log: IO[str] | None = None, **extra: str
    ) -> AsyncIterator["subprocess.Popen[bytes]"]:
        """A running order system; killed at the end if it still runs. What it says goes to `log`."""
        env = os.environ | self.environment | extra
        command = [sys.executable, "-m", "orders"]
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)  # noqa: ASYNC220 - a test may wait
        try:
            if ready:
                await until(lambda: self.is_ready(process))
            yield process
            process.send_signal(signal.SIGTERM)
            await until(lambda: _true(process.poll() is not None))
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    async def is_ready(self, process: "subprocess.Popen[bytes]") -> bool:
        assert process.poll() is None
        with suppress(httpx.TransportError):
            async with httpx.AsyncClient(verify=TLS) as http:
                return (await http.get(f"{self.url}/readyz")).status_code == 200
        return False

    async def publish(self, *events: Event, traceparent: str | None = None) -> None:
        """Publish as the platform does, an event each."""
        for event in events:
            headers = {"ce_specversion": "1.0", "ce_id": str(uuid4()), "ce_type": event.type, "ce_source": "test"}
            headers |= {"traceparent": traceparent} if traceparent else {}
            raw: list[tuple[str, bytes | None]] = [(name, value.encode()) for name, value in headers.items()]
            await self.publish_raw(event.topic, event.key.encode(), event.to_bytes(), raw)

    async def publish_raw(
        self, topic: str, key: bytes | None, body: bytes | None, headers: list[tuple[str, bytes | None]]
    ) -> None:
        async with AIOKafkaProducer(**self.login) as producer:
            await producer.send_and_wait(f"{self.prefix}{topic}", body, key, headers=headers)

    async def answers(self, request: UUID) -> list[Answer]:
        """All that stands on `replies.orders` about a request, now."""
        found = []
        async with AIOKafkaConsumer(**self.login) as consumer:
            topic = f"{self.prefix}replies.orders"
            partitions = [TopicPartition(topic, number) for number in range(3)]
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            ends = await consumer.end_offsets(partitions)
            while any([await consumer.position(partition) < end for partition, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    found += [_answer(record) for record in records]
        return [answer for answer in found if answer.reply.request == request]

    async def answered(self, request: UUID, count: int = 1) -> list[Answer]:
        """The answers to a request, once there are `count`."""

        async def enough() -> bool:
            return len(await self.answers(request)) >= count

        await until(enough)
        found = await self.answers(request)
        assert len(found) == count
        return found

    async def rows(self, query: str, *args: object) -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(self.owner_url)
        try:
            return [tuple(row) for row in await connection.fetch(query, *args)]
        finally:
            await connection.close()

    async def holds(self, table: str, account: str) -> int:
        [(count,)] = await self.rows(f"SELECT count(*) FROM {table} WHERE account = $1", account)  # noqa: S608 - names of the test
        return int(count)

    async def customer(self) -> str:
        """A new customer, known to the order system."""
        account = f"a-{uuid4().hex}"
        await self.publish(stated(account))

        async def known() -> bool:
            return await self.holds("customers", account) == 1

        await until(known)
        return account

    @asynccontextmanager
    async def group(self) -> AsyncIterator[tuple["AIOKafkaConsumer[bytes, bytes]", list[TopicPartition]]]:
        """The order system's own place on the partitions of `requests`."""
        async with AIOKafkaConsumer(**self.login, group_id=f"{self.prefix}orders") as consumer:
            partitions = [TopicPartition(f"{self.prefix}requests", number) for number in range(3)]
            consumer.assign(partitions)
            yield consumer, partitions

    async def has_read_all(self) -> bool:
        """Whether it has read all requests that there are."""
        async with self.group() as (consumer, partitions):
            ends = await consumer.end_offsets(partitions)
            return all([(await consumer.committed(partition) or 0) >= end for partition, end in ends.items()])

    async def has_lost_its_offsets(self) -> bool:
        """Set it back to the start of `requests`; False while the group still waits for its member."""
        with suppress(CommitFailedError):
            async with self.group() as (consumer, partitions):
                await consumer.commit(dict.fromkeys(partitions, 0))
                return True
        return False

    async def order(self, account: str | None, **more: object) -> httpx.Response:
        """Order something; without an account, as the guest that `more` names."""
        body: dict[str, object] = {"account": account} if account else {}
        body |= {"item": "Tea", "cents": 990, "ship_to": "1 Sample Street"} | more
        async with httpx.AsyncClient(verify=TLS) as http:
            return await http.post(f"{self.url}/orders", json=body)


def stated(account: str, version: int = 1) -> AccountStated:
    return AccountStated(
        id=account,
        version=version,
        email=Personal("ann@example.com"),
        name=Personal("Ann"),
        registered_at=datetime.now(UTC),
    )


def deletion(account: str | None, *systems: str, request: UUID | None = None, attempt: int = 1) -> DeletionRequested:
    now = datetime.now(UTC)
    return DeletionRequested(
        request=request or uuid4(),
        account=account,
        stage="company",
        systems=list(systems or ("orders",)),
        attempt=attempt,
        reminder=attempt > 1,
        requested_at=now,
        due_at=now + timedelta(days=10),
    )


def _answer(record: "ConsumerRecord[bytes, bytes]") -> Answer:
    headers = {name: value.decode() for name, value in record.headers}
    assert record.value is not None
    assert record.key is not None
    reply = REPLIES[headers["ce_type"]].model_validate_json(record.value)
    return Answer(headers, record.key.decode(), record.value, reply)


async def _true(value: bool) -> bool:
    return value


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 40) -> None:
    """Wait for a condition; fail when it does not come."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - another process brings it about
            await asyncio.sleep(0.05)


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    with playing() as made:
        yield made


@pytest.fixture(scope="session")
def bench(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Topics and rights under a prefix of its own, and a database of its own."""
    found = servers.start(DEFAULT_DIRECTORY / "test")
    prefix, database = f"orders-{uuid4().hex[:8]}.", f"orders_test_{uuid4().hex[:8]}"
    servers.converge(found, prefix)
    postgres = found.postgres
    asyncio.run(databases.create_database(postgres.url, "orders", database))
    urls = {
        role: databases.url(postgres.port, role, postgres.roles[role], database) for role in ("orders", "orders_owner")
    }
    environment = {
        "KAFKA_BOOTSTRAP": found.kafka.bootstrap,
        "KAFKA_USERNAME": "orders",
        "KAFKA_PASSWORD": found.kafka.users["orders"],
        "TOPIC_PREFIX": prefix,
        "DATABASE_URL": urls["orders"],
        "PORT": str(free_port()),
        "SCHEMAS": str(Path(ROOT, "contracts", "schemas")),
        "SESSION_TIMEOUT_MS": str(SESSION_MS),
        "ERASURE_LEDGER": str(tmp_path_factory.mktemp("orders") / "erasures"),
        **platform.environment(),
    }
    migrating = os.environ | environment | {"OWNER_DATABASE_URL": urls["orders_owner"]}
    for _ in range(2):  # any number of times
        subprocess.run([sys.executable, "-m", "orders", "migrate"], env=migrating, check=True)
    login = {
        "bootstrap_servers": found.kafka.bootstrap,
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": found.kafka.admin_username,
        "sasl_plain_password": found.kafka.admin_password,
    }
    yield Bench(environment, prefix, login, urls["orders_owner"], platform)
    asyncio.run(databases.drop_database(postgres.url, database))
    servers.remove_topics(found, prefix)
