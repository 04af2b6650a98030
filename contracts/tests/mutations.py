"""Each single change of an event's schema at each place where it applies: what breaks it, and what lets it grow.

A place is a schema within the schema: the body itself, a field, the items of a list, a choice; at any depth.
"""

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from typing import Any

from .compatibility import Json, inlined

Path = tuple[str | int, ...]

EVERYWHERE = {"removal", "rename", "new required field", "another type", "narrowed type", "tightened constraint"}
"""The kinds that apply to every event, whatever its fields."""
VALUE_REMOVED = "known value removed"
"""The kind that applies to every event with an open enumeration."""

TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")
FORMATS = ("uuid", "date", "date-time", "email")
LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems")
UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
NARROWER: dict[str, Json] = {
    "object": {"additionalProperties": False, "maxProperties": 1, "propertyNames": {"maxLength": 1}},
    "array": {"minItems": 1, "maxItems": 1, "uniqueItems": True},
    "string": {"minLength": 1, "maxLength": 1, "pattern": "^a$", "format": "uuid"},
    "integer": {"minimum": 1, "maximum": 1, "multipleOf": 2},
    "number": {"minimum": 1, "maximum": 1, "multipleOf": 2},
    "boolean": {"const": True},
    "null": {},
}
"""Constraints that a value of a type may newly meet."""


@dataclass(frozen=True)
class Mutation:
    """A changed schema, and where: the path of the changed place, as the check tells it, without the event's name."""

    kind: str
    where: str
    schema: Json


def breaking(schema: Json) -> Iterator[Mutation]:
    """Every change that some reader, or some record that is already written, does not survive."""
    yield from _mutations(schema, _broken)


def growing(schema: Json) -> Iterator[Mutation]:
    """Every change that all readers and all records survive."""
    yield from _mutations(schema, _grown)


def places(schema: Json, at: Path = ()) -> Iterator[tuple[Path, Json]]:
    """The path of every place in a schema without references, and what stands there."""
    yield at, schema
    for name, field in schema.get("properties", {}).items():
        yield from places(field, (*at, "properties", name))
    if "items" in schema:
        yield from places(schema["items"], (*at, "items"))
    for index, choice in enumerate(schema.get("anyOf", ())):
        yield from places(choice, (*at, "anyOf", index))


def _mutations(schema: Json, change: Callable[[Json], Iterator[tuple[str, Json]]]) -> Iterator[Mutation]:
    schema = inlined(schema)
    for path, place in places(schema):
        for kind, changed in change(place):
            yield Mutation(kind, _told(path), _with(schema, path, changed))


def _with(schema: Any, path: Path, changed: Json) -> Any:
    if not path:
        return changed
    copied = copy(schema)
    copied[path[0]] = _with(schema[path[0]], path[1:], changed)
    return copied


def _told(path: Path) -> str:
    match path:
        case ("properties", name, *rest):
            return f".{name}{_told(tuple(rest))}"
        case ("items", *rest):
            return f"[]{_told(tuple(rest))}"
        case ("anyOf", _, *rest):
            return _told(tuple(rest))
    return ""


def _broken(place: Json) -> Iterator[tuple[str, Json]]:
    if "properties" in place:
        yield from _fields_broken(place, place["properties"], place.get("required", []))
    if "anyOf" in place:
        yield from _choices_broken(place, place["anyOf"])
    if "type" in place:
        yield from _type_broken(place, place["type"])
        yield from _constraints_broken(place)
    if "x-known-values" in place:
        yield from _enumeration_broken(place, place["x-known-values"])
    if "x-stream" in place:
        yield "another stream", place | {"x-stream": "elsewhere"}
    if "default" in place:
        yield "another default", place | {"default": 7}
        yield "default dropped", _without(place, "default")
    yield "personal or not", _without(place, "x-personal") if "x-personal" in place else place | {"x-personal": True}


def _fields_broken(place: Json, fields: Json, required: list[str]) -> Iterator[tuple[str, Json]]:
    yield "new required field", place | {"properties": fields | {"added": {}}, "required": [*required, "added"]}
    for name, field in fields.items():
        others, still = _without(fields, name), [each for each in required if each != name]
        yield "removal", place | {"properties": others, "required": still}
        yield "rename", place | {"properties": others | {"renamed": field}, "required": still}
        if name in required:
            yield "rename", place | {"properties": others | {"renamed": field}, "required": [*still, "renamed"]}
            yield "required made optional", place | {"required": still}
        else:
            yield "optional made required", place | {"required": [*required, name]}


def _choices_broken(place: Json, choices: list[Json]) -> Iterator[tuple[str, Json]]:
    for choice in choices:
        yield "narrowed type", place | {"anyOf": [each for each in choices if each != choice]}
        yield "narrowed type", _without(place, "anyOf") | choice
    yield "widened type", place | {"anyOf": [*choices, {"type": "boolean"}]}


def _type_broken(place: Json, kind: str) -> Iterator[tuple[str, Json]]:
    for other in TYPES:
        if other != kind:
            yield "another type", place | {"type": other}
            yield "widened type", place | {"type": [kind, other]}
    yield "another type", {"type": "array", "items": place}
    if kind == "array":
        yield "another type", place["items"]
    yield "widened type", {"anyOf": [place, {"type": "null"}]}
    yield "widened type", _without(place, "type")
    yield "narrowed type", place | {"enum": place.get("x-known-values", [1])}
    yield "narrowed type", place | {"const": 1}


def _constraints_broken(place: Json) -> Iterator[tuple[str, Json]]:
    for keyword, value in NARROWER[place["type"]].items():
        if keyword not in place:
            yield "tightened constraint", place | {keyword: value}
    for keyword, step in [(each, 1) for each in LOWER] + [(each, -1) for each in UPPER]:
        if keyword in place:
            yield "tightened constraint", place | {keyword: place[keyword] + step}
            yield "loosened constraint", place | {keyword: place[keyword] - step}
            yield "loosened constraint", _without(place, keyword)
    if "pattern" in place:
        yield "tightened constraint", place | {"pattern": f"^(?!aa){place['pattern'].removeprefix('^')}"}
        yield "loosened constraint", place | {"pattern": f"{place['pattern']}|^aa$"}
        yield "loosened constraint", _without(place, "pattern")
    if "format" in place:
        yield "loosened constraint", _without(place, "format")
        yield from (("another format", place | {"format": each}) for each in FORMATS if each != place["format"])


def _enumeration_broken(place: Json, values: list[str]) -> Iterator[tuple[str, Json]]:
    for value in values:
        others = [each for each in values if each != value]
        yield VALUE_REMOVED, place | {"x-known-values": others}
        yield VALUE_REMOVED, place | {"x-known-values": [*others, "renamed"]}
    yield "enumeration dropped", _without(place, "x-known-values")


def _grown(place: Json) -> Iterator[tuple[str, Json]]:
    yield "other words", place | {"title": "Other", "description": "Other words."}
    if "properties" in place:
        part = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
        for added in ({"type": "integer", "minimum": 0}, {"type": "boolean", "default": False}, part):
            yield "new optional field", place | {"properties": place["properties"] | {"added": added}}
    if "x-known-values" in place:
        values = place["x-known-values"]
        yield "new known value", place | {"x-known-values": [*values, "added"]}
        yield "new known value", place | {"x-known-values": ["added", *reversed(values)]}


def _without(mapping: Json, name: str) -> Json:
    return {key: value for key, value in mapping.items() if key != name}
