"""The shell around `Batches`: one FastStream subscriber over all topics of a service.

FastStream declares, runs and stops it; nothing of its parsing or acknowledging is used, since both lose messages
(decision record 0003). Our positions are the truth: on assignment the consumer seeks to them. What is committed to
Kafka is for tools that show lag, and never read.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import FAKE_CONSUMER, KafkaMessage
from faststream.security import BaseSecurity

from chassis.clock import real
from chassis.consumer.batches import Batches, CircuitOpen, Fenced, Partition, Stopped
from chassis.consumer.records import Record
from chassis.telemetry import counter

log = logging.getLogger(__name__)
_UNCOMMITTED = counter("consumer_commits_failed", "commits to Kafka that failed; lag tools are behind until the next")
DRAIN_SECONDS = 5
COMMIT_SECONDS = 5


class PositionOutOfRange(Exception):
    """A stored position is not in the log any more, or not yet: the log or the database is not the one we knew."""


class Subscription(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """Runs one consumer group of one service. `problem` says why it is not ready, or is None."""

    def __init__(
        self, batches: Batches, group: str, prefix: str, bootstrap: str, security: BaseSecurity, session_ms: int
    ) -> None:
        self._batches = batches
        self._prefix = prefix
        self._idle = asyncio.Event()
        self._idle.set()
        self._refused: str | None = None
        self._waiting: str | None = "starting"
        self._oldest: datetime | None = None
        self.broker = KafkaBroker(
            bootstrap,
            security=security,
            consumer_only=True,
            allow_auto_create_topics=False,
            graceful_timeout=DRAIN_SECONDS,
            metadata_max_age_ms=10_000,
            logger=None,
            apply_types=False,
        )
        self._subscriber = self.broker.subscriber(
            *(prefix + topic for topic in batches.handlers.topics),
            group_id=prefix + group,
            batch=True,
            max_records=1000,
            batch_timeout_ms=100,
            fetch_max_wait_ms=100,
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.MANUAL,
            no_reply=True,
            parser=_unparsed,
            decoder=_undecoded,
            listener=self,
            max_poll_interval_ms=2**31 - 1,
            rebalance_timeout_ms=30_000,
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=max(session_ms // 5, 200),
            isolation_level="read_committed",
        )
        self._subscriber(self._consume)

    @property
    def problem(self) -> str | None:
        """Why events are not applied at present."""
        if self._refused or self._waiting:
            return self._refused or self._waiting
        return f"waiting: {self._batches.waiting_for}" if self._batches.waiting_for else None

    @property
    def lag(self) -> float:
        """Seconds since the oldest record was written that was fetched and is not applied; 0 when there is none."""
        return (real() - self._oldest).total_seconds() if self._oldest else 0.0

    @property
    def _consumer(self) -> AIOKafkaConsumer:
        consumer = self._subscriber.consumer
        assert consumer is not None  # noqa: S101 - partitions and batches come from a started consumer
        return consumer

    async def run(self) -> None:
        """Start, again and again until the broker answers; then wait until cancelled, and drain."""
        try:
            while True:
                try:
                    await self.broker.start()
                    await asyncio.Event().wait()
                except Exception as error:
                    self._waiting = f"Kafka: {type(error).__name__}"
                    log.info("consumer waits: %s", type(error).__name__)
                    with contextlib.suppress(Exception):  # a broker that did not start may not stop either
                        await self.broker.stop()
                    await asyncio.sleep(0.5)
        finally:
            self._batches.stop.set()
            with contextlib.suppress(KafkaError, OSError):
                async with asyncio.timeout(DRAIN_SECONDS + 1):
                    await self.broker.stop()

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Let the batch under way finish, so that nothing is applied twice; one that waits gives up."""
        self._waiting = "no partitions yet"
        if revoked:
            self._batches.stop.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(20):
                    await self._idle.wait()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Go on from our own positions."""
        self._batches.stop.clear()
        await self._go_on()

    async def _go_on(self) -> None:
        """Seek to the stored positions, however long the database is away. One outside the log is never reset."""
        self._waiting = "no positions yet"
        while not self._refused and not self._batches.stop.is_set():
            try:
                await self._seek(list(self._consumer.assignment()))
                self._waiting = self._oldest = None
                return
            except PositionOutOfRange as error:
                self._refuse(str(error))
            except Exception as error:
                self._waiting = f"no positions yet: {type(error).__name__}"
                log.info("assignment waits: %s", type(error).__name__)
                await asyncio.sleep(0.5)

    async def _seek(self, partitions: list[TopicPartition]) -> None:
        if not partitions:
            return
        first = await self._consumer.beginning_offsets(partitions)
        last = await self._consumer.end_offsets(partitions)
        positions = await self._batches.assigned({self._name(each): offset for each, offset in first.items()})
        for partition in partitions:
            position = positions[self._name(partition)]
            if not first[partition] <= position <= last[partition]:
                raise PositionOutOfRange(
                    f"{partition.topic}/{partition.partition}: position {position} is outside the log "
                    f"({first[partition]} to {last[partition]})"
                )
            self._consumer.seek(partition, position)

    def _name(self, partition: TopicPartition) -> Partition:
        return partition.topic.removeprefix(self._prefix), partition.partition

    async def _consume(self, batch: "Sequence[ConsumerRecord[bytes, bytes]]") -> None:
        self._idle.clear()
        try:
            records = await self._current(batch)
            if records:
                self._oldest = min(record.timestamp for record in records)
                await self._batches.handle(records)
                self._oldest = None
                await self._commit()
        except (Stopped, IllegalStateError):  # a rebalance; it ends with new partitions
            self._waiting = "no partitions yet"
        except Fenced:
            log.info("fenced: going on from the stored positions")
            await self._go_on()
        except Exception as error:
            self._refuse(str(error) if isinstance(error, CircuitOpen) else type(error).__name__)
        finally:
            self._idle.set()

    async def _current(self, batch: "Sequence[ConsumerRecord[bytes, bytes]]") -> list[Record]:
        """The batch, without partitions whose position was moved after it was fetched: those come again.

        To apply them would pass what stands between the stored position and the batch. FastStream fetches and
        consumes in turn, so everything before the reading position was in this batch or an earlier one.
        """
        if self._refused or self._waiting:
            return []
        reading = {each: await self._consumer.position(each) for each in self._consumer.assignment()}
        firsts: dict[TopicPartition, int] = {}
        for raw in batch:
            firsts.setdefault(TopicPartition(raw.topic, raw.partition), raw.offset)
        current = {each for each, first in firsts.items() if reading.get(each, first) > first}
        self._batches.passed = {self._name(each): at for each, at in reading.items() if each not in firsts}
        return [as_record(raw, self._prefix) for raw in batch if TopicPartition(raw.topic, raw.partition) in current]

    def _refuse(self, reason: str) -> None:
        """Apply nothing more until a restart, and say why."""
        log.error("the consumer has stopped: %s", reason)
        self._refused = f"stopped: {reason}"

    async def _commit(self) -> None:
        """Tell Kafka how far we are, bounded in time: nothing depends on it."""
        offsets = {
            TopicPartition(self._prefix + topic, partition): offset
            for (topic, partition), offset in self._batches.positions.items()
        }
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                await self._consumer.commit(offsets)
        except (CommitFailedError, IllegalStateError, KafkaError, TimeoutError):
            _UNCOMMITTED.add(1)


def as_record(raw: "ConsumerRecord[bytes | None, bytes | None]", prefix: str) -> Record:
    """The client library's record as ours."""
    return Record(
        topic=raw.topic.removeprefix(prefix),
        partition=raw.partition,
        offset=raw.offset,
        key=raw.key,
        value=raw.value,
        headers=tuple(raw.headers),
        timestamp=_moment(raw.timestamp),
    )


def _moment(milliseconds: int) -> datetime:
    """The writer may give any time that is not ahead; one before 1970 says nothing and must stop nobody."""
    return datetime.fromtimestamp(max(milliseconds, 0) / 1000, UTC)


async def _unparsed(records: "tuple[ConsumerRecord[bytes, bytes], ...]") -> KafkaMessage:
    """The records as they are: a header that is null or no text must not fail, nor `reply_to` be obeyed."""
    return KafkaMessage(body=b"", headers={}, raw_message=records, consumer=FAKE_CONSUMER)


async def _undecoded(message: KafkaMessage) -> Any:
    """The records again: they are decoded one by one, each with its own failure."""
    return message.raw_message
