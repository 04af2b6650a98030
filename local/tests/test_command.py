"""The commands: what they see, stop and remove in a clone's folder, and how they refuse."""

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from local_stack import DEFAULT_DIRECTORY, demo
from local_stack import __main__ as command
from local_stack.stack import Stack

Run = Callable[..., int]


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the commands take for `.local`."""
    places = {"DEFAULT_DIRECTORY": tmp_path, "STACK": tmp_path / "stack", "TESTS": tmp_path / "test"}
    for name, place in places.items():
        monkeypatch.setattr(command, name, place)
    monkeypatch.setattr(demo, "FOLDER", tmp_path / "demo")
    monkeypatch.setattr(demo, "LOCK", tmp_path / "demo.lock")
    return tmp_path


@pytest.fixture
def run(clone: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("logs", "dsr")` gives the exit status."""

    def run(*line: str) -> int:
        monkeypatch.setattr("sys.argv", ["local_stack", *line])
        return command.main()

    return run


def left_behind(folder: Path) -> Stack:
    """A stack of which one process runs, and whose owner is gone."""
    unique = uuid.uuid4().hex[:8]
    stack = Stack(folder, prefix=f"{unique}.", suffix=f"_{unique}", servers_directory=DEFAULT_DIRECTORY / "test")
    stack.start("sink")
    stack.wait("sink")
    return stack


def test_what_a_demo_left_is_seen_and_stopped(clone: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    stack = left_behind(clone / "demo")

    assert run("status") == 0
    said = capsys.readouterr().out
    assert f"{clone / 'demo'}\n" in said
    assert f"{stack.pid('sink')}  {stack.url('sink')}" in said
    assert run("down") == 0

    assert stack.pid("sink") is None
    capsys.readouterr()
    run("status")
    assert capsys.readouterr().out == "Nothing runs.\n"


def test_reset_stops_what_the_tests_left_too_and_removes_all(clone: Path, run: Run) -> None:
    stack = left_behind(clone / "deployments" / "one")

    assert run("reset") == 0

    assert stack.pid("sink") is None
    assert not clone.exists()


def test_some_processes_can_be_stopped_alone(clone: Path, run: Run) -> None:
    stack = left_behind(clone / "stack")

    assert run("down", "issuer") == 0
    assert stack.pid("sink") is not None
    assert run("down", "sink") == 0
    assert stack.pid("sink") is None


@pytest.mark.parametrize("line", [("logs", "nope"), ("down", "nope")])
def test_an_unknown_name_is_refused_with_those_that_there_are(
    clone: Path, run: Run, capsys: pytest.CaptureFixture[str], line: tuple[str, ...]
) -> None:
    (clone / "stack" / "logs").mkdir(parents=True)
    (clone / "stack" / "logs" / "dsr.log").touch()

    assert run(*line) == 2
    assert "dsr" in capsys.readouterr().err


@pytest.mark.parametrize("line", [("run", "dsr", "dead-letters", "list"), ("token", "officer-01", "consent")])
def test_what_needs_a_running_stack_starts_none(
    clone: Path, run: Run, capsys: pytest.CaptureFixture[str], line: tuple[str, ...]
) -> None:
    assert run(*line) == 1

    assert "make up" in capsys.readouterr().err
    assert list(clone.iterdir()) == []


def test_a_base_port_that_is_none_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASE_PORT", "abc")

    assert run("up") == 2
