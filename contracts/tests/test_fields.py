"""No event carries free text, and a personal value only where it may: on `accounts`, and masked wherever it shows."""

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import AnyUrl, SecretStr, StringConstraints, ValidationError, create_model

from privacy_contracts import EVENTS, Event, fields
from privacy_contracts.accounts import AccountStated
from privacy_contracts.envelope import Part
from privacy_contracts.generate import schema
from privacy_contracts.replies import LegalBasis, RetainedItem

from . import golden
from .field_kinds import is_code, misfits


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1999-12-31T23:59:59Z"])
def test_a_time_that_no_database_holds_is_none(time: str) -> None:
    body = golden.body("reply.done", "full") | {"answered_at": time}
    with pytest.raises(ValidationError, match="answered_at"):
        EVENTS["reply.done"].model_validate_json(json.dumps(body))


@pytest.mark.parametrize("name", EVENTS)
def test_every_field_is_of_an_allowed_kind(name: str) -> None:
    assert misfits(schema(EVENTS[name])) == []


class _Colour(Enum):
    RED = "red"


class _Note(Part):
    text: str


class _Deep(Part):
    notes: list[_Note]


def event_with(annotation: Any, stream: str = "requests") -> type[Event]:
    """An event of one field."""
    made = create_model("Made", __base__=Event, field=(annotation, ...))
    made.type, made.stream = "made.up", stream
    return made


@pytest.mark.parametrize(
    "annotation",
    [
        str,
        str | None,
        int | str,
        list[str],
        list[list[str]],
        tuple[int, int],
        dict[str, int],
        dict[str, str],
        Any,
        object,
        bytes,
        Decimal,
        timedelta,
        AnyUrl,
        IPv4Address,
        SecretStr,
        _Colour,
        Literal["a"],
        _Note,
        _Deep,
        list[_Deep],
        Annotated[str, StringConstraints(max_length=10)],
        Annotated[str, StringConstraints(pattern="^.{0,20}$")],
        fields.Personal[str],
        fields.Personal[str] | None,
        list[fields.Personal[str]],
        fields.Personal[int],
    ],
    ids=str,
)
def test_the_walk_catches(annotation: Any) -> None:
    assert misfits(schema(event_with(annotation)))


@pytest.mark.parametrize(
    "annotation",
    [
        fields.Code,
        fields.Subject | None,
        fields.Hash,
        fields.Actor,
        fields.Time,
        list[fields.Category],
        UUID,
        bool,
        float,
        fields.Count,
        list[RetainedItem],
    ],
    ids=str,
)
def test_the_walk_lets_pass(annotation: Any) -> None:
    assert misfits(schema(event_with(annotation))) == []


def test_personal_may_stand_on_accounts() -> None:
    assert misfits(schema(event_with(fields.Personal[str], stream="accounts"))) == []


@pytest.mark.parametrize(
    "pattern",
    ["", "^$", "[a-z]{1,9}", "^[a-z]+$", "^[a-z]*$", "^[a-z]{1,}$", "^[a-z]{1,100}$", "^([a-z]{9}){9}$", "^[a-z ]{9}$",
     "^[^a]{9}$", r"^\w{9}$", r"^[\w]{9}$", "^[a-z@.]{9}$", "^a|b$", "^.$", "^a$|"],
)  # fmt: skip
def test_a_pattern_that_lets_text_through_is_no_code(pattern: str) -> None:
    assert not is_code(pattern)


@pytest.mark.parametrize("name", EVENTS)
def test_a_time_without_a_zone_is_refused(name: str) -> None:
    full = golden.body(name, "full")
    times = [field for field, rules in schema(EVENTS[name])["properties"].items() if rules.get("format") == "date-time"]
    assert times
    for field in times:
        with pytest.raises(ValidationError):
            EVENTS[name].model_validate(full | {field: "2026-03-02T09:15:00"})


@pytest.mark.parametrize("name", EVENTS)
def test_an_open_enumeration_takes_a_value_of_a_later_release(name: str) -> None:
    full = golden.body(name, "full")
    for field, rules in schema(EVENTS[name])["properties"].items():
        if "x-known-values" in rules:
            EVENTS[name].model_validate(full | {field: "of_a_later_release"})
        if "x-known-values" in rules.get("items", {}):
            EVENTS[name].model_validate(full | {field: ["of_a_later_release"]})


def test_known_values_are_codes_and_examples_use_them() -> None:
    for name, kind in golden.EVERY:
        for field, rules in schema(EVENTS[name])["properties"].items():
            known = rules.get("x-known-values") or rules.get("items", {}).get("x-known-values")
            given = golden.body(name, kind).get(field)
            if known and given is not None:
                assert set(given if isinstance(given, list) else [given]) <= set(known), (name, field)
    for annotated in (fields.Category, fields.Purpose, fields.Stage, LegalBasis):
        made = event_with(annotated)
        for value in schema(made)["properties"]["field"]["x-known-values"]:
            made.model_validate({"field": value})


ADDRESS, NAME = "ada@example.com", "Ada Example"


@pytest.mark.promise(76)
@pytest.mark.parametrize("show", [repr, str, "{}".format, "%s".__mod__, lambda e: repr(e.model_dump())], ids=range(5))
def test_personal_values_never_show(show: Callable[[Any], str]) -> None:
    account = golden.event("account.stated", "full")
    assert isinstance(account, AccountStated)
    for value in (account, account.email, [account.name], {"email": account.email}):
        shown = show(value) if isinstance(value, AccountStated) else f"{value} {value!r}"
        assert ADDRESS not in shown
        assert NAME not in shown
        assert "***" in shown


def test_personal_values_stand_in_the_body_alone() -> None:
    account = golden.event("account.stated", "full")
    assert isinstance(account, AccountStated)
    assert ADDRESS.encode() in account.to_bytes()
    assert account.email.get_secret_value() == ADDRESS


@pytest.mark.parametrize(
    "change",
    [{"id": "no id!"}, {"version": None}, {"email": [ADDRESS]}, {"name": {"given": NAME}}, {"registered_at": ADDRESS}],
    ids=str,
)
@pytest.mark.parametrize("from_json", [True, False])
def test_a_validation_error_shows_no_input(change: dict[str, Any], from_json: bool) -> None:
    given = golden.body("account.stated", "full") | change
    with pytest.raises(ValidationError) as caught:
        AccountStated.model_validate_json(json.dumps(given)) if from_json else AccountStated.model_validate(given)
    shown = f"{caught.value} {caught.value!r} {caught.value.errors(include_input=False, include_context=False)}"
    assert "example" not in shown.lower()
