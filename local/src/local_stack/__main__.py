"""`python -m local_stack servers`: the two servers of a folder."""

import argparse
import sys
from pathlib import Path

from local_stack import DEFAULT_DIRECTORY, LocalStackError, servers


def main() -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m local_stack", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("servers", help="start (or stop) one Postgres and one Kafka, shared by all callers")
    command.add_argument("--dir", type=Path, default=DEFAULT_DIRECTORY / "test")
    command.add_argument("--json", action="store_true", help="print addresses and passwords as JSON")
    command.add_argument("--stop", action="store_true")
    command.add_argument("--prefix", help="also create topics, ACLs and users under this topic prefix")
    arguments = parser.parse_args()
    try:
        if arguments.stop:
            servers.halt(arguments.dir)
            return 0
        running = servers.start(arguments.dir)
        if arguments.prefix:
            servers.converge(running, arguments.prefix)
        print(running.to_json() if arguments.json else f"{running.postgres}\n{running.kafka}")
    except LocalStackError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
