"""The shell around `Batches`: one FastStream subscriber over all topics of a service.

FastStream declares, runs and stops it; nothing of its parsing or acknowledging is used, since both lose messages
(decision record 0003). Our positions are the truth: on assignment the consumer seeks to them. What is committed to
Kafka is for tools that show lag, and never read.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    CorruptRecordException,
    IllegalStateError,
    KafkaError,
    UnsupportedCodecError,
)
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import FAKE_CONSUMER, KafkaMessage
from faststream.security import BaseSecurity, SASLScram256

from chassis.clock import real
from chassis.consumer.batches import EVERY, Batches, Fenced, Stopped
from chassis.consumer.records import Partition, Record
from chassis.database import repeat
from chassis.settings import Settings
from chassis.telemetry import counter

log = logging.getLogger(__name__)
_UNCOMMITTED = counter("consumer_commits_failed", "commits to Kafka that failed; lag tools are behind until the next")
DRAIN_SECONDS = 5
COMMIT_SECONDS = 5
LOOK_SECONDS = 3
SHOWN_SECONDS = 0.5
"""From the end of the fetch under way until the next one has shown what is unreadable."""
REBALANCE_MS = 30_000
LONGEST_POLL_MS = 2**31 - 1
"""A batch that waits for its database keeps its partitions, however long that takes."""
UNREADABLE = (ValueError, UnsupportedCodecError, CorruptRecordException)
"""What the client library raises for one record: a header name that is not UTF-8, a compression, a broken checksum."""


class Subscription(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """Runs one consumer group of one service. `problem` says why it is not ready, or is None."""

    def __init__(self, batches: Batches, group: str, settings: Settings) -> None:
        self._batches, self._prefix, self._lock = batches, settings.topic_prefix, asyncio.Lock()
        self._fetch_wait_ms, session_ms = settings.fetch_wait_ms, settings.session_timeout_ms
        self._waiting: str | None = "starting"
        self._away: str | None = None
        self._oldest: datetime | None = None
        self._left: datetime | None = None
        self.broker = KafkaBroker(
            settings.kafka_bootstrap,
            security=_security(settings),
            consumer_only=True,
            allow_auto_create_topics=False,
            metadata_max_age_ms=10_000,
            graceful_timeout=DRAIN_SECONDS,
            logger=None,
            apply_types=False,
        )
        self._subscriber: Any = self.broker.subscriber(
            *(self._prefix + topic for topic in batches.handlers.topics),
            group_id=self._prefix + group,
            listener=self,
            batch=True,
            max_records=1000,
            batch_timeout_ms=self._fetch_wait_ms,
            fetch_max_wait_ms=self._fetch_wait_ms,
            auto_offset_reset="none",
            isolation_level="read_committed",
            ack_policy=AckPolicy.MANUAL,
            no_reply=True,
            parser=_unparsed,
            decoder=_undecoded,
            max_poll_interval_ms=LONGEST_POLL_MS,
            rebalance_timeout_ms=REBALANCE_MS,
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=max(session_ms // 5, 200),
        )
        self._subscriber(self._consume)
        self._fetch = self._subscriber.get_msg
        self._subscriber.get_msg = self._readable  # type: ignore[method-assign]  # decision record 0003

    @property
    def problem(self) -> str | None:
        """Why no events are applied at present."""
        if EVERY in self._batches.stopped:
            return f"stopped: {self._batches.stopped[EVERY]}"
        waiting = f"waiting: {self._batches.waiting_for}" if self._batches.waiting_for else None
        return self._waiting or waiting or self._away

    @property
    def stopped(self) -> Mapping[str, str]:
        """Topics of which nothing more is applied until a restart, and why."""
        return {topic: why for topic, why in self._batches.stopped.items() if topic != EVERY}

    @property
    def lag(self) -> float:
        """Seconds since the oldest record was written that was fetched and is not applied; 0 when there is none."""
        waiting = [each for each in (self._oldest, self._left) if each]
        return (real() - min(waiting)).total_seconds() if waiting else 0.0

    @property
    def _consumer(self) -> AIOKafkaConsumer:
        return self._subscriber.consumer

    async def run(self) -> None:
        """Start, again and again until the broker answers; then wait until cancelled, and drain."""
        try:
            await repeat("consumer", self._start, 0.5)
        finally:
            self._batches.stop.set()
            await self._end()

    async def _start(self) -> None:
        try:
            await self.broker.start()
            await asyncio.Event().wait()
        except Exception as error:
            self._waiting = f"Kafka: {type(error).__name__}"
            await self._end()  # a broker that did not start can be started again after that
            raise

    async def _end(self) -> None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(DRAIN_SECONDS + 1):
                await self.broker.stop()

    async def look(self) -> None:
        """See whether the broker answers: a consumer that fetches nothing cannot tell that from silence."""
        if self._waiting:
            return
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._consumer.end_offsets(list(self._consumer.assignment()))
            self._away = None
        except Exception as error:
            self._away = f"Kafka: {type(error).__name__}"

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Let the batch under way finish, so that nothing is applied twice; one that waits gives up."""
        self._waiting = "no partitions yet"
        if revoked:
            self._batches.stop.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(20), self._lock:
                    pass

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Go on from our own positions."""
        self._batches.stop.clear()
        await self._go_on()

    async def _go_on(self) -> None:
        """Seek to the stored positions, however long the database is away."""
        self._waiting = "no positions yet"
        while not self._batches.stop.is_set():
            try:
                await self._seek(list(self._consumer.assignment()))
                self._waiting = self._oldest = self._left = None
                return
            except Exception as error:
                self._waiting = f"no positions yet: {type(error).__name__}"
                log.info("assignment waits: %s", type(error).__name__)
                await asyncio.sleep(0.5)

    async def _seek(self, partitions: list[TopicPartition]) -> None:
        """A position outside the log is never reset: the log or the database is not the one we knew."""
        if not partitions:
            return
        first = await self._consumer.beginning_offsets(partitions)
        last = await self._consumer.end_offsets(partitions)
        positions = await self._batches.assigned({self._name(each): offset for each, offset in first.items()})
        for each in partitions:
            topic, position = each.topic.removeprefix(self._prefix), positions[self._name(each)]
            if not first[each] <= position <= last[each]:
                outside = f"{each.partition}: position {position} is outside the log ({first[each]} to {last[each]}): "
                outside += "stop, and run the verb `recover`"
                self._batches.halt(topic, outside)
            self._consumer.seek(each, position)
            if topic in self._batches.stopped:
                self._consumer.pause(each)

    def _name(self, partition: TopicPartition) -> Partition:
        return partition.topic.removeprefix(self._prefix), partition.partition

    async def _readable(self, consumer: AIOKafkaConsumer) -> "tuple[ConsumerRecord[bytes, bytes], ...]":
        """The next batch. A partition that the client library cannot read stops its topic, and no other.

        The library fails in the middle of its fetch and drops what it had read of other partitions: whatever the
        fault, all is read again from the stored positions.
        """
        try:
            fetched: tuple[ConsumerRecord[bytes, bytes], ...] = await self._fetch(consumer)
            return fetched
        except (ValueError, KafkaError) as error:
            log.warning("fetching failed: %s", type(error).__name__)
            if isinstance(error, UNREADABLE):
                await self._halt_unreadable(consumer)
            await asyncio.sleep(0.2)
            if not self._waiting:
                await self._go_on()
            return ()

    async def _halt_unreadable(self, consumer: AIOKafkaConsumer) -> None:
        """What is left of the fetch that failed may say nothing: it is dropped, and all partitions are fetched anew."""
        for pause in (0.0, self._fetch_wait_ms / 1000 + SHOWN_SECONDS):
            await asyncio.sleep(pause)
            for each in consumer.assignment() - consumer.paused():
                try:
                    await consumer.getmany(each, timeout_ms=0)
                except UNREADABLE as error:
                    self._batches.halt(self._name(each)[0], f"{each.partition} is unreadable: {type(error).__name__}")
                except KafkaError:
                    return  # it is found when it is met again

    async def _consume(self, batch: "Sequence[ConsumerRecord[bytes, bytes]]") -> None:
        async with self._lock:
            try:
                records = await self._current(batch)
                if records:
                    self._oldest = min(record.timestamp for record in records)
                    await self._batches.handle(records)
                    self._oldest = None
                    self._leave(records)
                    await self._commit()
            except (Stopped, IllegalStateError):  # a rebalance; it ends with new partitions
                self._waiting = "no partitions yet"
            except Fenced:
                log.info("fenced: going on from the stored positions")
                await self._go_on()
            except Exception as error:
                self._batches.halt(EVERY, type(error).__name__)

    def _leave(self, records: Sequence[Record]) -> None:
        """Note how old what a stopped topic leaves behind is: it stays so until a restart."""
        left = [each.timestamp for each in records if each.offset >= self._batches.positions.get(each.place, 0)]
        self._left = min([*left, *([self._left] if self._left else [])], default=None)

    async def _current(self, batch: "Sequence[ConsumerRecord[bytes, bytes]]") -> list[Record]:
        """The batch, without partitions whose position was moved after it was fetched: those come again.

        To apply them would pass what stands between the stored position and the batch. FastStream fetches and
        consumes in turn, so everything before the reading position was in this batch or an earlier one.
        """
        if self._waiting:
            return []
        reading = {self._name(each): await self._consumer.position(each) for each in self._consumer.assignment()}
        records, firsts = [as_record(raw, self._prefix) for raw in batch], dict[Partition, int]()
        for record in records:
            firsts.setdefault(record.place, record.offset)
        told = {*firsts, *(each for each in reading if each[0] in self._batches.stopped)}
        self._batches.passed = {each: at for each, at in reading.items() if each not in told}
        return [each for each in records if reading.get(each.place, -1) > firsts[each.place]]

    async def _commit(self) -> None:
        """Tell Kafka how far we are, bounded in time: nothing depends on it."""
        offsets = {TopicPartition(self._prefix + topic, n): at for (topic, n), at in self._batches.positions.items()}
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                await self._consumer.commit(offsets)
        except (CommitFailedError, IllegalStateError, KafkaError, TimeoutError):
            _UNCOMMITTED.add(1)


def _security(settings: Settings) -> BaseSecurity:
    """SASL/SCRAM-SHA-256 for this service's principal."""
    return SASLScram256(settings.kafka_username, settings.kafka_password.get_secret_value(), use_ssl=settings.kafka_tls)


def as_record(raw: "ConsumerRecord[bytes | None, bytes | None]", prefix: str) -> Record:
    """The client library's record as ours. A time before 1970, which a writer may give, says nothing and is 1970."""
    written_at, topic = datetime.fromtimestamp(max(raw.timestamp, 0) / 1000, UTC), raw.topic.removeprefix(prefix)
    return Record(topic, raw.partition, raw.offset, raw.key, raw.value, tuple(raw.headers), written_at)


async def _unparsed(records: "tuple[ConsumerRecord[bytes, bytes], ...]") -> KafkaMessage:
    """The records as they are: a header that is null or no text must not fail, nor `reply_to` be obeyed."""
    return KafkaMessage(body=b"", headers={}, raw_message=records, consumer=FAKE_CONSUMER)


async def _undecoded(message: KafkaMessage) -> Any:
    """The records again: they are decoded one by one, each with its own failure."""
    return message.raw_message
