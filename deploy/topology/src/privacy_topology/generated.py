"""What a cluster should hold, as pure values of `topics.toml`: topics with their settings, and ACLs.

Invariant: a principal writes its own topics under its own transactional id, reads what it wrote and numbered, and the
topics that name it as a reader in its own group, and may do nothing else.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from privacy_contracts.topology import Topic

Resource = Literal["topic", "group", "transactional_id"]
Pattern = Literal["literal", "prefixed"]

DAY_MS = 86_400_000
RECORD_BYTES = 131_072  # an event is at most 64 KiB; headers and the batch's own bytes come on top
AHEAD_MS = 3_600_000  # a record stamped further in the future would outlive its retention


@dataclass(frozen=True, order=True)
class Acl:
    """An allowance: a principal may do `operation` on a resource, from any host."""

    principal: str
    operation: str
    resource: str
    name: str
    pattern: str = "literal"


@dataclass(frozen=True)
class TopicSettings:
    """A topic as it should be. `settings` are Kafka's own names and values."""

    name: str
    partitions: int
    settings: dict[str, str]


def wanted_topics(
    topics: Iterable[Topic], prefix: str, *, compaction_lag_ms: int, replication: int
) -> dict[str, TopicSettings]:
    """Return the topics by full name.

    `compaction_lag_ms` bounds how long an overwritten value of a compacted topic stays on disk, given that
    something is appended at least every half of it.
    """
    return {
        f"{prefix}{topic.name}": TopicSettings(
            f"{prefix}{topic.name}",
            topic.partitions,
            {
                "max.message.bytes": str(RECORD_BYTES),
                "message.timestamp.after.max.ms": str(AHEAD_MS),
                "min.insync.replicas": str(max(1, replication - 1)),
                **_keeping(topic, compaction_lag_ms),
            },
        )
        for topic in topics
    }


def _keeping(topic: Topic, compaction_lag_ms: int) -> dict[str, str]:
    if topic.compacted:
        return {
            "cleanup.policy": "compact",
            "max.compaction.lag.ms": str(compaction_lag_ms),
            "segment.ms": str(compaction_lag_ms // 2),
            "min.cleanable.dirty.ratio": "0.01",
        }
    retention = topic.retention_days * DAY_MS if topic.retention_days else -1
    return {"cleanup.policy": "delete", "retention.ms": str(retention)}


def wanted_acls(topics: Iterable[Topic], prefix: str) -> frozenset[Acl]:
    """Return every allowance that the topics call for."""
    acls: set[Acl] = set()
    for topic in topics:
        name = f"{prefix}{topic.name}"
        acls.add(Acl(topic.writer, "write", "topic", name))
        if topic.sequenced:  # the writer compares its numbers with those that stand there
            acls.add(Acl(topic.writer, "read", "topic", name))
        acls |= {
            Acl(topic.writer, operation, "transactional_id", relay_id(prefix, topic.writer))
            for operation in ("write", "describe")
        }
        for reader in topic.readers:
            acls.add(Acl(reader, "read", "topic", name))
            acls.add(Acl(reader, "read", "group", group_id(prefix, reader)))
    return frozenset(acls)


def group_id(prefix: str, principal: str) -> str:
    """Return the one consumer group that a principal may join."""
    return f"{prefix}{principal}"


def relay_id(prefix: str, principal: str) -> str:
    """Return the one transactional id that a principal may publish under."""
    return f"{prefix}{principal}-relay"


def principals(topics: Iterable[Topic]) -> list[str]:
    """Return everyone who writes or reads, sorted."""
    return sorted({name for topic in topics for name in (topic.writer, *topic.readers)})


def reaches(acl: Acl, prefix: str) -> bool:
    """Whether an allowance touches what stands under the prefix, be it by a wildcard or a shorter prefix."""
    if acl.pattern == "prefixed":
        return acl.name.startswith(prefix) or prefix.startswith(acl.name)
    return acl.name == "*" or acl.name.startswith(prefix)


def belongs(acl: Acl, prefix: str) -> bool:
    """Whether an allowance is ours to remove: its resource stands under the prefix."""
    return acl.name.startswith(prefix)
