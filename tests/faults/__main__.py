"""`python -m tests.faults`: all cells of the matrix, long outages and a bad deploy, or those that are named.

What has passed is not run again, unless it is named.

`--list` prints the matrix; `--again` forgets what has passed; `--keep-going` goes on after a failure.
"""

import argparse
import asyncio
import json
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from local_stack import DEFAULT_DIRECTORY

from ..deployment import remove_stale
from ..invariants import assert_all_hold
from ..people import Company
from .bad_deploy import deploy_and_mend
from .cells import play, settle
from .matrix import ALL, CELLS, SERVERS, Cell
from .outages import outlast_poll, outlast_rebalance
from .place import Place, placed

OUTAGES = ("rebalance", "poll")
PASSED = DEFAULT_DIRECTORY / "faults.json"
"""Seconds by cell."""


def run(cases: list[str], passed: dict[str, float], keep_going: bool) -> list[str]:
    """Play them one after the other; note what passes. The ids of those that failed."""
    failed = []
    with placed("faults") as place:
        for case in cases:
            began = time.monotonic()
            try:
                asyncio.run(_alone(place, case))
            except Exception as error:
                failed.append(case)
                print(f"{case}: FAILED after {time.monotonic() - began:.1f} s", flush=True)
                traceback.print_exception(error)
                if not keep_going:
                    break
                place.recover()
            else:
                passed[case] = round(time.monotonic() - began, 1)
                PASSED.write_text(json.dumps(passed, indent=1))
                print(f"{case}: {passed[case]} s", flush=True)
    return failed


async def _alone(place: Place, case: str) -> None:
    async with httpx.AsyncClient(timeout=15, limits=httpx.Limits(keepalive_expiry=2)) as http:
        await CASES[case](place, Company(http, place.stack))


Case = Callable[[Place, Company], Awaitable[None]]


def _cell(cell: Cell) -> Case:
    async def case(place: Place, company: Company) -> None:
        await settle(company, await play(place, company, cell))

    return case


async def _bad_deploy(_: Place, company: Company) -> None:
    with TemporaryDirectory() as overlay:
        customer = await deploy_and_mend(company, Path(overlay), "TypeError")
    await assert_all_hold(company, {await company.delete(customer): customer})


def _outage(server: str, *, poll: bool) -> Case:
    async def case(place: Place, company: Company) -> None:
        if not poll:
            await outlast_rebalance(place, company, server)
            return
        with TemporaryDirectory() as overlay:
            await outlast_poll(place, company, server, Path(overlay))

    return case


CASES: dict[str, Case] = {str(cell): _cell(cell) for cell in CELLS}
CASES |= {f"{server}-outage-{name}": _outage(server, poll=name == "poll") for server in SERVERS for name in OUTAGES}
CASES["bad-deploy"] = _bad_deploy


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("cells", nargs="*", help="parts of ids, such as kafka- or -freeze-relay")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--keep-going", action="store_true")
    given = parser.parse_args()
    if given.list:
        for cell in ALL:
            print(f"{cell}: {cell.makes_no_sense}" if cell.makes_no_sense else cell)
        return 0
    passed: dict[str, float] = {} if given.again or not PASSED.exists() else json.loads(PASSED.read_text())
    wanted = [case for case in CASES if not given.cells or any(part in case for part in given.cells)]
    left = wanted if given.cells else [case for case in wanted if case not in passed]
    remove_stale()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and so the deployment is removed
    failed = run(left, passed, given.keep_going) if left else []
    print(f"{len(wanted)} cases, {len(left) - len(failed)} passed now, {len(failed)} failed: {' '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
