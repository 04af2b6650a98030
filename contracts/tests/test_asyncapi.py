"""Each principal's AsyncAPI document names its topics and no others, and the reference parser finds it valid."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from privacy_contracts import EVENTS
from privacy_contracts.asyncapi import document
from privacy_contracts.topology import topics

from . import golden

PRINCIPALS = sorted({who for topic in topics().values() for who in (topic.writer, *topic.readers)})
PARSER = golden.CONTRACTS.parent / ".cache" / "asyncapi" / "node_modules"
KNOWN = {"asyncapi-latest-version"}
"""Remarks that stay: AsyncAPI 3.1 adds nothing but a binding for ROS 2, and not every tool reads it yet."""
Document = dict[str, Any]


def remarks(documents: dict[str, Document]) -> dict[str, list[dict[str, Any]]]:
    """What @asyncapi/parser says of each document, beside what is known: errors, warnings, hints."""
    assert PARSER.exists(), "the AsyncAPI parser is missing: run `make setup-dev`"
    done = subprocess.run(
        [Path(sys.executable).with_name("node"), golden.CONTRACTS / "asyncapi" / "validate.cjs"],
        env={**os.environ, "NODE_PATH": str(PARSER)},
        input=json.dumps(documents),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    return {name: [remark for remark in found[name] if remark["code"] not in KNOWN] for name in documents}


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (each for key, each in value.items() if key == "$ref")
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from references(each)


def resolve(root: Any, reference: str) -> Any:
    assert reference.startswith("#/")
    for part in reference.removeprefix("#/").split("/"):
        root = root[part]
    return root


@pytest.mark.parametrize("principal", PRINCIPALS)
def test_every_reference_resolves(principal: str) -> None:
    made = document(principal)
    found = list(references(made))
    assert found
    assert all(isinstance(resolve(made, each), dict) for each in found)


@pytest.mark.parametrize("principal", PRINCIPALS)
def test_it_names_what_the_principal_writes_and_reads_and_nothing_else(principal: str) -> None:
    made = document(principal)
    sent = {name for name, topic in topics().items() if topic.writer == principal}
    read = {name for name, topic in topics().items() if principal in topic.readers}
    assert set(made["channels"]) == sent | read
    assert set(made["operations"]) == {f"send.{name}" for name in sent} | {f"receive.{name}" for name in read}


def test_the_record_of_everything_has_every_event() -> None:
    assert set(document("audit")["components"]["messages"]) == set(EVENTS)


def test_a_message_says_its_type_and_its_body() -> None:
    message = document("notifier")["components"]["messages"]["notice.sent"]
    assert message["headers"]["properties"]["ce_type"] == {"const": "notice.sent"}
    assert "sent_at" in message["payload"]["required"]


def test_the_parser_has_nothing_to_say_against_any_document() -> None:
    documents = {principal: document(principal) for principal in PRINCIPALS}
    assert remarks(documents) == {principal: [] for principal in PRINCIPALS}


def _message(made: Document) -> Document:
    message: Document = made["components"]["messages"]["notice.sent"]
    return message


SPOILT: dict[str, Callable[[Document], object]] = {
    "another version": lambda made: made.update(asyncapi="2.6.0"),
    "no title": lambda made: made["info"].pop("title"),
    "an unknown word": lambda made: made["channels"]["notices"].update(adress="notices"),
    "an unknown action": lambda made: made["operations"]["send.notices"].update(action="publish"),
    "a channel that is not there": lambda made: made["channels"].pop("notices"),
    "a message that is not there": lambda made: made["components"]["messages"].pop("notice.sent"),
    "a type that does not exist": lambda made: _message(made)["payload"].update(type="thing"),
    "required that is no list": lambda made: _message(made)["payload"].update(required="sent_at"),
}


def test_the_parser_notices_what_is_wrong() -> None:
    documents = {}
    for name, spoil in SPOILT.items():
        documents[name] = document("notifier")
        spoil(documents[name])
    silent = [name for name, told in remarks(documents).items() if not any(each["severity"] == 0 for each in told)]
    assert silent == []


def test_the_lock_of_the_parser_has_a_hash_for_each_package_and_no_address() -> None:
    text = (golden.CONTRACTS / "asyncapi" / "package-lock.json").read_text("utf-8")
    packages = {name: package for name, package in json.loads(text)["packages"].items() if name}
    assert [name for name, package in packages.items() if not package["integrity"].startswith("sha512-")] == []
    assert "://" not in text
