"""`python -m tests.simulation --seeds 1000 --from 0`, or one again: `--seed 7 --verbose`."""

import argparse
import asyncio
import logging
import sys
import time

from chassis.crash import POINTS
from local_stack import DEFAULT_DIRECTORY
from local_stack import servers as local_servers

from .world import World, place

LONGEST = 120
"""Seconds after which a seed stands still."""


async def simulate(seeds: range, verbose: bool) -> int:
    """Run them; say which failed and how to repeat it. Returns how many failed."""
    failed, began = 0, time.monotonic()
    servers = await asyncio.to_thread(local_servers.start, DEFAULT_DIRECTORY / "test", durable=False)
    async with place(servers) as where:
        for seed in seeds:
            world = World(where, seed)
            try:
                async with asyncio.timeout(LONGEST):
                    await world.run()
            except Exception as error:
                failed += 1
                print(f"seed {seed}: {type(error).__name__}: {error}")
                print(f"  again: python -m tests.simulation --seed {seed} --verbose", flush=True)
            if verbose:
                print("\n".join(world.schedule.trace))
            if seed % 50 == 49:
                print(f"up to seed {seed}: {failed} failed, {time.monotonic() - began:.0f} s", flush=True)
    print(f"{len(seeds)} seeds, {failed} failed, {time.monotonic() - began:.1f} s")
    print("killed at:", ", ".join(f"{each} {where.killed[each]}" for each in POINTS))
    return failed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=50, help="how many")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first of them")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--verbose", action="store_true", help="print each step")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)  # that something waits, or failed and is tried again, is what all this is about
    seeds = range(given.first, given.first + given.seeds) if given.seed is None else range(given.seed, given.seed + 1)
    sys.exit(1 if asyncio.run(simulate(seeds, given.verbose)) else 0)
