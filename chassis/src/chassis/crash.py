"""Named places at which a process may die, so that tests can kill it at each of them.

`CRASH_POINT=<name>[:n]` ends the process as `kill -9` would, when the point is passed for the n-th time;
`CRASH_POINT=<name>[:n]:stop` pauses it there instead, until somebody sends SIGCONT. Either is said on standard error.
"""

import os
import signal
from collections import Counter

POINTS = (
    *("consumer.after-inbox", "consumer.before-commit", "consumer.after-commit"),
    *("relay.after-numbering", "relay.in-transaction", "relay.after-produce", "relay.after-delete"),
    *("timers.before-commit", "timers.after-commit"),
    *("jobs.after-claim", "jobs.before-effect", "jobs.after-effect"),
    "sealing.after-ledger",
)
_passed: Counter[str] = Counter()


def point(name: str) -> None:
    """Die here, or pause, if the environment says so."""
    wanted, *how = os.environ.get("CRASH_POINT", "").split(":")
    if name != wanted:
        return
    pauses = "stop" in how
    _passed[name] += 1
    if _passed[name] == int(next((times for times in how if times.isdecimal()), 1)):
        os.write(2, f"crash point {name}: {'paused' if pauses else 'killed'}\n".encode())
        os.kill(os.getpid(), signal.SIGSTOP if pauses else signal.SIGKILL)
