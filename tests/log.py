"""Kafka as it stands: every record with its bytes, read with the auditor's rights; and records put there by an admin.

Only a super user can write to a topic that is another's; so everything that `publish` writes is what no writer would.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from local_stack.stack import Stack
from privacy_contracts.topology import read_by, topics

READABLE = tuple(topic.name for topic in read_by("audit"))
OURS = "planted-"
"""With this the ids of planted records begin, so that counts of what the systems wrote can leave them out."""

Headers = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True)
class Record:
    """One record; `topic` without the deployment's prefix."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]

    def header(self, name: str) -> str:
        """A header's text, empty where there is none."""
        found = next((value for given, value in self.headers if given == name), None)
        return (found or b"").decode("utf-8", "replace")

    @property
    def type(self) -> str:
        """The event's type."""
        return self.header("ce_type")

    @property
    def id(self) -> str:
        """The writer's name for the event."""
        return self.header("ce_id")

    @property
    def place(self) -> tuple[str, int, int]:
        """Where it stands."""
        return self.topic, self.partition, self.offset

    @property
    def planted(self) -> bool:
        """Whether a test wrote it, and no system."""
        return self.id.startswith(OURS) or not self.id

    @property
    def body(self) -> dict[str, Any]:
        """The body of one that a system wrote."""
        told: dict[str, Any] = json.loads(self.value or b"{}")
        return told


def login(stack: Stack, user: str | None = None) -> dict[str, Any]:
    """How a client of aiokafka enters as a principal, or as the super user."""
    kafka = stack.deployment.servers.kafka
    user = user or kafka.admin_username
    password = kafka.admin_password if user == kafka.admin_username else kafka.users[user]
    return {
        "bootstrap_servers": kafka.bootstrap,
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": user,
        "sasl_plain_password": password,
    }


async def read(stack: Stack, *names: str) -> list[Record]:
    """Everything on these topics, or on all that the audit service may read, in the order of each partition."""
    prefix, counts = stack.deployment.prefix, topics()
    consumer = AIOKafkaConsumer(**login(stack, "audit"), isolation_level="read_committed")
    await consumer.start()
    try:
        wanted = [
            TopicPartition(prefix + name, n) for name in names or READABLE for n in range(counts[name].partitions)
        ]
        consumer.assign(wanted)
        ends = await consumer.end_offsets(wanted)
        starts = await consumer.beginning_offsets(wanted)
        for each, offset in starts.items():
            consumer.seek(each, offset)
        left = {each for each in wanted if starts[each] < ends[each]}
        found: list[Record] = []
        while left:
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                found += [_record(raw, prefix) for raw in batch]
            left = {each for each in left if await consumer.position(each) < ends[each]}
        return sorted(found, key=lambda record: record.place)
    finally:
        await consumer.stop()


def _record(raw: Any, prefix: str) -> Record:
    return Record(raw.topic.removeprefix(prefix), raw.partition, raw.offset, raw.key, raw.value, tuple(raw.headers))


def unique(records: Iterable[Record], kind: str) -> list[Record]:
    """The events of one type that systems wrote, a repeat of the same event left out, in the order of their topic."""
    first: dict[tuple[str, str], Record] = {}
    for record in records:
        if record.type == kind and not record.planted:
            first.setdefault((record.topic, record.id), record)
    return list(first.values())


@dataclass(frozen=True)
class Planted:
    """A record to be put on a topic by somebody who may write everywhere."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers


async def publish(stack: Stack, *planted: Planted) -> list[Record]:
    """Put records on their topics, in this order; returns them as they stand there."""
    producer = AIOKafkaProducer(**login(stack), acks="all")
    await producer.start()
    try:
        placed = []
        for each in planted:
            where = await producer.send_and_wait(
                stack.deployment.prefix + each.topic, each.value, each.key, headers=list(each.headers)
            )
            placed.append(Record(each.topic, where.partition, where.offset, each.key, each.value, tuple(each.headers)))
        return placed
    finally:
        await producer.stop()
