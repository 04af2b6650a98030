"""The golden examples: for each event a body with every field (`full`) and one with the required alone (`minimal`)."""

import json
from pathlib import Path
from typing import Any

from privacy_contracts import EVENTS, Event

CONTRACTS = Path(__file__).parents[1]
EXAMPLES = CONTRACTS / "examples"
KINDS = ("full", "minimal")
EVERY = [(name, kind) for name in EVENTS for kind in KINDS]


def text(name: str, kind: str) -> str:
    return (EXAMPLES / f"{name}.{kind}.json").read_text("utf-8")


def body(name: str, kind: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(text(name, kind))
    return loaded


def event(name: str, kind: str) -> Event:
    return EVENTS[name].model_validate_json(text(name, kind))
