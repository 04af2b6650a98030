"""Runs the sample once for each crash point, one after the other: imports once, then forks a process for each.

Says on standard output how each of them ended.
"""

import os
import sys
import time

import sample  # type: ignore[import-not-found]  # this file is run, and stands beside it

from chassis.app import main
from chassis.crash import POINTS
from chassis.settings import Settings

SECONDS = 60


def run(point: str) -> int:
    """The status of a process that was to die at this point."""
    pid = os.fork()
    if pid == 0:
        os.environ["CRASH_POINT"] = point
        main(sample.SERVICE, Settings, lambda runtime: sample.Sample().app(runtime), sample.MIGRATIONS)
        os._exit(0)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return 0


if __name__ == "__main__":
    for name in POINTS:
        print(name, run(name), file=sys.stdout, flush=True)
