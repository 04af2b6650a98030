"""What is done when a fetch fails, a broker falls silent, or the log is not where the position stands."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from confluent_kafka import TopicPartition as AdminPartition
from confluent_kafka.admin import AdminClient

from chassis.app.runtime import Runtime, kafka
from chassis.consumer.records import Record
from chassis.testing import record, until

from .conftest import Subscribed, Told, effects, reached
from .sample import Note, Sample, topic
from .test_subscription import letter, positions, ready


class NoText(str):
    """A name that goes out as bytes which are no text, as some client libraries allow."""

    def encode(self, *_: Any) -> bytes:
        return b"\xff\xfe"


@pytest.mark.parametrize("fetch_wait_ms", [100, 500])
async def test_a_header_name_that_the_client_library_cannot_read_stops_its_topic_and_is_told(
    rt: Runtime[Any],
    tell: Told,
    subscribed: Subscribed,
    sample: Sample,
    monkeypatch: pytest.MonkeyPatch,
    fetch_wait_ms: int,
) -> None:
    from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

    sample.handlers.topics = {**sample.handlers.topics, "notes": topic("notes", "tester")}
    sample.handlers.reaction(Note)(sample.react)
    await tell(letter(1))
    async with subscribed(fetch_wait_ms=fetch_wait_ms) as subscription:
        await reached(rt.pool, 1)
        with monkeypatch.context() as patch:
            for module in ("producer", "message_accumulator"):
                patch.setattr(f"aiokafka.producer.{module}.DefaultRecordBatchBuilder", _DefaultRecordBatchBuilderPy)
            await tell(replace(letter(2), headers=((NoText("x"), b"1"),)))
        await until(lambda: asyncio.sleep(0, "0 is unreadable" in subscription.stopped.get("letters", "")))
        await tell(record(Note(name="n", number=3), source="tester", sequence=1))
        assert await reached(rt.pool, 2) == [1, 3]
    assert (await positions(rt))[0] == 1


async def test_what_a_writer_compresses_is_read_and_what_cannot_be_read_costs_nobody_else_a_record(
    rt: Runtime[Any], tell: Told, subscribed: Subscribed, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client library fails in the middle of a fetch, with other partitions' records in hand."""
    sample.handlers.topics = {**sample.handlers.topics, "notes": topic("notes", "tester")}
    sample.handlers.reaction(Note)(sample.react)
    producer = AIOKafkaProducer(**kafka(rt.settings), compression_type="lz4", linger_ms=50)
    await producer.start()
    compressed = Told(producer, rt.settings.topic_prefix)
    async with subscribed():
        await compressed(*(note(number) for number in range(1, 21)))
        assert await reached(rt.pool, 20) == list(range(1, 21))
    await compressed(*(note(number) for number in range(21, 41)))
    await producer.stop()
    monkeypatch.setattr("aiokafka.codec.has_lz4", lambda: False)
    sent = 0
    async with subscribed() as subscription:
        while "notes" not in subscription.stopped:
            await tell(*(letter(sent := sent + 1, f"k{part}", partition=part) for part in range(3)))
            await asyncio.sleep(0.02)
        await tell(*(letter(sent := sent + 1, f"k{part}", partition=part) for part in range(3)))
        assert len(await reached(rt.pool, 20 + sent)) == 20 + sent
        assert subscription.stopped == {"notes": "0 is unreadable: UnsupportedCodecError"}


def note(number: int) -> Record:
    return record(Note(name="n", number=number), source="tester", sequence=number)


async def test_records_that_expire_while_the_consumer_waits_are_not_passed_over_in_silence(
    rt: Runtime[Any], tell: Told, subscribed: Subscribed, sample: Sample, prefix: str, admin: AdminClient
) -> None:
    async def away(*_: Any) -> None:
        raise OSError("the database went away")

    sample.hook = away
    large = [replace(each, value=(each.value or b"") + b" " * 60_000) for each in map(letter, range(1, 80))]
    await tell(large[0])
    async with subscribed() as subscription:
        await until(lambda: asyncio.sleep(0, "OSError" in (subscription.problem or "")))
        await tell(*large[1:])
        for future in admin.delete_records([AdminPartition(prefix + "letters", 0, 70)]).values():
            future.result()
        sample.hook = None
        await until(
            lambda: asyncio.sleep(0, "is outside the log (70 to 79)" in subscription.stopped.get("letters", ""))
        )
    applied = await effects(rt.pool)
    assert applied == list(range(1, len(applied) + 1))


async def test_a_stopped_topic_keeps_its_position_and_its_age(
    rt: Runtime[Any], tell: Told, subscribed: Subscribed, sample: Sample
) -> None:
    sample.handlers.topics = {**sample.handlers.topics, "notes": topic("notes", "tester")}
    sample.handlers.reaction(Note)(sample.react)
    await tell(*(letter(number, f"k{number}", value=b"{") for number in range(1, 31)))
    async with subscribed() as subscription:
        await until(lambda: asyncio.sleep(0, "letters" in subscription.stopped))
        for number in range(1, 4):
            await tell(note(number))
            await reached(rt.pool, number)
        assert subscription.lag > 0
    assert (await positions(rt))[0] == 19


async def test_a_batch_that_was_fetched_before_the_position_moved_is_fetched_again(
    rt: Runtime[Any], tell: Told, subscribed: Subscribed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To apply it would pass what stands between the stored position and the batch."""
    await tell(*(letter(number) for number in range(1, 4)))
    async with subscribed() as subscription:
        await reached(rt.pool, 3)
        await rt.pool.execute("UPDATE chassis.positions SET next_offset = 0; DELETE FROM chassis.inbox")
        late = [as_raw(letter(4), rt.settings.topic_prefix, offset=3)]
        subscription._consumer.seek(TopicPartition(f"{rt.settings.topic_prefix}letters", 0), 0)
        assert await subscription._current(late) == []


def as_raw(each: Record, prefix: str, offset: int) -> Any:
    return ConsumerRecord(prefix + each.topic, 0, offset, 0, 0, each.key, each.value, None, 1, 1, each.headers)


async def test_a_broker_that_falls_silent_is_told(
    rt: Runtime[Any], subscribed: Subscribed, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(*_: Any) -> None:
        await asyncio.Event().wait()

    async with subscribed() as subscription:
        await ready(subscription)
        with monkeypatch.context() as patch:
            patch.setattr(AIOKafkaConsumer, "end_offsets", silent)
            patch.setattr("chassis.consumer.subscription.LOOK_SECONDS", 0.05)
            await subscription.look()
            assert subscription.problem == "Kafka: TimeoutError"
        await subscription.look()
        await ready(subscription)
