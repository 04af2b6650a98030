"""`python -m tests.soak --shard 1/2`: this shard's rounds that are not done yet, one after the other.

Killed, it is started again in the same way and goes on. `--seconds` ends it before a round that would not fit. The
first shard also measures the times of answers (`--timings` for these alone).
"""

import argparse
import logging
import signal
import sys
import time
from pathlib import Path

from local_stack import DEFAULT_DIRECTORY
from local_stack import servers as local_servers

from ..crash.watching import Seen, together
from ..deployment import SERVERS, remove_stale
from . import results, rounds, table, timings


def shard_of(text: str) -> tuple[int, int]:
    """`1/2` as its two numbers."""
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and 0 < int(index) <= int(count)):
        raise argparse.ArgumentTypeError("a shard is written 1/2: the first of two")
    return int(index), int(count)


def soak(index: int, count: int, seconds: float) -> int:
    """Do what is left of a shard; returns how many rounds were broken."""
    shard, began, longest, broken = f"{index}/{count}", time.monotonic(), 0.0, 0
    folder = DEFAULT_DIRECTORY / "soak" / shard.replace("/", "-of-")
    mine = range(index - 1, results.ROUNDS, count)
    left = [number for number in mine if number not in results.done()]
    print(f"shard {shard}: {len(left)} of {len(mine)} rounds to do", flush=True)
    local_servers.start(folder, durable=False)
    try:
        for number in left:
            if time.monotonic() - began + longest > seconds:
                print(f"shard {shard}: time is up; the same command goes on with round {number}")
                return broken
            found = rounds.run(number, folder)
            longest = max(longest, float(found.seconds))
            results.write(shard, found)
            table.write()
            broken += bool(found.broken)
            kills = f"{sum(found.kills.values())} kills, {len(found.points)} deaths at points"
            print(
                f"round {number}, seed {found.seed}: {kills}, {found.deletions} deletions, {found.seconds} s",
                flush=True,
            )
            print("\n".join(f"  {each}" for each in found.broken or ["  all invariants hold"]), flush=True)
        if index == 1 and {each.way for each in results.timings()} != set(timings.WAYS):
            measure(folder)
    finally:
        local_servers.halt(folder)
    return broken + _not_seen(shard)


def measure(servers: Path) -> None:
    """Measure how long answers take, and note it."""
    for timing in timings.measure(servers):
        results.write("timings", timing)
    table.write()


def _not_seen(shard: str) -> int:
    """How much a shard that is done should have seen and did not."""
    mine = [Seen(**found.seen) for of, found in results.rounds() if of == shard and not found.broken]
    lacking = together(mine).lacking()
    print(f"shard {shard} never saw: {', '.join(lacking)}" if lacking else f"shard {shard} is done")
    return len(lacking)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--shard", type=shard_of, default=(1, 1), help="such as 1/2")
    parser.add_argument("--seconds", type=float, default=3600, help="start no round that would end later")
    parser.add_argument("--timings", action="store_true", help="measure the times of answers anew, and do nothing else")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and so the deployment is removed
    remove_stale()
    if given.timings:
        measure(SERVERS)
        sys.exit()
    sys.exit(1 if soak(given.shard[0], given.shard[1], given.seconds) else 0)
