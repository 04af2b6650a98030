"""`python -m local_stack.supervisor FOLDER`: start again what died, with a growing pause.

Invariant: it starts only what is wanted, with the environment that the stack's owner wrote into `plan.json`, and ends
with nothing left to watch when the folder is gone.
"""

import json
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from local_stack import LocalStackError

if TYPE_CHECKING:
    from local_stack.stack import Stack

FIRST_PAUSE, LONGEST_PAUSE, STEADY = 0.3, 10.0, 20.0  # seconds


class Watched(Protocol):
    """What the supervisor asks of a stack."""

    def wanted(self) -> list[str]:
        """Return the processes that should run."""
        ...

    def pid(self, name: str) -> int | None:
        """Return a running process's pid."""
        ...

    def revive(self, name: str) -> None:
        """Start a process if it is still wanted."""
        ...


@dataclass
class Watch:
    """How a process fares: when it was last started, and how long to wait before the next start."""

    started: float = 0.0
    pause: float = FIRST_PAUSE
    due: float | None = None


def read_plan(directory: Path) -> "Stack":
    """Make the stack of a folder again."""
    from local_stack.stack import Stack

    plan: dict[str, Any] = json.loads((directory / "plan.json").read_text("utf-8"))
    shared, warm = plan.pop("servers_directory"), plan.pop("warm", False)
    stack = Stack(directory, servers_directory=Path(shared) if shared else None, **plan)
    stack.warm = warm
    return stack


def watch_once(stack: Watched, watches: dict[str, Watch], now: float) -> list[str]:
    """Start what is wanted, died, and has waited long enough; returns what was started."""
    started = []
    for name in stack.wanted():
        watch = watches.setdefault(name, Watch())
        if stack.pid(name) is not None:
            watch.due = None
            if now - watch.started > STEADY:
                watch.pause = FIRST_PAUSE
        elif watch.due is None:
            watch.due = now + watch.pause
        elif now >= watch.due:
            watch.due, watch.started, watch.pause = None, now, min(watch.pause * 2, LONGEST_PAUSE)
            stack.revive(name)
            started.append(name)
    return started


def main() -> None:
    """Watch until stopped."""
    directory = Path(sys.argv[1])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    watches: dict[str, Watch] = {}
    plan, read = directory / "plan.json", 0.0
    while plan.exists():
        try:
            if plan.stat().st_mtime != read:  # the owner changed an override
                stack, read = read_plan(directory), plan.stat().st_mtime
            for name in watch_once(stack, watches, time.monotonic()):
                print(f"{time.strftime('%H:%M:%S')} started {name} again", flush=True)
        except (LocalStackError, OSError) as error:
            print(f"{time.strftime('%H:%M:%S')} {error}", flush=True)
        time.sleep(0.2)


if __name__ == "__main__":
    main()
