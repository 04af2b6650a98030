"""`python -m privacy_topology`: bring a cluster to `topics.toml`, or say with `--check` what differs.

With `--overwritten` it prints metrics: for how long compacted topics have kept what was overwritten.

From the environment: KAFKA_BOOTSTRAP, KAFKA_USERNAME, KAFKA_PASSWORD (a super user), KAFKA_SECURITY_PROTOCOL
(SASL_SSL unless said otherwise), TOPIC_PREFIX.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from privacy_contracts.topology import topics
from privacy_topology import overwritten
from privacy_topology.converge import Changes, TopologyError, converge
from privacy_topology.generated import DAY_MS


def main() -> int:
    """Run the job; returns 0 when the cluster is as wanted, 1 when `--check` found differences, 2 when it cannot."""
    parser = argparse.ArgumentParser(prog="python -m privacy_topology", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, print what differs")
    parser.add_argument(
        "--overwritten", action="store_true", help="change nothing, print what betrays a late compaction"
    )
    parser.add_argument("--passwords", type=Path, help="a JSON file {principal: password}: SCRAM users to create")
    parser.add_argument("--replication", type=int, default=3, help="replicas of each topic")
    parser.add_argument("--compaction-lag-ms", type=int, default=DAY_MS)
    arguments = parser.parse_args()
    prefix = os.environ.get("TOPIC_PREFIX", "privacy.")
    client, heard = None, list[KafkaError]()
    try:
        connection = _connection() | {"error_cb": heard.append, "log_level": 0}
        if arguments.overwritten:
            tell_overwritten(connection, prefix)
            return 0
        client = AdminClient(connection)
        changes = converge(
            client,
            prefix,
            replication=arguments.replication,
            compaction_lag_ms=arguments.compaction_lag_ms,
            passwords=json.loads(arguments.passwords.read_text("utf-8")) if arguments.passwords else {},
            check=arguments.check,
        )
    except (TopologyError, OSError, ValueError) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 2
    except KafkaException as error:
        if client is not None:
            client.poll(0)  # what the client library noted on the way: the first is the cause
        cause = f" ({heard[0].str()})" if heard else ""
        print(f"Kafka: {error.args[0].str()}{cause}", file=sys.stderr)
        return 2
    report(changes)
    return 1 if arguments.check and changes else 0


def tell_overwritten(connection: dict[str, Any], prefix: str) -> None:
    """Print the age of the oldest overwritten value of each compacted topic, as Prometheus reads it from a file."""
    for topic in topics().values():
        if topic.compacted:
            age = overwritten.seconds(connection, prefix + topic.name)
            print(f'topic_oldest_overwritten_seconds{{topic="{topic.name}"}} {age:.0f}')
    print(f"topic_oldest_overwritten_read_timestamp_seconds {time.time():.0f}")


def report(changes: Changes) -> None:
    """Print the changes, one a line."""
    for topic in changes.create:
        print(f"topic {topic.name}: created, {topic.partitions} partitions")
    for name, settings in changes.correct.items():
        print(f"topic {name}: {settings}")
    for word, acls in (("allowed", changes.allow), ("withdrawn", changes.withdraw)):
        for acl in sorted(acls):
            print(f"{word}: {acl.principal} {acl.operation} {acl.resource} {acl.name} ({acl.pattern})")
    for acl in sorted(changes.foreign):
        print(f"WARNING, not ours to remove: {acl.principal} {acl.operation} {acl.resource} {acl.name} ({acl.pattern})")


def _connection() -> dict[str, Any]:
    """Raises `TopologyError` where a setting is missing."""
    if missing := [name for name in ("BOOTSTRAP", "USERNAME", "PASSWORD") if f"KAFKA_{name}" not in os.environ]:
        raise TopologyError(f"not set: {', '.join(f'KAFKA_{name}' for name in missing)}")
    return {
        "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP"],
        "security.protocol": os.environ.get("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": os.environ["KAFKA_USERNAME"],
        "sasl.password": os.environ["KAFKA_PASSWORD"],
    }


if __name__ == "__main__":
    sys.exit(main())
