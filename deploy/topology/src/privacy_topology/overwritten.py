"""What betrays that a compacted topic keeps values longer than it may: the age of the oldest that was overwritten.

It grows without end when nothing is appended to a partition, when the broker's cleaner has died, and when the settings
are not those that were asked for. Heartbeats overwrite each other, so that it tells even where nobody is deleted.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

_TIMEOUT = 60.0  # seconds for one answer of the cluster


def oldest_overwritten(records: Iterable[tuple[bytes, float]]) -> float | None:
    """When the record was overwritten that has been so for longest and still stands; None where there is none.

    `records` are a partition's keys and times (seconds since the epoch), in the order of their offsets.
    """
    seen: set[int] = set()
    oldest = None
    for key, at in records:
        known = hash(key)
        if known in seen:
            oldest = min(at, oldest or at)
        seen.add(known)
    return oldest


def seconds(connection: Mapping[str, Any], topic: str) -> float:
    """Since when a value has stood on a topic that is overwritten there; 0 where none does.

    It reads the whole topic, of each record the key and the time: 100 MB of memory for a partition of a million keys.
    Raises `KafkaException` when the cluster does not answer.
    """
    reading = {"enable.auto.commit": "false", "auto.offset.reset": "error", "enable.partition.eof": "true"}
    reading |= {"group.id": "overwritten", "isolation.level": "read_uncommitted"}
    consumer = Consumer({**connection, **reading})
    try:
        partitions = consumer.list_topics(topic, timeout=_TIMEOUT).topics[topic].partitions
        times = [oldest_overwritten(_records(consumer, topic, partition)) for partition in partitions]
    finally:
        consumer.close()
    now = time.time()
    return now - min([at for at in times if at is not None], default=now)


def _records(consumer: Consumer, topic: str, partition: int) -> Iterable[tuple[bytes, float]]:
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
    while True:
        message = consumer.poll(_TIMEOUT)
        if message is None:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"nothing of {topic}/{partition}"))
        if error := message.error():
            if error.code() == KafkaError._PARTITION_EOF:
                return
            raise KafkaException(error)
        key = message.key() or b""
        yield key if isinstance(key, bytes) else key.encode(), message.timestamp()[1] / 1000
