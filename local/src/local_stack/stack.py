"""A whole deployment in one folder: servers, sink, issuer, services, company.

Invariant: what should run is written in `wanted/`, what runs in `pids/`; whoever changes either holds the lock. So a
second caller, or a run after a crash, continues where the first one stopped.
"""

import asyncio
import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from local_stack import LocalStackError, databases, servers, state, warm
from local_stack.environment import Deployment, command, database_url, environment, url
from local_stack.layout import EVERY, MIGRATED, PROCESSES, SECONDS
from local_stack.ports import LOOPBACK, claim, last_ports, unready
from local_stack.processes import Part, alive, kill, read_pidfile, send, spawn, stop, wait_for

Overrides = Mapping[str, Mapping[str, str]]
SUPERVISOR, STARTER = "supervisor", "starter"


def _silent(_: str) -> None:
    return None


def _end(said: str) -> str:
    return "\n".join(said.splitlines()[-15:])


class Stack:
    """A deployment. Nothing runs until `up`, or `prepare` and `start`.

    Args:
        directory: where all of it is kept; make it absolute to share it between processes.
        prefix: of topics, groups and transactional ids.
        suffix: of database names, so that several deployments share one Postgres.
        servers_directory: whose servers to use; `directory/servers` when None. Shared ones are left running.
        base_port: the first of the ports; None takes free ones.
        env: settings beside the usual ones, by process name.
        say: told a line of progress now and then.

    """

    def __init__(  # each is one dimension in which tests differ
        self,
        directory: Path,
        *,
        prefix: str = "privacy.",
        suffix: str = "",
        servers_directory: Path | None = None,
        base_port: int | None = None,
        env: Overrides | None = None,
        say: Callable[[str], None] = _silent,
    ) -> None:
        self.directory = directory.resolve()
        self._own_servers = servers_directory is None
        self._servers_directory = servers_directory or self.directory / "servers"
        self._prefix, self._suffix, self._base_port = prefix, suffix, base_port
        self.overrides: dict[str, dict[str, str]] = {name: dict(given) for name, given in (env or {}).items()}
        self._say = say
        self.warm = False
        """Whether Python programs are started by `local_stack.warm`, which is quicker."""
        self._deployment: Deployment | None = None

    @property
    def deployment(self) -> Deployment:
        """The running servers, ports and secrets; starts the servers when they do not run."""
        if self._deployment is None:
            running = servers.start(self._servers_directory)
            ports = self._choose_ports()
            with servers.locked(self.directory):
                state.master_keys(self.directory)
                secrets = state.client_secrets(self.directory)
            self._deployment = Deployment(self.directory, self._prefix, self._suffix, ports, secrets, running)
        return self._deployment

    def _choose_ports(self) -> dict[str, int]:
        with servers.locked(self.directory):
            runs = any(self.pid(name) for name in (SUPERVISOR, *EVERY))
            return state.choose_ports(self.directory, self._base_port, keep=runs)

    # Names and addresses

    def url(self, name: str) -> str:
        """Return the address of a process, without a trailing slash."""
        return url(self.deployment, name)

    def database_url(self, service: str, *, owner: bool = False) -> str:
        """Return the address of a service's database as its runtime role, or as its owner."""
        return database_url(self.deployment, service, owner=owner)

    def env(self, name: str) -> dict[str, str]:
        """Return the environment with which a process is started; a second instance has the settings of the first."""
        given, service = environment(self.deployment, name), EVERY[name].service
        return {**given, **self.overrides.get(service, {}), **self.overrides.get(name, {})}

    def pid(self, name: str) -> int | None:
        """Return the pid of a process, None when it does not run."""
        identity = read_pidfile(self._pidfile(name))
        return identity.pid if identity is not None and alive(identity) else None

    def log(self, name: str) -> Path:
        """Return where a process writes its log."""
        return self.directory / "logs" / f"{name}.log"

    def token(self, client: str, audience: str) -> str:
        """Ask the issuer for a token of a client for a service."""
        form = {"grant_type": "client_credentials", "audience": audience}
        auth = (client, self.deployment.secrets[client])
        answer = httpx.post(f"{self.url('issuer')}/token", data=form, auth=auth).raise_for_status()
        return str(answer.json()["access_token"])

    # Life

    def up(self, names: Iterable[str] = tuple(PROCESSES), *, seconds: float = 90.0, supervised: bool = True) -> None:
        """Prepare, start, and wait until all of it is ready.

        Raises:
            LocalStackError: a port is in use, then nothing is started; or something did not start, and the message
                names it and holds the end of its log.

        """
        names = list(names)
        ports = self._choose_ports()
        for name in names:
            self._claim(name, ports)
        self.prepare()
        self.start(*names)
        self.wait(*names, seconds=seconds)
        if supervised:
            self.supervise()

    def prepare(self) -> None:
        """Start the servers; make topics, rights, databases and tables. Running it again is harmless."""
        began = time.monotonic()
        deployment = self.deployment
        self._say(f"Postgres and Kafka answer ({time.monotonic() - began:.1f} s)")
        servers.converge(deployment.servers, deployment.prefix)
        self._say("topics, rights and users are as topics.toml says")
        asyncio.run(self._create_databases())
        self.migrate()
        self._say(f"{len(MIGRATED)} databases are migrated")

    async def _create_databases(self) -> None:
        superuser = self.deployment.servers.postgres.url
        for service in MIGRATED:
            await databases.create_database(superuser, service, f"{service}{self._suffix}")

    def migrate(self) -> None:
        """Run every service's migrations, side by side.

        Raises:
            LocalStackError: one failed; the message holds the end of what it said.

        """
        with ThreadPoolExecutor(len(MIGRATED)) as side_by_side:
            ended = dict(zip(MIGRATED, side_by_side.map(self._migrated, MIGRATED), strict=True))
        for service, (status, said) in ended.items():
            if status:
                raise LocalStackError(f"{service} could not migrate:\n{_end(said)}")

    def _migrated(self, service: str) -> tuple[int, str]:
        return self.run(service, "migrate", more={"OWNER_DATABASE_URL": self.database_url(service, owner=True)})

    def run(self, service: str, *arguments: str, more: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Run a service's own command to its end; its exit status, and all that it said."""
        line, given = [sys.executable, "-m", service, *arguments], {**self.env(service), **(more or {})}
        with tempfile.NamedTemporaryFile() as output:
            said = Path(output.name)
            if (by := self._starter()) and warm.can_start(line, given):
                status = warm.start(by, line, given, said, wait=True)
            else:
                status = subprocess.run(line, env=given, stdout=output, stderr=output, check=False).returncode
            return status, said.read_text("utf-8", "replace")

    def start(self, *names: str, once: Mapping[str, str] | None = None, watched: bool = True) -> None:
        """Start processes that do not run. `once` is environment for this start alone, not for one by the supervisor.

        One that is not `watched` stays dead when it dies.

        Raises:
            LocalStackError: a port is in use by another program.

        """
        deployment = self.deployment
        with servers.locked(self.directory):
            self._wanted("").mkdir(exist_ok=True)
            state.write_plan(self.directory, self.plan())
            for name in names:
                if watched:
                    self._wanted(name).touch()
                self._spawn(deployment, name, once or {})

    def revive(self, name: str) -> None:
        """Start a process if it is still wanted: what the supervisor does, against a caller who stops it meanwhile."""
        deployment = self.deployment
        with servers.locked(self.directory):
            if self._wanted(name).exists():
                self._spawn(deployment, name, {})

    def _spawn(self, deployment: Deployment, name: str, once: Mapping[str, str]) -> None:
        if self.pid(name) is not None:
            return
        self._claim(name, deployment.ports)
        given = {**self.env(name), **once}
        line = command(deployment, name)
        spawn(line, env=given, log=self.log(name), pidfile=self._pidfile(name), by=self._starter())

    def _starter(self) -> Path | None:
        """The socket of whoever starts programs quickly, who is started first if need be."""
        if not self.warm:
            return None
        at = self.directory / STARTER / "socket"
        with servers.locked(at.parent):
            if self.pid(STARTER) is None:
                at.unlink(missing_ok=True)
                line = [sys.executable, "-m", "local_stack.warm", str(at)]
                spawn(line, env=state.inherited(), log=self.log(STARTER), pidfile=self._pidfile(STARTER))
                if not wait_for(lambda: at.exists() or self.pid(STARTER) is None, 60) or not at.exists():
                    raise LocalStackError(f"what starts programs did not start:\n{self.tail(STARTER)}")
        return at

    def _claim(self, name: str, ports: Mapping[str, int]) -> None:
        if self.pid(name) is not None or not EVERY[name].http:
            return
        for port in (name, "smtp") if name == "sink" else (name,):
            all_of_them = ", or BASE_PORT for all of them," if self._base_port else ""
            claim(port, ports[port], f"{state.variable(port)}{all_of_them}")

    def wait(self, *names: str, seconds: float = 120.0) -> None:
        """Wait until processes are ready.

        Raises:
            LocalStackError: one is not ready in time, or died and nobody starts it again; the message says what it
            lacks and how its log ends.

        """
        began = time.monotonic()
        waiting = list(names)
        while waiting:
            for name in list(waiting):
                lacking = self.lacking(name)
                if lacking is None:
                    waiting.remove(name)
                    self._say(f"{name}: {EVERY[name].about} ({time.monotonic() - began:.1f} s)")
                elif time.monotonic() - began > seconds or (self.pid(name) is None and self.pid(SUPERVISOR) is None):
                    raise LocalStackError(f"{name} is not ready: {self.lacking(name)}\n{self.tail(name)}")
            time.sleep(0.1)

    def lacking(self, name: str) -> str | None:
        """Return what keeps a process from being ready, None when nothing does."""
        if self.pid(name) is None:
            return "it does not run"
        return unready(last_ports(self.directory)[name]) if EVERY[name].http else None

    def parts(self) -> list[Part]:
        """Return how each process fares, and the servers if they are this stack's own. It only looks."""
        found = servers.parts(self._servers_directory) if self._own_servers else []
        for name, process in EVERY.items():
            pid = self.pid(name)
            if name in SECONDS and not (pid or self._wanted(name).exists()):
                continue
            where = f"http://{LOOPBACK}:{last_ports(self.directory)[name]}" if pid and process.http else ""
            found.append(Part(name, pid, where, self.lacking(name)))
        pid = self.pid(SUPERVISOR)
        return [*found, Part(SUPERVISOR, pid, "", None if pid else "it does not run")]

    def stop(self, *names: str) -> None:
        """Stop processes and leave them stopped."""
        for name in names:
            with servers.locked(self.directory):
                self._wanted(name).unlink(missing_ok=True)
                identity = read_pidfile(self._pidfile(name))
            stop(identity)

    def kill(self, name: str, *, for_good: bool = False) -> None:
        """Kill a process with SIGKILL; the supervisor, if one runs, starts it again, unless it is `for_good`."""
        if for_good:
            with servers.locked(self.directory):
                self._wanted(name).unlink(missing_ok=True)
        kill(read_pidfile(self._pidfile(name)))

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a process, like SIGSTOP and SIGCONT."""
        identity = read_pidfile(self._pidfile(name))
        if identity is not None:
            send(identity, number)

    def restart(self, name: str, once: Mapping[str, str] | None = None, *, watched: bool = True) -> None:
        """Stop a process and start it with the overrides as they are now."""
        self.stop(name)
        self.start(name, once=once, watched=watched)

    def supervise(self) -> None:
        """Start the supervisor, a process that starts again what died, unless one runs."""
        with servers.locked(self.directory):
            if self.pid(SUPERVISOR) is None:
                line = [sys.executable, "-m", "local_stack.supervisor", str(self.directory)]
                spawn(line, env=state.inherited(), log=self.log(SUPERVISOR), pidfile=self._pidfile(SUPERVISOR))

    def down(self) -> None:
        """Stop everything, the servers too if they are this stack's own. All that is kept stays."""
        stop(read_pidfile(self._pidfile(SUPERVISOR)))
        for name in reversed(EVERY):
            self.stop(name)
        stop(read_pidfile(self._pidfile(STARTER)))
        if self._own_servers:
            servers.halt(self._servers_directory)
        self._deployment = None

    def reset(self) -> None:
        """Stop everything and remove what was kept: the folder, and on shared servers topics and databases."""
        if not self.directory.exists():
            return
        if not self._own_servers:
            deployment = self.deployment
            self.down()
            servers.remove_topics(deployment.servers, self._prefix)
            asyncio.run(self._drop_databases(deployment.servers.postgres.url))
        else:
            self.down()
        shutil.rmtree(self.directory)

    async def _drop_databases(self, superuser: str) -> None:
        for service in MIGRATED:
            await databases.drop_database(superuser, f"{service}{self._suffix}")

    # Files

    def tail(self, name: str) -> str:
        """Return the end of a process's log."""
        with contextlib.suppress(FileNotFoundError):
            return _end(self.log(name).read_text("utf-8", "replace"))
        return ""

    def plan(self) -> dict[str, Any]:
        """Return what makes this stack again in another process."""
        shared = None if self._own_servers else str(self._servers_directory.resolve())
        own = {"prefix": self._prefix, "suffix": self._suffix, "base_port": self._base_port, "env": self.overrides}
        return {"servers_directory": shared, "warm": self.warm, **own}

    def wanted(self) -> list[str]:
        """Return the processes that should run, in the order of their start."""
        return [name for name in EVERY if self._wanted(name).exists()]

    def _pidfile(self, name: str) -> Path:
        return self.directory / "pids" / name

    def _wanted(self, name: str) -> Path:
        return self.directory / "wanted" / name
