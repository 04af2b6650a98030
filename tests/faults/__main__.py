"""`python -m tests.faults`: all cells of the matrix, long outages and a bad deploy, or those that are named.

Some are played one after the other before their deletions come to their end and everything is counted; those that are
named are counted one by one. What has passed is noted for `docs/faults.md`, and not run again unless it is named.

`--list` prints the matrix; `--again` forgets what has passed of these; `--keep-going` goes on after a failure.
"""

import argparse
import asyncio
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from ..deployment import remove_stale
from ..invariants import assert_all_hold
from ..people import Company
from ..soak import results, table
from .bad_deploy import deploy_and_mend
from .cells import play, settle
from .matrix import ALL, CELLS, SERVERS, Cell
from .outages import outlast_poll, outlast_rebalance
from .place import Place, placed
from .story import Story

TOGETHER = 6
OUTAGES = ("rebalance", "poll")


def run(cases: list[str], passed: dict[str, float], *, keep_going: bool, together: int) -> list[str]:
    """Play them, so many `together` before they are counted; note what passes. The ids of those that failed."""
    failed: list[str] = []
    with placed("faults") as place:
        for first in range(0, len(cases), together):
            passed |= asyncio.run(_played(place, cases[first : first + together], failed))
            results.write_cells(passed)
            table.write()
            if failed and not keep_going:
                break
    return failed


async def _played(place: Place, cases: Sequence[str], failed: list[str]) -> dict[str, float]:
    """Play these, then see all of it through; seconds by case of what passed, the others are added to `failed`."""
    took: dict[str, float] = {}
    stories: list[Story] = []
    async with httpx.AsyncClient(timeout=15, limits=httpx.Limits(keepalive_expiry=2)) as http:
        company = Company(http, place.stack)
        for case in cases:
            began = time.monotonic()
            try:
                stories += await CASES[case](place, company)
            except Exception as error:
                failed.append(case)
                _tell(case, error)
                await asyncio.to_thread(place.recover)
            else:
                took[case] = round(time.monotonic() - began, 1)
                print(f"{case}: {took[case]} s", flush=True)
        try:
            await settle(company, *stories)
        except Exception as error:
            failed += took
            _tell(f"one of {' '.join(took)}, which deleted {[list(story.deleted) for story in stories]}", error)
            await asyncio.to_thread(place.recover)
            return {}
    return took


def _tell(what: str, error: Exception) -> None:
    print(f"{what}: FAILED", flush=True)
    traceback.print_exception(error)


Case = Callable[[Place, Company], Awaitable[list[Story]]]
"""Gives the stories that have to come to their end yet."""


def _cell(cell: Cell) -> Case:
    async def case(place: Place, company: Company) -> list[Story]:
        return [await play(place, company, cell)]

    return case


async def _bad_deploy(_: Place, company: Company) -> list[Story]:
    with TemporaryDirectory() as overlay:
        customer = await deploy_and_mend(company, Path(overlay), "TypeError")
    await assert_all_hold(company, {await company.delete(customer): customer})
    return []


def _outage(server: str, *, poll: bool) -> Case:
    async def case(place: Place, company: Company) -> list[Story]:
        if not poll:
            return [await outlast_rebalance(place, company, server)]
        with TemporaryDirectory() as overlay:
            return [await outlast_poll(place, company, server, Path(overlay))]

    return case


CASES: dict[str, Case] = {str(cell): _cell(cell) for cell in CELLS}
CASES |= {f"{server}-outage-{name}": _outage(server, poll=name == "poll") for server in SERVERS for name in OUTAGES}
CASES["bad-deploy"] = _bad_deploy


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("cells", nargs="*", help="parts of ids, such as kafka-; behind -- such as -freeze-relay")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--keep-going", action="store_true")
    given = parser.parse_args()
    if given.list:
        for cell in ALL:
            print(f"{cell}: {cell.makes_no_sense}" if cell.makes_no_sense else cell)
        return 0
    passed = results.cells()
    wanted = [case for case in CASES if not given.cells or any(part in case for part in given.cells)]
    if given.again:
        passed = {case: seconds for case, seconds in passed.items() if case not in wanted}
    left = wanted if given.cells else [case for case in wanted if case not in passed]
    remove_stale()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and so the deployment is removed
    together = 1 if given.cells else TOGETHER
    failed = run(left, passed, keep_going=given.keep_going, together=together) if left else []
    print(f"{len(wanted)} cases, {len(left) - len(failed)} passed now, {len(failed)} failed: {' '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
