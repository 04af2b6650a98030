"""Writes the JSON Schemas from the events, so that a reader without Python has the same contract.

Run in the `contracts` folder, or name it:

    python -m privacy_contracts.generate [--check | --release N] [folder]

`--check` writes nothing and fails when a file is missing, stale or left over. `--release N` freezes the present
schemas, examples and topology as `released/N`, the baseline of the compatibility test.
"""

import argparse
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import CoreSchema

from privacy_contracts import EVENTS, Event, topology


class _Schema(GenerateJsonSchema):
    """Draft 2020-12, without the titles that only repeat a field's name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def generate(self, schema: CoreSchema, mode: Any = "validation") -> dict[str, Any]:
        return {"$schema": self.schema_dialect, **super().generate(schema, mode)}


def schema(event: type[Event]) -> dict[str, Any]:
    """The JSON Schema of an event's body: what a writer must meet and a reader may rely on.

    `x-stream` is the topic without prefix and system; `x-known-values` the values that an open enumeration has today;
    `x-personal` marks a value about a person. Unknown fields are allowed.
    """
    return {**event.model_json_schema(schema_generator=_Schema), "x-stream": event.stream}


def as_text(value: object) -> str:
    """JSON as it stands in a file: sorted, so that a difference is a change."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def schemas() -> dict[str, str]:
    """The text of each schema file by its name."""
    return {f"{name}.json": as_text(schema(event)) for name, event in EVENTS.items()}


def baseline() -> dict[str, Any]:
    """The topics, as a release freezes them."""
    return {"topics": {name: asdict(topic) for name, topic in topology.topics().items()}}


def differences(folder: Path) -> list[str]:
    """How the schema files in a folder differ from the events; empty when they agree."""
    wanted = schemas()
    found = {path.name: path.read_text("utf-8") for path in folder.glob("*.json")}
    return [
        *(f"{name} is missing" for name in wanted.keys() - found.keys()),
        *(f"{name} belongs to no event" for name in found.keys() - wanted.keys()),
        *(f"{name} is stale" for name in wanted.keys() & found.keys() if wanted[name] != found[name]),
    ]


def write(folder: Path) -> None:
    """Make the schema files in a folder what the events say, and remove those of no event."""
    folder.mkdir(exist_ok=True)
    wanted = schemas()
    for path in folder.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, "utf-8")


def release(contracts: Path, number: int) -> None:
    """Freeze schemas, examples and topology as `released/<number>`; a release is never overwritten."""
    target = contracts / "released" / str(number)
    target.mkdir(parents=True)
    shutil.copytree(contracts / "schemas", target / "schemas")
    shutil.copytree(contracts / "examples", target / "examples")
    (target / "topology.json").write_text(as_text(baseline()), "utf-8")


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 when `--check` finds a difference."""
    parser = argparse.ArgumentParser(prog="python -m privacy_contracts.generate")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(), help="the contracts folder (default: here)")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--check", action="store_true", help="write nothing; fail when a schema file is not current")
    either.add_argument("--release", type=int, metavar="N", help="freeze a baseline after writing")
    given = parser.parse_args(arguments)
    if not (given.folder / "topics.toml").exists():
        parser.error(f"{given.folder} is not the contracts folder: it has no topics.toml")
    if given.check:
        found = differences(given.folder / "schemas")
        for line in found:
            print(f"schemas: {line}; run python -m privacy_contracts.generate", file=sys.stderr)
        return 1 if found else 0
    write(given.folder / "schemas")
    if given.release is not None:
        release(given.folder, given.release)
    return 0


if __name__ == "__main__":
    sys.exit(main())
