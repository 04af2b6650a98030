"""Outages of a server that outlast everybody's patience: consumers come back by themselves, and nothing is lost.

Too long for `make test`; `make faults` has them.
"""

import asyncio
import os
from pathlib import Path

from chassis.consumer.subscription import REBALANCE_MS

from ..people import Company
from .matrix import Cell
from .moments import BEGIN
from .place import ON_CHASSIS, RUNNING, Place
from .story import Story

POLL_SECONDS = 10
OVERLAY = f"""import os, pathlib, sys
import chassis.consumer.subscription as subscription
subscription.LONGEST_POLL_MS = {POLL_SECONDS * 1000} if hasattr(subscription, "LONGEST_POLL_MS") else sys.exit("moved")
pathlib.Path(__file__).with_name(os.environ["INSTANCE"]).touch()
"""
"""Laid over the code by a module that the interpreter imports at its start: a consumer that must poll that often. It
leaves a file, so that nobody takes the usual one for it."""


async def outlast_rebalance(place: Place, company: Company, server: str) -> Story:
    """Longer than the session and than the time that a group waits for its members."""
    return await _outlast(place, company, server, REBALANCE_MS / 1000 + 5)


async def outlast_poll(place: Place, company: Company, server: str, overlay: Path) -> Story:
    """Twice the longest time between two polls."""
    (overlay / "sitecustomize.py").write_text(OVERLAY)
    once = {"PYTHONPATH": str(overlay)}
    await asyncio.gather(*(company.off_loop(place.stack.restart, name, once) for name in ON_CHASSIS))
    await company.off_loop(place.stack.wait, *ON_CHASSIS)
    assert set(os.listdir(overlay)) >= set(ON_CHASSIS), "it was not laid over all"
    try:
        return await _outlast(place, company, server, 2 * POLL_SECONDS + 1)
    finally:
        await asyncio.gather(*(company.off_loop(place.stack.restart, name) for name in ON_CHASSIS))
        await company.off_loop(place.stack.wait, *ON_CHASSIS)


async def _outlast(place: Place, company: Company, server: str, seconds: float) -> Story:
    story = Story(company, Cell(server, "kill", "batch"), await company.register("patient", order=True))
    pids = [place.stack.pid(name) for name in RUNNING]
    async with BEGIN["batch"](story):
        await company.off_loop(place.kill, server)
    story.begin(story.knock())
    await asyncio.sleep(seconds)
    await company.off_loop(place.start_servers)
    await company.off_loop(place.stack.wait, *RUNNING)
    assert pids == [place.stack.pid(name) for name in RUNNING], "somebody ended in the outage"
    return story
