"""What can be seen of a running stack from outside, as those who may see it: mail, rows, records, the audit trail.

Invariant: everything here is read with the rights of a role, a principal or a token of the stack; nothing reads a
service's memory or asks it how it thinks it is doing.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncpg
import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition

from local_stack import LocalStackError
from local_stack.layout import MIGRATED
from local_stack.stack import Stack

T = TypeVar("T")
AUDITOR = "auditor-01"
_IDLE_MS = 500


@dataclass(frozen=True)
class Seen:
    """A record on a topic, as a principal that may read it sees it."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes | None
    headers: dict[str, str]


@dataclass(frozen=True)
class Place:
    """A table that holds a text, and in how many of its rows."""

    database: str
    table: str
    rows: int

    def __str__(self) -> str:
        return f"{self.database}: {self.table}, {self.rows} row{'s' if self.rows > 1 else ''}"


async def until(what: str, condition: Callable[[], Awaitable[T | None]], seconds: float = 30, every: float = 0.1) -> T:
    """The condition's first value that is not None, False or empty, looked at `every` so many seconds.

    Raises:
        LocalStackError: `seconds` passed without one; the message says what was waited for.

    """
    deadline = time.monotonic() + seconds
    while True:
        if value := await condition():
            return value
        if time.monotonic() > deadline:
            raise LocalStackError(f"{what}: not within {seconds:.0f} s")
        await asyncio.sleep(every)


async def mails(http: httpx.AsyncClient, stack: Stack, to: str | None = None) -> list[dict[str, Any]]:
    """Every message that the mail server took, oldest first; `to` one address."""
    answer = await http.get(f"{stack.url('sink')}/messages", params={"to": to} if to else {})
    found: list[dict[str, Any]] = answer.raise_for_status().json()["messages"]
    return found


async def records(stack: Stack, topic: str, principal: str = "audit") -> list[Seen]:
    """Everything that stands on a topic now, read with a principal's own rights."""
    kafka, prefix = stack.deployment.servers.kafka, stack.deployment.prefix
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="SCRAM-SHA-256",
        sasl_plain_username=principal,
        sasl_plain_password=kafka.users[principal],
        isolation_level="read_committed",
        auto_offset_reset="earliest",  # a seek would race with the reset that an assignment starts
    )
    await consumer.start()
    try:
        numbers = await _partitions(consumer, prefix + topic)
        partitions = [TopicPartition(prefix + topic, number) for number in sorted(numbers)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        seen: list[Seen] = []
        while any([await consumer.position(each) < ends[each] for each in partitions]):
            for batch in (await consumer.getmany(timeout_ms=_IDLE_MS)).values():
                seen += [_seen(raw, topic) for raw in batch]
        return seen
    finally:
        await consumer.stop()


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    await consumer._client.add_topic(topic)
    found: set[int] | None = consumer.partitions_for_topic(topic)
    return found or set()


def _seen(raw: Any, topic: str) -> Seen:
    headers = {name: value.decode("utf-8", "replace") for name, value in raw.headers if value is not None}
    return Seen(topic, raw.partition, raw.offset, (raw.key or b"").decode("utf-8", "replace"), raw.value, headers)


async def newest(stack: Stack, topic: str) -> dict[str, Seen]:
    """The newest record of each key: what a compacted topic keeps."""
    return {each.key: each for each in sorted(await records(stack, topic), key=lambda each: each.offset)}


async def places(stack: Stack, text: str) -> list[Place]:
    """Where a text stands, in any column of any table of any database, as far as each runtime role may look."""
    return (await places_of_each(stack, [text]))[text]


async def places_of_each(stack: Stack, texts: Sequence[str]) -> dict[str, list[Place]]:
    """The same for several texts, each table read once."""
    found: dict[str, list[Place]] = {text: [] for text in texts}
    for service in MIGRATED:
        connection = await asyncpg.connect(stack.database_url(service))
        try:
            tables = await connection.fetch(
                "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) AS name FROM pg_tables"
                " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
                " AND has_table_privilege(quote_ident(schemaname) || '.' || quote_ident(tablename), 'SELECT')"
                " ORDER BY 1"
            )
            for table in tables:
                rows = await connection.fetch(
                    # the name comes from the catalogue, quoted; bytea shows as hex, so its text is looked for too
                    f"WITH told AS MATERIALIZED (SELECT t::text AS row FROM {table['name']} AS t)"  # noqa: S608
                    " SELECT text, count(*) AS rows FROM told JOIN unnest($1::text[]) AS text"
                    " ON row ILIKE '%' || text || '%' OR row ILIKE '%' || encode(text::bytea, 'hex') || '%'"
                    " GROUP BY text",
                    list(texts),
                )
                for each in rows:
                    found[each["text"]].append(Place(service, table["name"], each["rows"]))
        finally:
            await connection.close()
    return found


async def trail(http: httpx.AsyncClient, stack: Stack, **wanted: str) -> list[dict[str, Any]]:
    """The audit entries that an auditor finds, oldest first; `wanted` as the query takes it."""
    headers = {"Authorization": f"Bearer {await token(http, stack, AUDITOR, 'audit')}"}
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        query = wanted | ({"cursor": cursor} if cursor else {})
        page = (await http.get(f"{stack.url('audit')}/v1/entries", params=query, headers=headers)).raise_for_status()
        found += page.json()["entries"]
        cursor = page.json().get("next")
        if cursor is None:
            return found


async def token(http: httpx.AsyncClient, stack: Stack, client: str, audience: str) -> str:
    """A token of one of the issuer's clients for a service."""
    form = {"grant_type": "client_credentials", "audience": audience}
    secret = stack.deployment.secrets[client]
    answer = await http.post(f"{stack.url('issuer')}/token", data=form, auth=(client, secret))
    return str(answer.raise_for_status().json()["access_token"])
