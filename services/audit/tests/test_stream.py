"""The service as a process runs it, on a real broker, with its own principal's rights."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest
from aiokafka import AIOKafkaProducer
from fastapi import FastAPI
from pydantic import SecretStr

from audit.app import build
from audit.settings import Settings
from chassis.app import Runtime
from chassis.app.runtime import kafka
from chassis.app.service import Service as Process
from chassis.consumer import Record
from chassis.testing import Database, until
from local_stack.servers import Servers

from .conftest import Service
from .records import deletion, of, raw


@pytest.fixture
async def running(
    database: Database, runtime: Callable[..., Runtime[Settings]], servers: Servers, topic_prefix: str
) -> AsyncIterator[Service]:
    async with database("audit", size=16) as pool:
        made = runtime(
            "audit",
            pool,
            Settings,
            topic_prefix=topic_prefix,
            kafka_username="audit",
            kafka_password=SecretStr(servers.kafka.users["audit"]),
        )
        app = build(made)
        process = Process(made, app, [])

        async def ready() -> bool:
            return not await process.problems()

        async with process.lifespan(FastAPI()):
            await until(ready, 60)
            yield Service(made, app)


async def produce(running: Service, servers: Servers, *records: Record) -> None:
    """Publish as nobody on chassis would: no transaction, any bytes, any partition."""
    settings = running.runtime.settings
    producer = AIOKafkaProducer(
        **kafka(settings)
        | {
            "sasl_plain_username": servers.kafka.admin_username,
            "sasl_plain_password": servers.kafka.admin_password,
        }
    )
    await producer.start()
    try:
        for each in records:
            await producer.send_and_wait(
                settings.topic_prefix + each.topic,
                each.value,
                each.key,
                partition=each.partition,
                headers=list(each.headers),
            )
    finally:
        await producer.stop()


async def test_whatever_stands_on_a_topic_is_recorded(running: Service, servers: Servers) -> None:
    """Given events with poison between them, on several partitions, when the service runs, then each is an entry.

    Its own answer to a deletion comes back as an entry too, numbered by its relay, and is answered by nothing.
    """
    await produce(
        running,
        servers,
        of(deletion(["audit"]), sequence=2, partition=1, id="second"),
        raw("requests", b"\xff\xfe", [("ce_id", None), ("reply_to", b"requests"), ("content-type", b"\xff")]),
        raw("requests", None, key=b"\x00"),
        raw("accounts", b"{", [("content-type", b"application/json")], key=b"a1", partition=5),
        of(deletion(["orders"]), sequence=1, partition=2, id="first"),
        of(deletion(["orders"]), sequence=1, partition=2, id="first"),
    )

    async def recorded() -> bool:
        return len(await running.rows()) >= 6

    await until(recorded, 60)
    rows = await running.rows("index, topic, coalesce(ce_type, '?'), ce_source")
    assert [index for index, *_ in rows] == list(range(6))
    assert sorted(tuple(rest) for _, *rest in rows) == [
        ("accounts", "?", None),
        ("replies.audit", "reply.retained", "audit"),
        ("requests", "?", None),
        ("requests", "?", None),
        ("requests", "deletion.requested", "dsr"),
        ("requests", "deletion.requested", "dsr"),
    ]
    tracks = await running.pool.fetch("SELECT topic, high, missing::text FROM audit.tracks ORDER BY topic")
    assert [tuple(track) for track in tracks] == [("replies.audit", 1, "{}"), ("requests", 2, "{}")]
    assert await running.pool.fetchval("SELECT count(*) FROM chassis.outbox") == 0
    assert await running.kinds() == ["undecodable"] * 3


async def test_the_gap_check_runs_in_a_running_service(running: Service) -> None:
    """Given a service that has started, when time passes, then its check has set itself again, 15 s ahead."""

    async def ahead() -> bool:
        due = await running.pool.fetchval("SELECT due_at FROM chassis.timers WHERE kind = 'gaps'")
        return bool(due == running.runtime.clock.now() + timedelta(seconds=15))

    await until(ahead)
