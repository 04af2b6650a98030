"""Each principal's AsyncAPI document names its topics and no others, and every reference in it resolves."""

from collections.abc import Iterator
from typing import Any

import pytest

from privacy_contracts import EVENTS
from privacy_contracts.asyncapi import document
from privacy_contracts.topology import topics

SERVICES = ("consent", "dsr", "notifier", "audit")


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


@pytest.mark.parametrize("principal", SERVICES)
def test_every_reference_resolves(principal: str) -> None:
    made = document(principal)
    found = list(references(made))
    assert found
    assert all(isinstance(resolve(made, each), dict) for each in found)


@pytest.mark.parametrize("principal", SERVICES)
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
