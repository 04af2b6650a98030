"""Named places at which a process may die, so that tests can kill it at each of them.

`CRASH_POINT=<name>[:n]` ends the process as `kill -9` would, when the point is passed for the n-th time.
"""

import os
import signal
from collections import Counter

POINTS = (
    "consumer.after-inbox",
    "consumer.before-commit",
    "consumer.after-commit",
    "relay.after-numbering",
    "relay.in-transaction",
    "relay.after-produce",
    "relay.after-delete",
    "timers.before-commit",
    "timers.after-commit",
    "jobs.after-claim",
    "jobs.before-effect",
    "jobs.after-effect",
    "sealing.after-ledger",
)
_passed: Counter[str] = Counter()


def point(name: str) -> None:
    """Die here, if the environment says so."""
    wanted, _, times = os.environ.get("CRASH_POINT", "").partition(":")
    if name != wanted:
        return
    _passed[name] += 1
    if _passed[name] == int(times or 1):
        os.kill(os.getpid(), signal.SIGKILL)
