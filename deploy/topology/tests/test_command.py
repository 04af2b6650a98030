"""The command's exit codes: 1 is a difference and nothing else, and whatever stops it is one line."""

import uuid
from pathlib import Path

import pytest

from local_stack import DEFAULT_DIRECTORY, servers
from local_stack.servers import Servers
from privacy_topology import converge
from privacy_topology.__main__ import main


@pytest.fixture(scope="module")
def running() -> Servers:
    return servers.start(DEFAULT_DIRECTORY / "test")


@pytest.fixture
def given(running: Servers, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The test broker's, under a prefix that nobody else has."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP", running.kafka.bootstrap)
    monkeypatch.setenv("KAFKA_USERNAME", running.kafka.admin_username)
    monkeypatch.setenv("KAFKA_PASSWORD", running.kafka.admin_password)
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
    monkeypatch.setenv("TOPIC_PREFIX", f"command-{uuid.uuid4().hex[:8]}.")
    return monkeypatch


def ended(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["privacy_topology", *arguments])
    return main()


def told(capfd: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error, whoever writes there: the client library does so past Python."""
    captured = capfd.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    return line


def test_a_difference_and_nothing_else_is_1(given: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert ended(given, "--check") == 1
    assert "policy: created, 3 partitions" in capfd.readouterr().out


def test_a_broker_that_is_away_is_no_difference(given: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    given.setenv("KAFKA_BOOTSTRAP", "127.0.0.1:1")
    given.setattr(converge, "TIMEOUT", 0.5)
    assert ended(given, "--check") == 2
    assert "Connection refused" in told(capfd)


def test_a_wrong_password_is_no_difference(given: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    given.setenv("KAFKA_PASSWORD", "guess")
    given.setattr(converge, "TIMEOUT", 2)
    assert ended(given, "--check") == 2
    line = told(capfd)
    assert "uthentication" in line
    assert "guess" not in line


def test_more_replicas_than_brokers_are_refused(given: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert ended(given, "--replication", "9") == 2
    assert "replication factor of 9" in told(capfd)


def test_what_is_not_set_is_told_at_once(given: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    given.delenv("KAFKA_USERNAME")
    given.delenv("KAFKA_PASSWORD")
    assert ended(given, "--check") == 2
    assert told(capfd) == "refused: not set: KAFKA_USERNAME, KAFKA_PASSWORD"


@pytest.mark.parametrize("text", [None, "{"])
def test_a_file_of_passwords_that_cannot_be_read_is_refused(
    given: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path, text: str | None
) -> None:
    file = tmp_path / "users.json"
    if text is not None:
        file.write_text(text)
    assert ended(given, "--passwords", str(file)) == 2
    assert told(capfd).startswith("refused: ")
