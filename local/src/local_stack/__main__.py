"""`python -m local_stack`: the whole stack, or its two servers alone.

Ports: BASE_PORT is the first of them (8400), <NAME>_PORT moves one, POSTGRES_PORT and KAFKA_PORT the servers'.
"""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import httpx

from local_stack import DEFAULT_DIRECTORY, LocalStackError, Misuse, clock, demo, servers
from local_stack.layout import CLIENTS, EVERY, MIGRATED, PORTS, PROCESSES, SECONDS
from local_stack.ports import configured
from local_stack.processes import read_pidfile, stop
from local_stack.stack import Stack
from local_stack.supervisor import read_plan

BASE_PORT = 8400
CLOCK = "clock"  # the file in a stack's folder
STACK, TESTS = DEFAULT_DIRECTORY / "stack", DEFAULT_DIRECTORY / "test"


def main() -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m local_stack", description=__doc__)
    parser.set_defaults(directory=None)
    commands = parser.add_subparsers(required=True)

    def command(name: str, do: Callable[[argparse.Namespace], None], about: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about, description=about)
        added.add_argument("--dir", dest="directory", type=Path, help="where its state is", default=argparse.SUPPRESS)
        added.set_defaults(do=do)
        return added

    up = command("up", _up, "start everything and wait until it is ready")
    up.add_argument("also", nargs="*", help=f"second instances beside it: {', '.join(SECONDS)}")
    down = command("down", _down, "stop everything, the demo's stack too; all that is kept stays")
    down.add_argument("names", nargs="*", help="these processes only")
    command("reset", _reset, "stop everything, the tests' servers too, and remove what was kept")
    command("status", _status, "say what runs, where, and what it lacks")
    command("logs", _logs, "follow the logs").add_argument("names", nargs="*", help="of these processes only")
    command("clock", _clock, "move domain time").add_argument("by", help="+45d, +36h, or 0 for real time")
    token = command("token", _token, "print a token of the development issuer")
    token.add_argument("client", choices=CLIENTS)
    token.add_argument("audience", help="the service that it is for")
    run = command("run", _run, "run a service's own command, such as `run dsr dead-letters list`")
    run.add_argument("service", choices=MIGRATED)
    run.add_argument("line", nargs=argparse.REMAINDER, help="what to hand over to it")
    shared = command("servers", _servers, "start (or stop) one Postgres and one Kafka, shared by all callers")
    shared.set_defaults(directory=TESTS)
    shared.add_argument("--json", action="store_true", help="print addresses and passwords as JSON")
    shared.add_argument("--prefix", help="also create topics, ACLs and users under this topic prefix")
    shared.add_argument("--stop", action="store_true")
    arguments = parser.parse_args()
    try:
        arguments.do(arguments)
    except LocalStackError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, Misuse) else 1
    except KeyboardInterrupt:
        return 130
    return 0


def _folders(arguments: argparse.Namespace) -> list[Path]:
    """Return the folder that was named, or else those of the stack and of the demo."""
    return [arguments.directory] if arguments.directory else [STACK, demo.FOLDER]


def _deployments() -> list[Stack]:
    """Return what the tests have deployed, or left behind."""
    folders = sorted(DEFAULT_DIRECTORY.glob("deployments/*"))
    return [
        read_plan(folder) if (folder / "plan.json").exists() else Stack(folder, servers_directory=TESTS)
        for folder in folders
    ]


def _up(arguments: argparse.Namespace) -> None:
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

    _check(arguments.also, SECONDS)
    directory = arguments.directory or STACK
    stack = Stack(directory, base_port=configured("BASE_PORT", len(PORTS)) or BASE_PORT, say=say)
    stack.up((*PROCESSES, *arguments.also))
    print(
        f"\nShop    {stack.url('website')}\nMail    {stack.url('sink')}\nPolicy  {stack.url('consent')}/policy\n"
        f"State and passwords are in {directory}.\n"
        "A new stack has no policy yet, so that page is a 404, and no customers: the section Play of local/README.md\n"
        "publishes the sample policy and registers a customer. `make status` shows what runs, `make down` stops it."
    )


def _down(arguments: argparse.Namespace) -> None:
    if arguments.names:
        _check(arguments.names, EVERY)
        Stack(arguments.directory or STACK).stop(*arguments.names)
    else:
        _stop(_folders(arguments))


def _stop(folders: list[Path]) -> None:
    for folder in folders:
        if folder == demo.FOLDER:
            stop(read_pidfile(demo.LOCK), grace=60.0)  # a demo that is being told stops its stack itself
        if folder.exists():
            Stack(folder).down()
            print(f"{folder} is stopped")


def _check(names: list[str], known: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            raise Misuse(f"there is no {name}; there are {', '.join(known)}")


def _reset(arguments: argparse.Namespace) -> None:
    if arguments.directory:
        Stack(arguments.directory).reset()
        return
    _stop(_folders(arguments))
    for stack in _deployments():
        stack.down()
    servers.halt(TESTS)
    shutil.rmtree(DEFAULT_DIRECTORY)
    print(f"{DEFAULT_DIRECTORY} is removed")


def _status(arguments: argparse.Namespace) -> None:
    looks = {folder: Stack(folder).parts() for folder in _folders(arguments)}
    if not arguments.directory:
        looks |= {stack.directory: stack.parts() for stack in _deployments()} | {TESTS: servers.parts(TESTS)}
    running = {folder: parts for folder, parts in looks.items() if any(part.pid for part in parts)}
    for folder, parts in running.items():
        print(folder, *parts, sep="\n")
    if not running:
        print("Nothing runs.")


def _logs(arguments: argparse.Namespace) -> None:
    folder = (arguments.directory or STACK) / "logs"
    files = {file.stem: file for file in sorted(folder.glob("*.log"))}
    if not files:
        raise LocalStackError(f"there are no logs in {folder}")
    _check(arguments.names, files)
    shown = [files[name] for name in arguments.names] or files.values()
    os.execvp("tail", ["tail", "-n", "20", "-F", *map(str, shown)])  # noqa: S606 # tail follows better than we would


def _clock(arguments: argparse.Namespace) -> None:
    print(f"domain time is {clock.move((arguments.directory or STACK) / CLOCK, arguments.by)} ahead")


def _running(arguments: argparse.Namespace) -> Stack:
    """Return the stack as it was started. Raises `LocalStackError` when its servers do not run."""
    folder = arguments.directory or STACK
    if not (folder / "plan.json").exists() or any(part.lacking for part in servers.parts(folder / "servers")):
        raise LocalStackError(f"the stack in {folder} does not run: start it with `make up`")
    return read_plan(folder)


def _token(arguments: argparse.Namespace) -> None:
    try:
        print(_running(arguments).token(arguments.client, arguments.audience))
    except httpx.HTTPError as error:
        raise LocalStackError(f"the issuer gave no token: {error}") from None


def _run(arguments: argparse.Namespace) -> None:
    given = _running(arguments).env(arguments.service)
    os.execve(sys.executable, [sys.executable, "-m", arguments.service, *arguments.line], given)  # noqa: S606 # as we are


def _servers(arguments: argparse.Namespace) -> None:
    if arguments.stop:
        servers.halt(arguments.directory)
        return
    running = servers.start(arguments.directory)
    if arguments.prefix:
        servers.converge(running, arguments.prefix)
    print(running.to_json() if arguments.json else f"{running.postgres}\n{running.kafka}")


if __name__ == "__main__":
    sys.exit(main())
