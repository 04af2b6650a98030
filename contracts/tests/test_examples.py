"""Schema, model and golden examples say the same, so that a reader of any one of them knows the others."""

import json
import re
from datetime import datetime
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from pydantic import ValidationError as Refused

from privacy_contracts import EVENTS, Event
from privacy_contracts.generate import schema

from . import golden

FORMATS = FormatChecker(["uuid", "date"])


@FORMATS.checks("date-time", raises=ValueError)
def _is_a_time_with_a_zone(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def validator(name: str) -> Draft202012Validator:
    committed = json.loads((golden.CONTRACTS / "schemas" / f"{name}.json").read_text("utf-8"))
    Draft202012Validator.check_schema(committed)
    return Draft202012Validator(committed, format_checker=FORMATS)


@pytest.mark.parametrize(("name", "kind"), golden.EVERY)
def test_an_example_meets_the_schema_and_round_trips(name: str, kind: str) -> None:
    given = golden.body(name, kind)
    validator(name).validate(given)
    event = EVENTS[name].model_validate_json(golden.text(name, kind), strict=True)
    written = json.loads(event.to_bytes())
    validator(name).validate(written)
    assert {field: written[field] for field in given} == given
    assert EVENTS[name].model_validate_json(event.to_bytes()) == event


@pytest.mark.parametrize(("name", "model"), EVENTS.items())
def test_full_has_every_field_and_minimal_only_the_required(name: str, model: type[Event]) -> None:
    assert list(golden.body(name, "full")) == list(model.model_fields)
    assert list(golden.body(name, "minimal")) == [n for n, f in model.model_fields.items() if f.is_required()]


def test_there_is_no_example_of_anything_else() -> None:
    assert {path.name for path in golden.EXAMPLES.iterdir()} == {f"{name}.{kind}.json" for name, kind in golden.EVERY}


def test_addresses_are_of_reserved_domains() -> None:
    found = [host for name, kind in golden.EVERY for host in re.findall(r"@([\w.-]+)", golden.text(name, kind))]
    assert set(found) == {"example.com"}


def _wrong_values(schema: dict[str, Any], root: dict[str, Any]) -> list[object]:
    """Values that a field of this schema must not take."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    if "anyOf" in schema:
        schema = next(choice for choice in schema["anyOf"] if choice["type"] != "null")
    wrong: dict[str, list[object]] = {
        "string": [7, True, ["a"], {}],
        "integer": ["7", 1.5, [], {}],
        "boolean": ["true", 1, []],
        "array": ["a", {}, 7],
        "object": ["a", 7, []],
    }
    values = list(wrong[schema["type"]])
    if "pattern" in schema:
        values += ["", "no code: ada@example.com", "x" * 65]
    if schema.get("format") == "date-time":
        values += ["yesterday", "2026-03-02T09:15:00"]
    if schema.get("format") in ("uuid", "date"):
        values += ["2026-13-01", "1"]
    if "minimum" in schema:
        values += [schema["minimum"] - 1, schema["maximum"] + 1]
    if "minItems" in schema:
        values += [[]]
    return values


@pytest.mark.parametrize("name", EVENTS)
def test_schema_and_model_refuse_the_same(name: str) -> None:
    full, rules = golden.body(name, "full"), schema(EVENTS[name])
    for field, field_schema in rules["properties"].items():
        for wrong in _wrong_values(field_schema, rules):
            given = full | {field: wrong}
            with pytest.raises(ValidationError):
                validator(name).validate(given)
            with pytest.raises(Refused):
                EVENTS[name].model_validate_json(json.dumps(given), strict=True)
    for field in rules["required"]:
        given = {other: value for other, value in full.items() if other != field}
        with pytest.raises(ValidationError):
            validator(name).validate(given)
        with pytest.raises(Refused):
            EVENTS[name].model_validate_json(json.dumps(given))
