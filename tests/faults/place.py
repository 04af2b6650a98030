"""A company with two servers of its own, which tests may kill, and a door before each of them.

Nothing is started again by itself here: what a test ends stays away until it says otherwise.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from uuid_utils.compat import uuid7

from local_stack import databases, servers
from local_stack.layout import PROCESSES
from local_stack.ports import free_port
from local_stack.processes import kill
from local_stack.stack import Stack

from ..deployment import FOLDER, ON_KAFKA, keep_logs, quick_settings
from .doors import Door, doors
from .matrix import SERVERS

ON_CHASSIS = ("consent", "dsr", "notifier", "audit", "accounts")
WITHOUT = ("website",)
RUNNING = tuple(name for name in PROCESSES if name not in WITHOUT)


@dataclass
class Place:
    """The deployment, its servers and their doors."""

    stack: Stack
    doors: dict[str, Door]

    @property
    def folder(self) -> Path:
        """Where the servers are kept."""
        return self.stack.directory / "servers"

    def start_servers(self) -> servers.Servers:
        """Start those that do not run."""
        return servers.start(self.folder, kafka_advertised=self.doors["kafka"].port, durable=False)

    def processes(self, server: str) -> list[psutil.Process]:
        """A server's process and its children; none when it does not run."""
        identity = servers.running(self.folder, server)
        if identity is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            first = psutil.Process(identity.pid)
            return [first, *first.children(recursive=True)]
        return []

    def halt(self, server: str) -> None:
        """End a server in order."""
        servers.HALTS[server](servers.running(self.folder, server))

    def kill(self, server: str) -> None:
        """End it with SIGKILL, its children too, as the end of a machine would."""
        identity, all_of_it = servers.running(self.folder, server), self.processes(server)
        self.signal(server, signal.SIGKILL)
        kill(identity)
        psutil.wait_procs(all_of_it[1:], timeout=10)

    def recover(self) -> None:
        """Start anew whatever a failed test has left in some state."""
        for server in SERVERS:
            self.kill(server)
        self.start_servers()
        for name in RUNNING:
            self.stack.kill(name)
        self.stack.start(*RUNNING)
        self.stack.wait(*RUNNING)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a service, or to all processes of a server; the parent first, so that it has no more."""
        if name not in SERVERS:
            self.stack.signal(name, number)
            return
        for process in self.processes(name):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def fill_disk(self, name: str) -> None:
        """Let no write to a file succeed any more, with EFBIG, in any process of it. Needs no privilege."""
        for process in self.processes(name) if name in SERVERS else [psutil.Process(self.stack.pid(name))]:
            with contextlib.suppress(psutil.NoSuchProcess):
                _limit(process, "0")

    def free_disk(self, name: str) -> None:
        """Let a service write again."""
        _limit(psutil.Process(self.stack.pid(name)), "unlimited")

    @contextlib.asynccontextmanager
    async def second(self, http: httpx.AsyncClient, name: str) -> AsyncIterator[str]:
        """A further instance of a service, beside the one of the deployment; gives its address."""
        port = free_port()
        env = self.stack.env(name) | {"PORT": str(port), "INSTANCE": "second"}
        with self.stack.log(f"{name}-second").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", name, "serve"), env=env, stdout=log, stderr=log
            )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


def _limit(process: psutil.Process, size: str) -> None:
    """Set the soft RLIMIT_FSIZE as the process's own user, who alone may without CAP_SYS_RESOURCE.

    A child of a server may end meanwhile.
    """
    ids = process.uids().real, process.gids().real
    switch = [] if ids[0] == os.geteuid() else ["setpriv", f"--reuid={ids[0]}", f"--regid={ids[1]}", "--clear-groups"]
    done = subprocess.run([*switch, "prlimit", f"--pid={process.pid}", f"--fsize={size}:"], check=False)
    if done.returncode and process.is_running():
        done.check_returncode()


@contextlib.contextmanager
def placed(name: str, more: Mapping[str, Mapping[str, str]] | None = None) -> Iterator[Place]:
    """The company, running; removed at the end, but for its logs."""
    folder = FOLDER / f"{name}{uuid7().hex[-8:]}"
    folder.mkdir(parents=True)
    (folder / "owner").write_text(json.dumps([os.getpid(), psutil.Process().create_time()]))
    stack = Stack(folder)
    stack.warm = True
    with doors(2) as made:
        place = Place(stack, dict(zip(SERVERS, made, strict=True)))
        try:
            running = place.start_servers()
            place.doors["postgres"].lead(running.postgres.port)
            place.doors["kafka"].lead(int(running.kafka.bootstrap.rpartition(":")[2]))
            stack.overrides |= _through_doors(place, running, quick_settings(more or {}))
            stack.up(RUNNING, seconds=90, supervised=False)
            yield place
        finally:
            keep_logs(stack, folder.name)
            place.signal("postgres", signal.SIGCONT)
            place.signal("kafka", signal.SIGCONT)
            stack.reset()


def _through_doors(
    place: Place, running: servers.Servers, given: dict[str, dict[str, str]]
) -> dict[str, dict[str, str]]:
    for name in ON_KAFKA:
        url = databases.url(place.doors["postgres"].port, name, running.postgres.roles[name], name)
        given.setdefault(name, {})
        given[name] |= {"DATABASE_URL": url, "KAFKA_BOOTSTRAP": f"127.0.0.1:{place.doors['kafka'].port}"}
    return given
