"""The broker in memory: partitions with holes, and a transactional producer with its ways to fail.

As in Kafka, a transaction that was decided is completed by whoever starts next under the same transactional id, and
whoever started earlier under it is fenced. A reader is never shown what is not committed, so records are appended
when their transaction is; one that is aborted leaves holes.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random

from aiokafka.errors import KafkaConnectionError, ProducerFenced

from chassis.consumer.records import Partition, Record
from chassis.testing import START

from .schedule import alive, pause

PARTITIONS = {"letters": 2, "notes": 2}
"""Others have one: their keys are not of the seed's choice."""


class Log:
    """All that was published: by partition its records, with None where an offset holds none. `faults` is a rate."""

    def __init__(self, chance: Random, faults: float) -> None:
        self.partitions: dict[Partition, list[Record | None]] = {}
        self.faults, self.epoch, self.decided = faults, 0, list[Record]()
        self._chance = chance

    def fails(self) -> bool:
        """Whether something goes wrong now."""
        return self._chance.random() < self.faults

    def of(self, topic: str) -> dict[Partition, list[Record]]:
        """The records of a topic, by partition."""
        places = {place: log for place, log in self.partitions.items() if place[0] == topic}
        return {place: [each for each in log if each] for place, log in places.items()}

    def append_decided(self, place: Partition | None = None) -> None:
        """Append what was decided: for one partition or for all, and a marker behind it."""
        for each in {record.place: None for record in self.decided if place in {None, record.place}}:
            log = self.partitions.setdefault(each, [])
            for record in [record for record in self.decided if record.place == each]:
                log.append(Record(*each, len(log), record.key, record.value, record.headers, START))
            log.append(None)
        self.decided = [record for record in self.decided if place not in {None, record.place}]

    def append_holes(self, records: Sequence[Record]) -> None:
        """What an aborted transaction leaves."""
        for each in records:
            self.partitions.setdefault(each.place, []).extend([None, None])


class Producer:
    """Stands for `AIOKafkaProducer` with a transactional id."""

    def __init__(self, log: Log, **_: object) -> None:
        self._log, self._epoch, self._pending = log, 0, list[Record]()

    async def start(self) -> None:
        """Fence whoever came before; complete what it had decided."""
        await pause("starts a producer")
        self._fault()
        self._log.epoch += 1
        self._epoch = self._log.epoch
        self._log.append_decided()

    async def stop(self) -> None:
        """Leave."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Commits at the end; aborts on an error, unless it is dead or fenced."""
        self._pending = []
        try:
            yield
        except Exception:
            if alive() and self._epoch == self._log.epoch:
                self._log.append_holes(self._pending)
            raise
        await self._commit()

    async def send(
        self, topic: str, value: bytes, key: bytes, headers: list[tuple[str, bytes]]
    ) -> "asyncio.Future[None]":
        """Put a record into the open transaction."""
        await pause(f"sends to {topic}")
        self._check()
        self._fault()
        self._pending.append(Record(topic, sum(key) % PARTITIONS.get(topic, 1), 0, key, value, tuple(headers), START))
        sent = asyncio.get_running_loop().create_future()
        sent.set_result(None)
        return sent

    async def _commit(self) -> None:
        await pause("commits to the log")
        self._check()
        self._fault()
        self._log.decided = self._pending
        for place in {record.place: None for record in self._pending}:
            await pause(f"writes the marker of {place}")
            self._check()
            self._log.append_decided(place)
            self._fault()  # the answer is lost, or comes while other partitions are still to follow

    def _check(self) -> None:
        if self._epoch != self._log.epoch:
            raise ProducerFenced

    def _fault(self) -> None:
        if self._log.fails():
            raise KafkaConnectionError
