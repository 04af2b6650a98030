"""The movable clock of a local stack: one file with the seconds by which domain time is ahead.

Invariant: it only ever moves forward, or back to zero; Kafka, tokens and leases use the real time.
"""

import re
from datetime import timedelta
from pathlib import Path

from local_stack import LocalStackError

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def read(path: Path) -> timedelta:
    """Return by how much domain time is ahead; nothing written is nothing ahead."""
    return timedelta(seconds=int(path.read_text("utf-8"))) if path.exists() else timedelta()


def move(path: Path, text: str) -> timedelta:
    """Move the clock, `+45d` or `+2h30m` ahead of where it stands, `0` back to real time; returns the new offset.

    Raises:
        LocalStackError: the text is not of this form.

    """
    ahead = timedelta() if text == "0" else read(path) + parse(text)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".draft")
    draft.write_text(str(int(ahead.total_seconds())), "utf-8")
    draft.replace(path)  # services read it at any moment, so it is never half written
    return ahead


def parse(text: str) -> timedelta:
    """Read `+45d`, `+36h` or `+1d12h`: weeks, days, hours, minutes, seconds."""
    if not re.fullmatch(r"\+(\d{1,6}[wdhms])+", text):
        raise LocalStackError(f"the clock understands `+45d`, `+36h`, `+1d12h` or `0`, not {text!r}")
    return timedelta(seconds=sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)([wdhms])", text)))
