"""`python -m local_stack`: the whole stack, or its two servers alone.

Ports: BASE_PORT is the first of them (8400), <NAME>_PORT moves one, POSTGRES_PORT and KAFKA_PORT the servers'.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from local_stack import DEFAULT_DIRECTORY, LocalStackError, clock, servers
from local_stack.layout import PROCESSES
from local_stack.ports import configured
from local_stack.stack import SUPERVISOR, Stack

BASE_PORT = 8400
CLOCK = "clock"  # the file in a stack's folder


def main() -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m local_stack", description=__doc__)
    parser.set_defaults(directory=DEFAULT_DIRECTORY / "stack")
    commands = parser.add_subparsers(required=True)

    def command(name: str, run: Callable[[argparse.Namespace], None], about: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about, description=about)
        added.add_argument("--dir", dest="directory", type=Path, help="where its state is", default=argparse.SUPPRESS)
        added.set_defaults(run=run)
        return added

    command("up", _up, "start everything and wait until it is ready")
    command("down", _down, "stop everything; all that is kept stays")
    command("reset", _reset, "stop everything and remove what was kept")
    command("status", _status, "say what runs, where, and what it lacks")
    command("logs", _logs, "follow the logs").add_argument("names", nargs="*", help="of these processes only")
    command("clock", _clock, "move domain time").add_argument("by", help="+45d, +36h, or 0 for real time")
    shared = command("servers", _servers, "start (or stop) one Postgres and one Kafka, shared by all callers")
    shared.set_defaults(directory=DEFAULT_DIRECTORY / "test")
    shared.add_argument("--json", action="store_true", help="print addresses and passwords as JSON")
    shared.add_argument("--prefix", help="also create topics, ACLs and users under this topic prefix")
    shared.add_argument("--stop", action="store_true")
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except LocalStackError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _stack(arguments: argparse.Namespace) -> Stack:
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

    return Stack(arguments.directory, base_port=configured("BASE_PORT") or BASE_PORT, say=say)


def _up(arguments: argparse.Namespace) -> None:
    stack = _stack(arguments)
    stack.up()
    print(
        f"\nShop    {stack.url('website')}\nMail    {stack.url('sink')}\nPolicy  {stack.url('consent')}/policy\n"
        f"State and passwords are in {arguments.directory}."
    )


def _down(arguments: argparse.Namespace) -> None:
    _stack(arguments).down()


def _reset(arguments: argparse.Namespace) -> None:
    _stack(arguments).reset()


def _status(arguments: argparse.Namespace) -> None:
    stack = _stack(arguments)
    if not any(stack.pid(name) for name in (SUPERVISOR, *PROCESSES)):
        print("Nothing runs.")
        return
    for name in PROCESSES:
        print(f"{name:10} {stack.pid(name) or '-':>8}  {stack.url(name):24} {stack.lacking(name) or 'ready'}")


def _logs(arguments: argparse.Namespace) -> None:
    folder = arguments.directory / "logs"
    files = [folder / f"{name}.log" for name in arguments.names] or sorted(folder.glob("*.log"))
    if not files:
        raise LocalStackError(f"there are no logs in {folder}")
    os.execvp("tail", ["tail", "-n", "20", "-F", *map(str, files)])  # noqa: S606 # tail follows better than we would


def _clock(arguments: argparse.Namespace) -> None:
    print(f"domain time is {clock.move(arguments.directory / CLOCK, arguments.by)} ahead")


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
