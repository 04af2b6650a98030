"""The present contracts are compatible with every release; the check notices each kind of breaking change.

Each kind is tried once for its words, and then at every place of every released event and topic.
"""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from privacy_contracts import EVENTS
from privacy_contracts.generate import baseline, schema

from . import golden, mutations
from .compatibility import ABSENT, Json, breaking_topics, breaking_types, inlined, schemas

RELEASES = sorted((golden.CONTRACTS / "released").iterdir())
Change = Callable[[Any], object]


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_types_are_compatible_with_each_release(release: Path) -> None:
    current = json.loads(json.dumps({name: schema(event) for name, event in EVENTS.items()}))
    assert breaking_types(schemas(release / "schemas"), current) == []


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_topics_are_compatible_with_each_release(release: Path) -> None:
    released = json.loads((release / "topology.json").read_text("utf-8"))
    assert breaking_topics(released["topics"], json.loads(json.dumps(baseline()))["topics"]) == []


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_what_was_written_under_a_release_is_still_read(release: Path) -> None:
    examples = list((release / "examples").iterdir())
    assert examples
    for path in examples:
        name = path.name.removesuffix(".json").rpartition(".")[0]
        EVENTS[name].model_validate_json(path.read_text("utf-8"), strict=True)


def test_there_is_a_release() -> None:
    assert "1" in {path.name for path in RELEASES}


RELEASED: dict[str, Any] = {
    "thing.happened": {
        "type": "object",
        "title": "ThingHappened",
        "description": "A thing happened.",
        "x-stream": "things",
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "code": {"type": "string", "pattern": "^[a-z]{1,8}$", "x-known-values": ["a", "b"]},
            "count": {"type": "integer", "minimum": 0, "maximum": 9},
            "note": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}], "default": None},
            "repeats": {"type": "integer", "minimum": 0, "default": 0},
            "name": {"type": "string", "x-personal": True},
            "parts": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/Part"}},
            "codes": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]{1,8}$"}},
            "part": {"$ref": "#/$defs/Part", "default": {"until": "2031-01-01"}},
        },
        "required": ["id", "code", "count", "name", "parts", "codes"],
        "$defs": {"Part": {"type": "object", "properties": {"until": {"type": "string", "format": "date"}},
                           "required": ["until"]}},
    },
    "thing.ended": {"type": "object", "title": "ThingEnded", "x-stream": "things", "properties": {}},
}  # fmt: skip


def _field(name: str, **keywords: Any) -> Change:
    def change(types: Any) -> None:
        field = types["thing.happened"]["properties"][name]
        for keyword, value in keywords.items():
            if value is ABSENT:
                del field[keyword.replace("_", "-")]
            else:
                field[keyword.replace("_", "-")] = value

    return change


def _in_type(edit: Callable[[dict[str, Any]], object]) -> Change:
    return lambda types: edit(types["thing.happened"])


BREAKING: list[tuple[str, Change, str]] = [
    ("type removed", lambda types: types.pop("thing.ended"), "thing.ended: type removed"),
    ("type renamed", lambda types: types.update({"thing.over": types.pop("thing.ended")}), "thing.ended: type removed"),
    ("stream", _in_type(lambda t: t.update({"x-stream": "other"})),
     'thing.happened: x-stream changed from "things" to "other"'),
    ("unknown fields forbidden", _in_type(lambda t: t.update(additionalProperties=False)),
     'thing.happened: additionalProperties changed from "absent" to false'),
    ("optional field removed", _in_type(lambda t: t["properties"].pop("note")),
     "thing.happened.note: field removed or renamed"),
    ("required field removed", _in_type(lambda t: (t["properties"].pop("count"), t["required"].remove("count"))),
     "thing.happened.count: field removed or renamed"),
    ("field renamed", _in_type(lambda t: t["properties"].update(remark=t["properties"].pop("note"))),
     "thing.happened.note: field removed or renamed"),
    ("new required field", _in_type(lambda t: (t["properties"].update(new={"type": "integer"}),
                                               t["required"].append("new"))),
     "thing.happened.new: new field is required"),
    ("optional to required", _in_type(lambda t: t["required"].append("repeats")),
     "thing.happened.repeats: optional field became required"),
    ("required to optional", _in_type(lambda t: t["required"].remove("count")),
     "thing.happened.count: required field became optional"),
    ("type of a field", _field("count", type="string"),
     'thing.happened.count: type changed from "integer" to "string"'),
    ("format", _field("id", format="date"), 'thing.happened.id: format changed from "uuid" to "date"'),
    ("format dropped", _field("id", format=ABSENT), 'thing.happened.id: format changed from "uuid" to "absent"'),
    ("pattern narrowed", _field("code", pattern="^[a-z]{1,4}$"),
     'thing.happened.code: pattern changed from "^[a-z]{1,8}$" to "^[a-z]{1,4}$"'),
    ("pattern widened", _field("code", pattern="^[a-z]{1,9}$"),
     'thing.happened.code: pattern changed from "^[a-z]{1,8}$" to "^[a-z]{1,9}$"'),
    ("pattern dropped", _field("code", pattern=ABSENT),
     'thing.happened.code: pattern changed from "^[a-z]{1,8}$" to "absent"'),
    ("lower bound raised", _field("count", minimum=1), "thing.happened.count: minimum changed from 0 to 1"),
    ("upper bound lowered", _field("count", maximum=8), "thing.happened.count: maximum changed from 9 to 8"),
    ("upper bound raised", _field("count", maximum=10), "thing.happened.count: maximum changed from 9 to 10"),
    ("bound added", _field("count", multipleOf=2), 'thing.happened.count: multipleOf changed from "absent" to 2'),
    ("enumeration closed", _field("code", enum=["a", "b"]),
     'thing.happened.code: enum changed from "absent" to ["a", "b"]'),
    ("known value removed", _field("code", x_known_values=["a"]), "thing.happened.code: known value 'b' removed"),
    ("enumeration dropped", _field("code", x_known_values=ABSENT),
     'thing.happened.code: x-known-values changed from ["a", "b"] to "absent"'),
    ("default", _field("repeats", default=1), "thing.happened.repeats: default changed from 0 to 1"),
    ("null refused", _field("note", anyOf=[{"type": "string", "format": "date"}]),
     'thing.happened.note: anyOf changed from [{"type": "string", "format": "date"}, {"type": "null"}] '
     'to [{"type": "string", "format": "date"}]'),
    ("type within a choice", _field("note", anyOf=[{"type": "integer"}, {"type": "null"}]),
     'thing.happened.note: type changed from "string" to "integer"'),
    ("null allowed", _in_type(lambda t: t["properties"].update(count={"anyOf": [{"type": "null"}]})),
     'thing.happened.count: anyOf changed from "absent" to [{"type": "null"}]'),
    ("no longer personal", _field("name", x_personal=ABSENT),
     'thing.happened.name: x-personal changed from true to "absent"'),
    ("became personal", _field("code", x_personal=True),
     'thing.happened.code: x-personal changed from "absent" to true'),
    ("array item", _field("codes", items={"type": "integer"}),
     'thing.happened.codes[]: type changed from "string" to "integer"'),
    ("array made single", _field("codes", type="string", items=ABSENT),
     'thing.happened.codes: type changed from "array" to "string"'),
    ("array bound", _field("parts", minItems=2), "thing.happened.parts: minItems changed from 1 to 2"),
    ("field of a part removed", _in_type(lambda t: t["$defs"]["Part"]["properties"].pop("until")),
     "thing.happened.parts[].until: field removed or renamed"),
    ("what stands beside a reference", _in_type(lambda t: t["properties"].update(part={"$ref": "#/$defs/Part"})),
     'thing.happened.part: default changed from {"until": "2031-01-01"} to "absent"'),
    ("new required field of a part", _in_type(lambda t: (t["$defs"]["Part"]["properties"].update(law={}),
                                                         t["$defs"]["Part"]["required"].append("law"))),
     "thing.happened.parts[].law: new field is required"),
]  # fmt: skip

COMPATIBLE: list[tuple[str, Change]] = [
    ("nothing", lambda types: None),
    ("new type", lambda types: types.update({"thing.began": {"type": "object", "properties": {}}})),
    ("new optional field", _in_type(lambda t: t["properties"].update(new={"type": "integer"}))),
    ("new known value", _field("code", x_known_values=["c", "a", "b"])),
    ("new optional field of a part", _in_type(lambda t: t["$defs"]["Part"]["properties"].update(law={}))),
    ("a part's class renamed", _in_type(lambda t: (t["$defs"].update(Piece=t["$defs"].pop("Part")),
                                                   t["properties"]["parts"].update(items={"$ref": "#/$defs/Piece"}),
                                                   t["properties"]["part"].update({"$ref": "#/$defs/Piece"})))),
    ("words", _in_type(lambda t: t.update(title="Thing", description="Other words."))),
]  # fmt: skip


@pytest.mark.parametrize(("change", "said"), [case[1:] for case in BREAKING], ids=[case[0] for case in BREAKING])
def test_a_breaking_change_of_a_type_is_told(change: Change, said: str) -> None:
    current = deepcopy(RELEASED)
    change(current)
    assert said in breaking_types(RELEASED, current)


@pytest.mark.parametrize("change", [case[1] for case in COMPATIBLE], ids=[case[0] for case in COMPATIBLE])
def test_growth_of_a_type_is_no_breaking_change(change: Change) -> None:
    current = deepcopy(RELEASED)
    change(current)
    assert breaking_types(RELEASED, current) == []


RELEASED_TYPES = [
    pytest.param(name, released, id=f"{release.name}/{name}")
    for release in (*RELEASES, golden.CONTRACTS)
    for name, released in schemas(release / "schemas").items()
]
"""Of each release, and as they are: what came since will be released as it is."""
RELEASED_TOPICS = [
    pytest.param(name, released, id=f"{release.name}/{name}")
    for release in RELEASES
    for name, released in json.loads((release / "topology.json").read_text("utf-8"))["topics"].items()
]


def test_every_event_is_among_those_that_are_tried() -> None:
    assert {param.values[0] for param in RELEASED_TYPES if str(param.id).startswith(golden.CONTRACTS.name)} == {*EVENTS}


@pytest.mark.parametrize(("name", "released"), RELEASED_TYPES)
def test_every_breaking_change_of_every_released_type_is_told_where_it_is(name: str, released: Json) -> None:
    tried = list(mutations.breaking(released))
    wanted = mutations.EVERYWHERE | ({mutations.VALUE_REMOVED} if "x-known-values" in json.dumps(released) else set())
    assert wanted <= {mutation.kind for mutation in tried}
    for mutation in tried:
        told = breaking_types({name: released}, {name: mutation.schema})
        assert told, f"not noticed: {mutation.kind} at {name}{mutation.where}"
        assert all(line.startswith(f"{name}{mutation.where}") for line in told), mutation


@pytest.mark.parametrize(("name", "released"), RELEASED_TYPES)
def test_every_growth_of_every_released_type_is_accepted(name: str, released: Json) -> None:
    tried = list(mutations.growing(released))
    assert "new optional field" in {mutation.kind for mutation in tried}
    for mutation in tried:
        told = breaking_types({name: released}, {name: mutation.schema, "thing.began": mutation.schema})
        assert told == [], mutation


@pytest.mark.parametrize(("name", "released"), RELEASED_TYPES)
def test_every_released_type_that_goes_is_told(name: str, released: Json) -> None:
    assert breaking_types({name: released}, {}) == [f"{name}: type removed"]
    assert breaking_types({name: released}, {f"{name}.2": released}) == [f"{name}: type removed"]


def _beyond(place: Json) -> Iterator[object]:
    """A value just beyond each constraint. Each `maxLength` stands beside a pattern that allows nothing longer."""
    if "minimum" in place:
        yield place["minimum"] - 1
    if "maximum" in place:
        yield place["maximum"] + 1
    if "minItems" in place:
        yield []
    if "pattern" in place or "format" in place:
        yield "?"


def _replaced(body: Any, path: mutations.Path, value: object) -> Any:
    """A body with another value at a place of its schema, in the first item of each list on the way."""
    match path:
        case ("properties", str(name), *rest):
            return body | {name: _replaced(body[name], tuple(rest), value)}
        case ("items", *rest):
            return [_replaced(body[0], tuple(rest), value), *body[1:]]
        case ("anyOf", _, *rest):
            return _replaced(body, tuple(rest), value)
    return value


@pytest.mark.parametrize("name", EVENTS)
def test_a_reader_refuses_what_a_loosened_constraint_would_let_in(name: str) -> None:
    """So a writer that is ahead of its readers would fill their dead letters: loosening breaks as tightening does."""
    body = golden.body(name, "full")
    bodies = [
        _replaced(body, path, value)
        for path, place in mutations.places(inlined(schema(EVENTS[name])))
        for value in _beyond(place)
    ]
    assert bodies
    for each in bodies:
        with pytest.raises(ValidationError):
            EVENTS[name].model_validate_json(json.dumps(each))


@pytest.mark.parametrize(("name", "released"), RELEASED_TOPICS)
def test_every_changed_attribute_of_every_released_topic_is_told(name: str, released: Json) -> None:
    """Partitions, key, writer, retention, order and the rest: there is none that may change."""
    for attribute, value in released.items():
        if attribute == "readers":
            continue
        others = [not value] if isinstance(value, bool) else [f"{value}2"] if isinstance(value, str) else [0, 1, 2**31]
        for other in (each for each in others if each != value):
            told = breaking_topics({name: released}, {name: released | {attribute: other}})
            assert told == [f"topic {name}: {attribute} changed from {value!r} to {other!r}"]
        told = breaking_topics({name: released}, {name: {key: released[key] for key in released.keys() - {attribute}}})
        assert told == [f"topic {name}: {attribute} changed from {value!r} to {ABSENT!r}"]


@pytest.mark.parametrize(("name", "released"), RELEASED_TOPICS)
def test_every_released_topic_or_reader_that_goes_is_told(name: str, released: Json) -> None:
    assert breaking_topics({name: released}, {f"{name}2": released}) == [f"topic {name}: removed"]
    for reader in released["readers"]:
        others = [each for each in released["readers"] if each != reader]
        told = breaking_topics({name: released}, {name: released | {"readers": others}})
        assert told == [f"topic {name}: {reader} may not read it any more"]


@pytest.mark.parametrize(("name", "released"), RELEASED_TOPICS)
def test_a_new_topic_and_a_new_reader_are_no_breaking_change(name: str, released: Json) -> None:
    grown = released | {"readers": ["newcomer", *reversed(released["readers"])]}
    assert breaking_topics({name: released}, {name: grown, "things": released}) == []
