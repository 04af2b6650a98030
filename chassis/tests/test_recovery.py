"""A database and a Kafka of different ages are found out, told, and brought together by a command."""

import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka.admin import AdminClient, NewTopic

from chassis.app import App
from chassis.app.recovery import CannotRebuild, OutOfStep, check, recover
from chassis.app.runtime import Runtime, kafka
from chassis.consumer import Received
from chassis.database import Connection, transaction
from chassis.outbox import Relay, emit
from chassis.testing import START, until
from privacy_contracts.requests import RequestWithdrawn

from .conftest import Processes, published
from .sample import SERVICE, Sample
from .test_outbox import running

WHO = {"actor": "staff/operator-01", "reason": "restored"}
Publish = Callable[[int], Awaitable[list[str]]]


@pytest.fixture
def own_topics(admin: AdminClient, prefix: str) -> None:
    """Two of the topics that the sample's principal writes."""
    new = [NewTopic(prefix + name, num_partitions=3, replication_factor=1) for name in ("requests", "accesses.dsr")]
    for future in admin.create_topics(new).values():
        future.result()


@pytest.fixture
async def publish(rt: Runtime[Any], own_topics: None) -> Publish:
    """Publish so many events on `requests`; gives the ids of these, in their order."""

    async def events(many: int) -> list[str]:
        ids = []
        async with transaction(rt.pool) as tx:
            for _ in range(many):
                event = RequestWithdrawn(request=uuid4(), account="a1", withdrawn_at=START)
                ids.append(str(await emit(tx, event, START)))
        async with running(Relay(rt.pool, SERVICE, rt.settings.topic_prefix, "one", kafka(rt.settings), in_step(rt))):
            await until(lambda: is_empty(rt))
        return ids

    return events


def in_step(rt: Runtime[Any]) -> Callable[[], Awaitable[None]]:
    return lambda: check(SERVICE, rt.settings, rt.pool)


async def is_empty(rt: Runtime[Any]) -> bool:
    return bool(await rt.pool.fetchval("SELECT count(*) = 0 FROM chassis.outbox"))


async def last(rt: Runtime[Any], number: int) -> None:
    """Have the database of another time: this is the last number that it gave."""
    await rt.pool.execute("UPDATE chassis.sequences SET last = $1 WHERE topic = 'requests'", number)


async def numbers(rt: Runtime[Any]) -> list[int]:
    return sorted(int(each.header("ce_sequence") or 0) for each in await published(rt, "requests"))


async def keys(rt: Runtime[Any]) -> dict[str, str]:
    """The key of each event on `requests`, by its id."""
    return {each.header("ce_id") or "": (each.key or b"").decode() for each in await published(rt, "requests")}


class Restated:
    """Notes what it is given, and says that all of it is there again."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    async def __call__(self, received: Received[Any], tx: Connection) -> bool:
        self.ids.append(received.id)
        return True

    @property
    def app(self) -> App:
        """A service that brings itself forward so."""
        return App(routers=[], handlers=Sample().handlers, restate=self)


async def test_nothing_published_and_everything_published_are_of_one_age(rt: Runtime[Any], publish: Publish) -> None:
    await check(SERVICE, rt.settings, rt.pool)
    await publish(7)
    await check(SERVICE, rt.settings, rt.pool)
    assert await recover(rt, Restated().app, WHO, None) == []
    assert await is_empty(rt)


async def test_what_a_crash_leaves_is_of_one_age(rt: Runtime[Any], publish: Publish) -> None:
    """Numbers that were given and not published, and events that were published and not deleted."""
    ids = await publish(5)
    await rt.pool.execute(
        "INSERT INTO chassis.outbox (event_id, topic, key, headers, body, sequence)"
        " SELECT $1::uuid, 'requests', 'k', '{}'::jsonb, ''::bytea, n FROM generate_series(5, 6) AS n",
        ids[4],
    )
    await last(rt, 6)
    await check(SERVICE, rt.settings, rt.pool)


async def test_records_that_are_not_the_relays_do_not_count(rt: Runtime[Any], publish: Publish) -> None:
    await publish(3)
    producer = AIOKafkaProducer(**kafka(rt.settings))
    await producer.start()
    planted = [("ce_source", SERVICE.encode()), ("ce_id", b"planted"), ("ce_sequence", b"1")]
    for number in range(90):
        await producer.send(rt.settings.topic_prefix + "requests", b"", None, partition=number % 3, headers=planted)
    await producer.stop()
    await check(SERVICE, rt.settings, rt.pool)
    await last(rt, 4)
    with pytest.raises(OutOfStep, match=r"Kafka is older than the database \(requests at 4 here, 3 there\)"):
        await check(SERVICE, rt.settings, rt.pool)


async def test_an_older_database_publishes_nothing_and_is_brought_forward(rt: Runtime[Any], publish: Publish) -> None:
    """It was saved when 3 were published and the fourth waited in the outbox; 5 and 6 it never knew."""
    ids = await publish(6)
    await last(rt, 3)
    async with transaction(rt.pool) as tx:
        waiting = await emit(tx, RequestWithdrawn(request=uuid4(), account="a1", withdrawn_at=START), START)
        same = (ids[3], (await keys(rt))[ids[3]], waiting)
        await tx.execute("UPDATE chassis.outbox SET event_id = $1::uuid, key = $2 WHERE event_id = $3", *same)
    relay = Relay(rt.pool, SERVICE, rt.settings.topic_prefix, "one", kafka(rt.settings), in_step(rt))
    async with running(relay):
        await until(lambda: _is(relay.problem == "waiting: OutOfStep"))
    assert await numbers(rt) == [1, 2, 3, 4, 5, 6]

    looked, done = Restated(), Restated()
    only_told = await recover(rt, looked.app, None, None)
    assert await rt.pool.fetchval("SELECT last FROM chassis.sequences") == 3
    told = await recover(rt, done.app, WHO, None)

    assert told == only_told
    assert [each["id"] for each in told if "id" in each] == looked.ids == done.ids == ids[4:]
    assert told[-1] == {"topic": "requests", "database": 3, "log": 6}
    [event] = await rt.pool.fetch("SELECT headers, body FROM chassis.outbox")
    assert event["headers"]["ce_type"] == "service.recovered"
    assert json.loads(event["body"])["topics"] == [told[-1]]
    await publish(1)
    assert await numbers(rt) == [1, 2, 3, 4, 5, 6, 7]


async def _is(said: bool) -> bool:
    return said


async def test_what_compaction_took_since_is_not_published_behind_its_successors(
    rt: Runtime[Any], publish: Publish
) -> None:
    """The outbox of the backup holds an older event of a key of which a newer one stands there, and one never sent."""
    ids = await publish(3)
    known, older, unpublished = await keys(rt), uuid4(), uuid4()
    for event, key in ((older, known[ids[1]]), (ids[2], known[ids[2]]), (unpublished, known[ids[2]])):
        await rt.pool.execute(
            "INSERT INTO chassis.outbox (event_id, topic, key, headers, body) VALUES ($1, 'requests', $2, '{}', '')",
            *(event, key),
        )
    await last(rt, 1)
    restated = Restated()
    await recover(rt, restated.app, WHO, None)
    assert restated.ids == [ids[1]]
    left = await rt.pool.fetch("SELECT event_id FROM chassis.outbox WHERE topic = 'requests'")
    assert [row["event_id"] for row in left] == [unpublished]


async def test_a_kafka_that_lost_events_is_numbered_on_and_read_where_somebody_says(
    rt: Runtime[Any], publish: Publish
) -> None:
    await publish(2)
    await last(rt, 5)
    await rt.pool.execute("INSERT INTO chassis.positions VALUES ('letters', 0, 5), ('letters', 1, 0)")
    with pytest.raises(CannotRebuild, match="--read-on"):
        await recover(rt, Restated().app, WHO, None)
    told = await recover(rt, Restated().app, WHO, "end")
    assert told == [
        {"topic": "requests", "database": 5, "log": 2},
        {"topic": "letters", "partition": 0, "was": 5, "now": 0},
    ]
    assert await rt.pool.fetchval("SELECT next_offset FROM chassis.positions WHERE partition = 0") == 0
    await publish(1)
    assert await numbers(rt) == [1, 2, 6]


async def test_a_service_of_another_age_serves_nothing_and_says_what_to_do(
    rt: Runtime[Any], publish: Publish, process: Processes, environment: dict[str, str]
) -> None:
    await publish(2)
    await last(rt, 1)
    url = f"http://127.0.0.1:{environment['PORT']}"
    async with httpx.AsyncClient() as client:

        async def says(words: str) -> bool:
            try:
                answer = await client.get(f"{url}/readyz")
            except httpx.TransportError:
                return False
            return words in answer.json()["missing"].get("service", "") or (words == "" and answer.status_code == 200)

        serving = await process("serve")
        told = (
            "the database is older than Kafka (requests at 1 here, 2 there): stop dsr, then run `python -m dsr recover`"
        )
        await until(lambda: says(told), 60)
        assert (await client.get(f"{url}/boom")).status_code == 503
        serving.terminate()
        await serving.communicate()
        looked = await (await process("recover")).communicate()
        assert b"nothing is changed: give --operator" in looked[0]
        done = await process("recover", "--operator", "operator-01")
        assert (b"recovered" in (await done.communicate())[0], done.returncode) == (True, 0)
        await process("serve")
        await until(lambda: says(""), 60)
