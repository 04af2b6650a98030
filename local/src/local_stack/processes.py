"""Detached processes, known by pid and start time.

Invariant: a signal goes only to a process whose start time is the recorded one, so a recycled pid is never hit.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from local_stack import LocalStackError, warm

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What a person, a program or a closed terminal ends us by."""


@dataclass(frozen=True)
class Identity:
    """A process: its pid, and when it was started (seconds since the epoch, as the system tells it)."""

    pid: int
    started: float


@dataclass(frozen=True)
class Part:
    """How a process fares: its pid if it runs, where it listens, and what keeps it from being ready, if anything."""

    name: str
    pid: int | None
    where: str
    lacking: str | None

    def __str__(self) -> str:
        return f"  {self.name:10} {self.pid or '-':>8}  {self.where:22} {self.lacking or 'ready'}"


def identify(pid: int) -> Identity | None:
    """Return the identity of a running process, or None when there is none (a zombie is none)."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # a child of ours that has ended is collected here
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1:
            return None  # with threads left it is still dying, and may hold its port
        return Identity(pid, process.create_time())
    except psutil.NoSuchProcess:
        return None


def alive(identity: Identity | None) -> bool:
    """Whether the very process that was recorded still runs."""
    if identity is None:
        return False
    now = identify(identity.pid)
    return now is not None and abs(now.started - identity.started) < 1.0


def read_pidfile(path: Path) -> Identity | None:
    """Read a pidfile; one that is missing or torn by a crash names no process."""
    try:
        content = json.loads(path.read_text("utf-8"))
        return Identity(int(content["pid"]), float(content["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_pidfile(path: Path, identity: Identity) -> None:
    """Write a pidfile in one step, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}.draft")
    draft.write_text(json.dumps({"pid": identity.pid, "started": identity.started}), "utf-8")
    draft.replace(path)


def spawn(
    command: Sequence[str], *, env: Mapping[str, str], log: Path, pidfile: Path, by: Path | None = None
) -> Identity:
    """Start a process in a session of its own, its output appended to `log`, and write its pidfile.

    `command[0]` is a path or a name on the caller's PATH. The process outlives the caller. `by` is the socket of
    `local_stack.warm`, which starts what it can.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    usual = signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)  # none comes between the start and its pidfile
    try:
        if by and warm.can_start(command, env):
            pid = warm.start(by, command, env, log)
        else:
            pid = _spawned(command, env, log, usual)
        identity = identify(pid) or Identity(pid, time.time())
        write_pidfile(pidfile, identity)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, usual)
    return identity


def _spawned(command: Sequence[str], env: Mapping[str, str], log: Path, mask: Iterable[int]) -> int:
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    how: dict[str, Any] = {"file_actions": actions, "setsid": True, "setsigmask": mask, "setsigdef": ENDINGS}
    try:
        return os.posix_spawnp(command[0], list(command), dict(env), **how)
    except FileNotFoundError as error:
        raise LocalStackError(f"{command[0]} is not on the PATH") from error


def stop(identity: Identity | None, *, grace: float = 10.0, first: signal.Signals = signal.SIGTERM) -> None:
    """Ask a process to end, wait `grace` seconds, then kill it. One that is gone already is no error."""
    if identity is None or not alive(identity):
        return
    send(identity, first)
    if not wait_for(lambda: not alive(identity), grace):
        kill(identity)


def kill(identity: Identity | None) -> None:
    """Kill a process with SIGKILL and wait until it is gone."""
    if identity is None or not alive(identity):
        return
    send(identity, signal.SIGKILL)
    if not wait_for(lambda: not alive(identity), 10.0):
        raise LocalStackError(f"process {identity.pid} does not end")


def send(identity: Identity, number: signal.Signals) -> None:
    """Send a signal to the very process that was recorded; one that is gone is no error."""
    if alive(identity):
        with contextlib.suppress(ProcessLookupError):
            os.kill(identity.pid, number)


def wait_for(condition: Callable[[], bool], seconds: float, every: float = 0.05) -> bool:
    """Wait until the condition holds; False when it does not within `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(every)
    return True
