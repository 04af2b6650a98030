"""Heartbeats on the topic `accounts`, so that what was deleted also leaves the broker's disk.

A compacted topic erases when a segment is rolled, and rolling needs an append to that partition: one at least every
half `max.compaction.lag.ms`, on each partition. A record's partition follows from its key, so each partition has the
smallest salt whose key reaches it.
"""

from datetime import timedelta
from functools import cache
from itertools import count

from aiokafka.partitioner import murmur2

from accounts.settings import Settings
from chassis import timers
from chassis.app import Runtime
from chassis.clock import real
from chassis.database import Connection, transaction
from chassis.outbox import emit
from chassis.timers import Timer, TimerHandler
from privacy_contracts.accounts import AccountStated, Heartbeat
from privacy_contracts.topology import topics

KIND = "heartbeat"
PARTITIONS = topics()[AccountStated.stream].partitions


def partition_of(key: str) -> int:
    """Where a key's records go: Kafka's own partitioner (murmur2, as every client of it has)."""
    return int(murmur2(key.encode()) & 0x7FFFFFFF) % PARTITIONS


@cache
def salt_of(partition: int) -> int:
    """The smallest number with which a heartbeat's key reaches its partition."""
    return next(
        salt for salt in count() if partition_of(Heartbeat(partition=partition, salt=salt, at=real()).key) == partition
    )


async def begin(runtime: Runtime[Settings]) -> None:
    """Beat on every partition now, and then again and again."""
    async with transaction(runtime.pool) as tx:
        for partition in range(PARTITIONS):
            await timers.put(tx, KIND, str(partition), runtime.clock.now())


def handler(runtime: Runtime[Settings]) -> TimerHandler:
    """One beat, and the timer of the next."""
    half = timedelta(seconds=runtime.settings.compaction_lag_seconds / 2)

    async def beat(timer: Timer, tx: Connection) -> None:
        now, partition = runtime.clock.now(), int(timer.key)
        await emit(tx, Heartbeat(partition=partition, salt=salt_of(partition), at=now), now)
        await timers.put(tx, KIND, timer.key, now + half)

    return beat
