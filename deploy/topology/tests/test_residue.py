"""The bounds follow from the settings; and what betrays that one is missed grows when heartbeats stop."""

import time
import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from confluent_kafka import Producer

from local_stack import DEFAULT_DIRECTORY, kafka, servers
from local_stack.servers import Servers
from privacy_contracts.topology import topics
from privacy_topology.__main__ import main
from privacy_topology.generated import DAY_MS, wanted_topics
from privacy_topology.overwritten import oldest_overwritten, seconds
from privacy_topology.residue import Promised, days, in_files, on_compacted_topic

LAG_MS = 1_000
HALF_A_DAY = timedelta(hours=12)
AT_ONCE = Promised(transaction=timedelta(0), cleaning=timedelta(0))


def settings(lag_ms: int) -> dict[str, str]:
    return wanted_topics(topics().values(), "", compaction_lag_ms=lag_ms, replication=3)["accounts"].settings


def test_with_a_heartbeat_at_half_the_lag_a_value_stands_no_longer_than_the_lag_and_a_clock_is_ahead() -> None:
    assert on_compacted_topic(settings(DAY_MS), HALF_A_DAY, AT_ONCE) == timedelta(hours=25)


def test_a_rarer_heartbeat_a_longer_transaction_and_a_slower_cleaner_each_make_it_longer() -> None:
    usual = on_compacted_topic(settings(DAY_MS), HALF_A_DAY, AT_ONCE)
    assert on_compacted_topic(settings(DAY_MS), 2 * HALF_A_DAY, AT_ONCE) == usual + HALF_A_DAY
    hour = timedelta(hours=1)
    assert on_compacted_topic(settings(DAY_MS), HALF_A_DAY, Promised(hour, timedelta(0))) == usual + hour
    assert on_compacted_topic(settings(DAY_MS), HALF_A_DAY, Promised(timedelta(0), hour)) == usual + hour


def test_files_hold_a_row_for_two_rewrites_and_the_log_two_checkpoints_behind_a_closed_segment() -> None:
    promised = Promised(
        rewrite=timedelta(hours=24), archive_timeout=timedelta(hours=2), checkpoint_timeout=timedelta(hours=1)
    )
    assert in_files(promised) == timedelta(hours=52)


def test_days_are_whole_and_never_too_few() -> None:
    assert [days(timedelta(days=2)), days(timedelta(days=2, seconds=1))] == [2, 3]


@pytest.mark.parametrize(
    ("records", "oldest"),
    [
        ([], None),
        ([(b"a", 1.0), (b"b", 2.0)], None),
        ([(b"a", 1.0), (b"b", 2.0), (b"a", 3.0)], 3.0),
        ([(b"a", 1.0), (b"b", 2.0), (b"b", 4.0), (b"a", 3.0), (b"a", 9.0)], 3.0),
    ],
)
def test_a_record_is_overwritten_when_the_next_of_its_key_is_written(
    records: list[tuple[bytes, float]], oldest: float | None
) -> None:
    assert oldest_overwritten(records) == oldest


def until(condition: Callable[[], bool], limit: float = 60) -> None:
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.3)


def test_it_grows_when_heartbeats_stop_and_falls_when_they_come_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    running: Servers = servers.start(DEFAULT_DIRECTORY / "test", durable=False)
    prefix = f"residue-{uuid.uuid4().hex[:8]}."
    servers.converge(running, prefix, compaction_lag_ms=LAG_MS)
    given = running.kafka
    login = kafka.client_configuration(given.bootstrap, given.admin_username, given.admin_password)
    topic = f"{prefix}accounts"
    producer = Producer(login)

    def write(key: str) -> None:
        producer.produce(topic, b"{}", key, partition=3)
        assert producer.flush(30) == 0

    def stands() -> float:
        return seconds(login, topic)

    try:
        for key in ("ann", "heartbeat/3", "ann"):
            write(key)
        bound = on_compacted_topic(settings(LAG_MS), timedelta(0), AT_ONCE) - timedelta(hours=1)
        until(lambda: stands() > 3 * bound.total_seconds())  # nothing is appended: nothing is compacted
        again = time.monotonic()

        def beats() -> bool:
            """What was overwritten before is gone; what heartbeats overwrite is younger."""
            write("heartbeat/3")
            return stands() < time.monotonic() - again

        until(beats)
        monkeypatch.setenv("KAFKA_BOOTSTRAP", given.bootstrap)
        monkeypatch.setenv("KAFKA_USERNAME", given.admin_username)
        monkeypatch.setenv("KAFKA_PASSWORD", given.admin_password)
        monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
        monkeypatch.setenv("TOPIC_PREFIX", prefix)
        monkeypatch.setattr("sys.argv", ["privacy_topology", "--overwritten"])
        assert main() == 0
    finally:
        servers.remove_topics(running, prefix)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == [
        'topic_oldest_overwritten_seconds{topic="accounts"}',
        "topic_oldest_overwritten_read_timestamp_seconds",
    ]
