"""Whole deployments for tests: each of its own on the shared servers, and gone afterwards.

A run that was killed leaves its folder behind; the next run removes it, with its topics and databases, before it
starts anything. While writing tests, `python -m tests.deployment` keeps one up, and `DEPLOYMENT=<its folder>` has the
tests use it.
"""

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
from uuid_utils.compat import uuid7

from local_stack import DEFAULT_DIRECTORY, LocalStackError
from local_stack.layout import PROCESSES
from local_stack.stack import Stack
from local_stack.state import write_plan
from local_stack.supervisor import read_plan

SERVERS = DEFAULT_DIRECTORY / "test"
FOLDER = DEFAULT_DIRECTORY / "deployments"
LOGS = DEFAULT_DIRECTORY / "test-logs"
ON_KAFKA = ("dsr", "consent", "notifier", "audit", "accounts", "orders")
QUICK = {"SESSION_TIMEOUT_MS": "2000"}
"""A dead consumer's partitions move on after two seconds."""


def quick_settings(more: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """What is set for tests, by process: short times, and `more`."""
    given = {name: dict(QUICK) for name in ON_KAFKA}
    given["dsr"] |= {"COOLING_OFF": "2", "RETRY_AFTER": "1"}
    given["website"] = {"NOTICE_SECONDS": "0"}
    for name, settings in more.items():
        given.setdefault(name, {}).update(settings)
    return given


@contextlib.contextmanager
def made(
    name: str, *, more: Mapping[str, Mapping[str, str]] | None = None, servers: Path | None = SERVERS
) -> Iterator[Stack]:
    """A deployment of which nothing runs yet, gone in the end; on servers of its own where none are named."""
    unique = f"{name}{uuid7().hex[-8:]}"
    folder = FOLDER / unique
    folder.mkdir(parents=True)
    (folder / "owner").write_text(json.dumps([os.getpid(), psutil.Process().create_time()]))
    stack = Stack(
        folder, prefix=f"{unique}.", suffix=f"_{unique}", servers_directory=servers, env=quick_settings(more or {})
    )
    stack.warm = True
    write_plan(folder, stack.plan())
    try:
        yield stack
    finally:
        keep_logs(stack, unique)
        stack.reset()


@contextlib.contextmanager
def deployed(
    name: str,
    *,
    without: tuple[str, ...] = (),
    also: tuple[str, ...] = (),
    more: Mapping[str, Mapping[str, str]] | None = None,
    servers: Path = SERVERS,
) -> Iterator[Stack]:
    """A running, supervised deployment, with second instances `also`; `more` adds settings by process."""
    with made(name, more=more, servers=servers) as stack:
        stack.up([*(each for each in PROCESSES if each not in without), *also], seconds=90)
        yield stack


def keep_logs(stack: Stack, unique: str) -> None:
    """The logs outlive the deployment, for whoever looks for the reason of a failure; those of ten are kept."""
    old = sorted(LOGS.glob("*"), key=lambda each: each.stat().st_mtime)[:-9] if LOGS.exists() else []
    for each in old:
        shutil.rmtree(each, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        shutil.copytree(stack.directory / "logs", LOGS / unique)
        shutil.copy(stack.directory / "servers" / "kafka" / "kafka.log", LOGS / unique)


def remove_stale() -> None:
    """Remove what earlier runs left behind whose process is gone."""
    for folder in FOLDER.glob("*") if FOLDER.exists() else ():
        try:
            pid, started = json.loads((folder / "owner").read_text())
            if abs(psutil.Process(pid).create_time() - started) < 1:
                continue
        except psutil.NoSuchProcess:
            pass
        except (OSError, ValueError):
            if time.time() - folder.stat().st_mtime < 60:
                continue  # somebody is making it now
        with contextlib.suppress(LocalStackError, OSError, ValueError):
            read_plan(folder).reset()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    STOP = {signal.SIGINT, signal.SIGTERM}
    with deployed("hand") as kept:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP)  # not before: what is started would never hear of its end
        print(f"DEPLOYMENT={kept.directory}", flush=True)
        signal.sigwait(STOP)
