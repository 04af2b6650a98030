"""Processes by pid and start time; ports; secrets on disk."""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from local_stack import LocalStackError
from local_stack.passwords import passwords
from local_stack.ports import BLOCK, BLOCKS, FIRST, LOOPBACK, claim, configured, free_port
from local_stack.processes import Identity, alive, identify, kill, read_pidfile, spawn, stop, wait_for, write_pidfile

SLEEP = "import time; print('here', flush=True); time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + SLEEP


def start(folder: Path, program: str = SLEEP) -> Identity:
    return spawn([sys.executable, "-c", program], env=os.environ, log=folder / "log", pidfile=folder / "pid")


def test_a_process_is_found_again_by_its_pidfile(tmp_path: Path) -> None:
    identity = start(tmp_path)

    assert read_pidfile(tmp_path / "pid") == identity
    assert alive(identity)
    assert os.getsid(identity.pid) == identity.pid  # a session of its own: it outlives its caller
    kill(identity)
    assert not alive(identity)


def test_a_process_that_ignores_the_polite_signal_is_killed(tmp_path: Path) -> None:
    identity = start(tmp_path, STUBBORN)
    assert wait_for(lambda: "here" in (tmp_path / "log").read_text(), 10)

    stop(identity, grace=0.2)

    assert not alive(identity)


def test_a_recycled_pid_is_never_signalled(tmp_path: Path) -> None:
    real = start(tmp_path)
    other = Identity(real.pid, real.started - 3600)

    stop(other)
    kill(other)

    assert not alive(other)
    assert alive(real)
    kill(real)


@pytest.mark.parametrize("content", ["", "{", '{"pid": 1}', "[]", '{"pid": "x", "started": 1}'])
def test_a_torn_pidfile_names_no_process(tmp_path: Path, content: str) -> None:
    (tmp_path / "pid").write_text(content)

    assert read_pidfile(tmp_path / "pid") is None


def test_a_pidfile_is_read_as_written(tmp_path: Path) -> None:
    mine = identify(os.getpid())
    assert mine is not None

    write_pidfile(tmp_path / "pids" / "mine", mine)

    assert read_pidfile(tmp_path / "pids" / "mine") == mine


def test_a_program_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match="no-such-program"):
        spawn(["no-such-program"], env={}, log=tmp_path / "log", pidfile=tmp_path / "pid")


def test_a_busy_port_is_named_with_the_variable_that_moves_it() -> None:
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        port = other.getsockname()[1]

        with pytest.raises(LocalStackError, match=rf"port {port} for dsr is in use .* DSR_PORT"):
            claim("dsr", port, "DSR_PORT")


def test_two_that_live_at_once_give_out_no_port_twice() -> None:
    """What is free now may be what another stack starts on in a moment."""
    mine = {free_port() for _ in range(400)}
    program = "from local_stack.ports import free_port; print(*(free_port() for _ in range(400)))"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not mine & {int(port) for port in other.stdout.split()}
    assert min(mine) >= FIRST
    assert max(mine) < FIRST + BLOCKS * BLOCK


def test_a_free_port_may_be_claimed() -> None:
    claim("dsr", free_port(), "DSR_PORT")


def test_a_port_variable_must_hold_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSR_PORT", "http")
    with pytest.raises(LocalStackError, match="DSR_PORT"):
        configured("DSR_PORT")
    monkeypatch.setenv("DSR_PORT", "8123")
    assert configured("DSR_PORT") == 8123


def test_passwords_are_made_once_and_only_their_owner_may_read_them(tmp_path: Path) -> None:
    first = passwords(tmp_path / "passwords", ["a"])
    second = passwords(tmp_path / "passwords", ["a", "b"])

    assert second["a"] == first["a"] != second["b"]
    assert len(second["b"]) >= 32
    assert stat.S_IMODE((tmp_path / "passwords").stat().st_mode) == 0o600
