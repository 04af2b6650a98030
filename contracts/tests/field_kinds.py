"""What a field may hold: an id, an open enumeration, a time, a hash, a number, a code, or, on `accounts`, `Personal`.

A code is what a small language of patterns allows: fixed words and bounded runs of letters, digits, `_`, `.` and `-`.
Spaces, `@` and unbounded runs have no place in it, and so neither have sentences and addresses.
"""

import re
from collections.abc import Iterator
from typing import Any

PERSONAL_STREAM = "accounts"
FORMATS = {"uuid", "date", "date-time"}
RUN = re.compile(r"\[([A-Za-z0-9_.-]+)\](\{\d{1,2}(,\d{1,2})?\})?")
"""One of a class of characters, at most 99 times."""
GROUP = re.compile(r"\([a-z/|-]*\)\??")
"""Words to choose from; what stood in them as runs is taken out before."""


def misfits(schema: dict[str, Any]) -> list[str]:
    """The fields of an event's JSON Schema that hold anything else, by path."""
    return list(_walk(schema, schema, schema["title"]))


def _walk(node: dict[str, Any], root: dict[str, Any], path: str) -> Iterator[str]:
    if "$ref" in node:
        node = root["$defs"][node["$ref"].removeprefix("#/$defs/")]
    kind = node.get("type")
    if node.get("x-personal"):
        if root["x-stream"] != PERSONAL_STREAM:
            yield path
    elif "anyOf" in node:
        for choice in node["anyOf"]:
            yield from _walk(choice, root, path)
    elif kind == "object" and "properties" in node and "additionalProperties" not in node:
        for name, field in node["properties"].items():
            yield from _walk(field, root, f"{path}.{name}")
    elif kind == "array" and "items" in node and "prefixItems" not in node:
        yield from _walk(node["items"], root, f"{path}[]")
    elif not (kind in ("null", "boolean", "integer", "number") or (kind == "string" and _is_bound(node))):
        yield path


def _is_bound(node: dict[str, Any]) -> bool:
    return node.get("format") in FORMATS or is_code(node.get("pattern", ""))


def is_code(pattern: str) -> bool:
    """Whether a pattern allows codes only."""
    shape = RUN.sub("", pattern)
    while shape != (inner := GROUP.sub("", shape)):
        shape = inner
    return bool(re.fullmatch(r"\^[a-z/-]*\$", shape)) and pattern != "^$"
