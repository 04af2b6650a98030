"""What has been released stays true: old readers understand new writers, and new readers what stands on the topics.

A type may gain optional fields and values of open enumerations. Types and topics may be added, and topics may gain
readers. Everything else is breaking, and needs a new type or a new topic. That holds for a loosened constraint too:
readers of the release hold the old one, and put aside what goes beyond it.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

DOCUMENTATION = {"$schema", "description", "title"}
ABSENT = "absent"
Json = dict[str, Any]


def breaking_types(released: Mapping[str, Json], current: Mapping[str, Json]) -> list[str]:
    """Breaking changes between two sets of schemas by event type, one line each."""
    lines: list[str] = []
    for name, old in released.items():
        if name not in current:
            lines.append(f"{name}: type removed")
        else:
            lines += _schema(name, inlined(old), inlined(current[name]))
    return lines


def breaking_topics(released: Mapping[str, Json], current: Mapping[str, Json]) -> list[str]:
    """Breaking changes between two sets of topics by name, one line each."""
    lines: list[str] = []
    for name, old in released.items():
        new = current.get(name)
        if new is None:
            lines.append(f"topic {name}: removed")
            continue
        lines += [
            f"topic {name}: {reader} may not read it any more"
            for reader in old["readers"]
            if reader not in new["readers"]
        ]
        lines += [
            f"topic {name}: {attribute} changed from {value!r} to {new.get(attribute, ABSENT)!r}"
            for attribute, value in old.items()
            if attribute != "readers" and new.get(attribute, ABSENT) != value
        ]
    return lines


def schemas(folder: Path) -> dict[str, Json]:
    """The schemas of a folder by event type."""
    return {path.name.removesuffix(".json"): json.loads(path.read_text("utf-8")) for path in folder.glob("*.json")}


def inlined(schema: Json) -> Json:
    """A schema with each reference replaced by what it stands for; what stands beside the reference prevails."""

    def resolved(node: Any) -> Any:
        if isinstance(node, list):
            return [resolved(each) for each in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            target: Json = schema["$defs"][node["$ref"].removeprefix("#/$defs/")]
            return resolved(target | {keyword: value for keyword, value in node.items() if keyword != "$ref"})
        return {keyword: resolved(value) for keyword, value in node.items() if keyword != "$defs"}

    whole: Json = resolved(schema)
    return whole


def _schema(where: str, old: Json, new: Json) -> Iterator[str]:
    for keyword in sorted((old.keys() | new.keys()) - DOCUMENTATION - {"required"}):
        before, after = old.get(keyword, ABSENT), new.get(keyword, ABSENT)
        if keyword == "properties" and ABSENT not in (before, after):
            yield from _fields(where, old, new)
        elif keyword == "items" and ABSENT not in (before, after):
            yield from _schema(f"{where}[]", before, after)
        elif keyword == "anyOf" and ABSENT not in (before, after) and len(before) == len(after):
            for old_choice, new_choice in zip(before, after, strict=True):
                yield from _schema(where, old_choice, new_choice)
        elif keyword == "x-known-values" and ABSENT not in (before, after):
            yield from (f"{where}: known value {value!r} removed" for value in before if value not in after)
        elif before != after:
            yield f"{where}: {keyword} changed from {json.dumps(before)} to {json.dumps(after)}"


def _fields(where: str, old: Json, new: Json) -> Iterator[str]:
    was_required, is_required = set(old.get("required", ())), set(new.get("required", ()))
    for name, before in old["properties"].items():
        path = f"{where}.{name}"
        if name not in new["properties"]:
            yield f"{path}: field removed or renamed"
            continue
        yield from _schema(path, before, new["properties"][name])
        if name in is_required - was_required:
            yield f"{path}: optional field became required"
        if name in was_required - is_required:
            yield f"{path}: required field became optional"
    for name in new["properties"]:
        if name not in old["properties"] and name in is_required:
            yield f"{where}.{name}: new field is required"
