"""Fifty seeds, that a seed repeats itself, and that the simulation sees what it is there to see.

`SIMULATION_FROM` is the first seed; without it one is drawn, and printed.
"""

import asyncio
import inspect
import os
import random
import textwrap
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest

from chassis import jobs, outbox, timers
from chassis.consumer import batches, dead_letters
from chassis.sealing import Sealing
from local_stack.servers import Servers

from .world import Failed, Place, World, place

SEEDS = 50
MOST = 40
"""Seeds within which a broken mechanism must show."""
SHOWN = {
    "positions are not fenced": 8,
    "a dead letter does not hold its key": 19,
    "an erasure has no line in the ledger": 1,
    "an erasure takes keys that are newer": 1,
}
"""The seed that shows it, where it is not one of the first: nobody waits for those before it."""

# Those who break a mechanism say what they change in its text, so that nobody keeps a second version of it.
BROKEN: dict[str, tuple[Any, str, str, str]] = {
    "positions are not fenced": (
        batches.Batches,
        "_advance",
        ' AND positions.next_offset = moved.known"',
        ' AND moved.known IS NOT NULL"',
    ),
    "a repeat gets a new number": (
        outbox.Relay,
        "_number",
        "rows = await tx.fetch(",
        'await tx.execute("UPDATE chassis.outbox SET sequence = NULL")\n        rows = await tx.fetch(',
    ),
    "a job's effect is not bound to its claim": (jobs, "_finish", "if not affected(removed):", "if False:"),
    "an event is deleted before it is published": (
        outbox.Relay,
        "_publish_next",
        "await self._publish(producer, rows)",
        'await self._delete([row["id"] for row in rows])\n        await self._publish(producer, rows)',
    ),
    "a repeat is not recognised": (
        batches,
        "_remember",
        "fresh.append(name is None or name in new)",
        "fresh.append(True)",
    ),
    "a dead letter does not hold its key": (dead_letters, "held", "return {", "return set() and {"),
    "a timer's effect is not bound to its end": (
        timers,
        "_fire_one",
        "await handlers[timer.kind](timer, tx)",
        "async with transaction(pool) as other:\n                    await handlers[timer.kind](timer, other)",
    ),
    "an erasure has no line in the ledger": (Sealing, "erase", 'ledger.write(f"\\n{line}\\n".encode())', "pass"),
    "an erasure takes keys that are newer": (
        Sealing,
        "replay_ledger",
        " AND owners.created_at <= erased.at",
        " AND erased.at IS NOT NULL",
    ),
}


def test_nothing_is_lost_and_nothing_happens_twice(
    servers: Servers, record_property: Callable[[str, object], None]
) -> None:
    first = int(os.environ.get("SIMULATION_FROM") or random.SystemRandom().randrange(1_000_000))
    record_property("simulated seeds", f"{first} to {first + SEEDS - 1}")
    assert _failures(servers, range(first, first + SEEDS), SEEDS) == {}


def test_a_seed_repeats_itself_to_the_step(servers: Servers) -> None:
    async def traces() -> list[list[str]]:
        async with place(servers) as where:
            return [await _trace(where, 9) for _ in range(2)]

    first, again = asyncio.run(traces(), debug=False)
    assert first == again


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_mechanism_shows(servers: Servers, broken: str) -> None:
    owner, name, old, new = BROKEN[broken]
    function = getattr(owner, name)
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) >= 1, "the mechanism has another text now"
    made: dict[str, Any] = {}
    exec(source.replace(old, new, 1), function.__globals__, made)  # noqa: S102 - our own text
    with patch.object(owner, name, made[name]):
        first = SHOWN.get(broken, 0)
        [(seed, failure)] = _failures(servers, range(first, first + MOST), 1).items()
        assert _failures(servers, range(seed, seed + 1), 1) == {seed: failure}, "a seed that fails repeats its failure"


def _failures(servers: Servers, seeds: range, most: int) -> dict[int, str]:
    """By seed, what was not as it must be; ends at the `most`-th."""

    async def run() -> dict[int, str]:
        found: dict[int, str] = {}
        async with place(servers) as where:
            for seed in seeds:
                try:
                    await World(where, seed).run()
                except Failed as failed:
                    found[seed] = f"{failed}; python -m tests.simulation --seed {seed} --verbose"
                if len(found) == most:
                    break
        return found

    return asyncio.run(run(), debug=False)


async def _trace(where: Place, seed: int) -> list[str]:
    world = World(where, seed)
    await world.run()
    return world.schedule.trace
