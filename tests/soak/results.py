"""What rounds found, one JSON object a line, in a file for each shard; what stands there is done.

A line is written at the end of a round and never changed, so a shard that is killed goes on with the round it was in.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from local_stack import ROOT

FOLDER = ROOT / "docs" / "faults"
ROUNDS = 10
KILLS = 100
"""Kills at random in each round; a thousand in all."""


@dataclass(frozen=True)
class Round:
    """One round. `points` are deaths, as `[process, point]`; `broken` says which invariants did not hold."""

    number: int
    seed: int
    revision: str
    began: str
    seconds: int
    dying_seconds: int
    kills: dict[str, int]
    points: list[list[str]]
    planned: int
    deletions: int
    unknown: int
    repeated_mails: int
    seen: dict[str, int]
    broken: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Timing:
    """Seconds of one way to ask, for known and for unknown addresses; `delta` is Cliff's, `p` Mann and Whitney's."""

    way: str
    known: int
    unknown: int
    median_known: float
    median_unknown: float
    delta: float
    p: float
    revision: str


def write(shard: str, found: Round | Timing) -> None:
    """Add a line to a shard's file."""
    FOLDER.mkdir(exist_ok=True)
    line = json.dumps({type(found).__name__.lower(): asdict(found)})
    with (FOLDER / f"{shard.replace('/', '-of-')}.jsonl").open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def _read(kind: str, folder: Path) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_text("utf-8").splitlines():
            told = json.loads(line)
            if kind in told:
                found.append((file.stem.replace("-of-", "/"), told[kind]))
    return found


def rounds(folder: Path = FOLDER) -> list[tuple[str, Round]]:
    """Every round that came to an end, with its shard, by number and time."""
    found = [(shard, Round(**told)) for shard, told in _read("round", folder)]
    return sorted(found, key=lambda each: (each[1].number, each[1].began))


def timings(folder: Path = FOLDER) -> list[Timing]:
    """The last measurement of each way to ask."""
    return list({told["way"]: Timing(**told) for _, told in _read("timing", folder)}.values())


def done(folder: Path = FOLDER) -> set[int]:
    """The rounds in which everything held."""
    return {each.number for _, each in rounds(folder) if not each.broken}


def write_cells(passed: dict[str, float], folder: Path = FOLDER) -> None:
    """Note the faults at moments that were survived: seconds by the id of the cell (`tests/faults/matrix.py`)."""
    folder.mkdir(exist_ok=True)
    (folder / "cells.json").write_text(json.dumps(passed, indent=1, sort_keys=True) + "\n", "utf-8")


def cells(folder: Path = FOLDER) -> dict[str, float]:
    """What `write_cells` noted."""
    noted = folder / "cells.json"
    found: dict[str, float] = json.loads(noted.read_text("utf-8")) if noted.exists() else {}
    return found
