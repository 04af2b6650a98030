"""Topic, key and subject of every event, and the message that CloudEvents readers of any language understand."""

import re
from datetime import UTC, datetime

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from pydantic import ValidationError

from privacy_contracts import EVENTS, Event
from privacy_contracts.generate import schema
from privacy_contracts.topology import topics

from . import golden

ACCOUNT, REQUEST = "acc-01HX3K7Q2M", "019c0d5a-7c1e-7b42-9a55-3f6e0c2d1a01"
NOTICE = "019c0d5a-8d20-7c11-8f3a-5b1c2e4d6f02"
DEAD_LETTER = "019c0d5a-9e31-7d22-b14b-6c2d3f5e7a03"
RECOVERY = "019c0d5a-af42-7e33-925c-7d3e4a6f8b05"
ACCESS = "019c0d5a-af42-7e33-925c-7d3e4a6f8b04"

ADDRESSED = {
    "account.stated": ("accounts", ACCOUNT, f"account/{ACCOUNT}"),
    "account.deleted": ("accounts", ACCOUNT, f"account/{ACCOUNT}"),
    "accounts.heartbeat": ("accounts", "heartbeat/2/5", "heartbeat/2/5"),
    "policy.revised": ("policy", "website", "policy/website"),
    "consent.changed": ("consent", f"account/{ACCOUNT}", f"account/{ACCOUNT}"),
    "disclosure.decided": ("consent", f"account/{ACCOUNT}", f"account/{ACCOUNT}"),
    "request.received": ("requests", REQUEST, f"account/{ACCOUNT}"),
    "request.verified": ("requests", REQUEST, f"account/{ACCOUNT}"),
    "request.matched": ("requests", REQUEST, f"account/{ACCOUNT}"),
    "deletion.confirmed": ("requests", REQUEST, f"account/{ACCOUNT}"),
    "deletion.requested": ("requests", REQUEST, f"account/{ACCOUNT}"),
    "system.escalated": ("requests", REQUEST, f"account/{ACCOUNT}"),
    "system.left_outstanding": ("requests", REQUEST, f"account/{ACCOUNT}"),
    "request.withdrawn": ("requests", REQUEST, f"account/{ACCOUNT}"),
    "request.closed": ("requests", REQUEST, f"account/{ACCOUNT}"),
    "reply.done": ("replies.marketing", REQUEST, f"account/{ACCOUNT}"),
    "reply.retained": ("replies.orders", REQUEST, f"account/{ACCOUNT}"),
    "reply.not_found": ("replies.consent", REQUEST, f"account/{ACCOUNT}"),
    "reply.failed": ("replies.orders", REQUEST, f"account/{ACCOUNT}"),
    "notice.sent": ("notices", NOTICE, f"notice/{NOTICE}"),
    "notice.failed": ("notices", NOTICE, f"notice/{NOTICE}"),
    "notice.posted": ("notices", NOTICE, f"notice/{NOTICE}"),
    "notice.completed": ("notices", NOTICE, f"notice/{NOTICE}"),
    "personal_data.disclosed": ("disclosures.accounts", f"account/{ACCOUNT}", f"account/{ACCOUNT}"),
    "disclosure.refused": ("disclosures.accounts", f"account/{ACCOUNT}", f"account/{ACCOUNT}"),
    "personal_data.accessed": ("accesses.audit", f"account/{ACCOUNT}", f"account/{ACCOUNT}"),
    "operator.acted": ("accesses.notifier", DEAD_LETTER, "account/acc-01HX3K7Q2M"),
    "service.recovered": ("accesses.dsr", RECOVERY, f"recovery/{RECOVERY}"),
}
ADDRESSED_WITHOUT_OPTIONAL = ADDRESSED | {
    "accounts.heartbeat": ("accounts", "heartbeat/2", "heartbeat/2"),
    "request.received": ("requests", REQUEST, f"request/{REQUEST}"),
    "request.closed": ("requests", REQUEST, f"request/{REQUEST}"),
    "request.verified": ("requests", REQUEST, f"request/{REQUEST}"),
    "deletion.confirmed": ("requests", REQUEST, f"request/{REQUEST}"),
    "deletion.requested": ("requests", REQUEST, f"request/{REQUEST}"),
    "system.escalated": ("requests", REQUEST, f"request/{REQUEST}"),
    "system.left_outstanding": ("requests", REQUEST, f"request/{REQUEST}"),
    "request.withdrawn": ("requests", REQUEST, f"request/{REQUEST}"),
    "reply.done": ("replies.marketing", REQUEST, f"request/{REQUEST}"),
    "reply.retained": ("replies.orders", REQUEST, f"request/{REQUEST}"),
    "reply.not_found": ("replies.consent", REQUEST, f"request/{REQUEST}"),
    "reply.failed": ("replies.orders", REQUEST, f"request/{REQUEST}"),
    "personal_data.accessed": ("accesses.audit", ACCESS, f"access/{ACCESS}"),
    "operator.acted": ("accesses.notifier", DEAD_LETTER, f"dead_letter/{DEAD_LETTER}"),
}


@pytest.mark.parametrize(("name", "kind"), golden.EVERY)
def test_topic_key_and_subject(name: str, kind: str) -> None:
    event = golden.event(name, kind)
    expected = (ADDRESSED if kind == "full" else ADDRESSED_WITHOUT_OPTIONAL)[name]
    assert (event.topic, event.key, event.subject) == expected
    assert event.topic in topics()


LONGEST = {
    "^[A-Za-z0-9_-]{1,48}$": "a" * 48,
    "^(account|device|request)/[A-Za-z0-9_-]{1,56}$": "account/" + "a" * 56,
    "^[a-z][a-z0-9-]{0,31}$": "a" * 32,
}


@pytest.mark.parametrize(("name", "kind"), golden.EVERY)
def test_a_subject_fits_in_64_characters_whatever_the_fields_hold(name: str, kind: str) -> None:
    given = golden.body(name, kind)
    for field, rules in schema(EVENTS[name])["properties"].items():
        choice = next((c for c in rules.get("anyOf", [rules]) if c["type"] != "null"), rules)
        if field in given and "maximum" in choice:
            given[field] = choice["maximum"]
        if field in given and "pattern" in choice:
            given[field] = LONGEST.get(choice["pattern"], given[field])
    event = EVENTS[name].model_validate(given)
    assert len(event.subject) <= 64


@pytest.mark.parametrize(("name", "kind"), golden.EVERY)
def test_a_cloudevents_reader_understands_the_message(name: str, kind: str) -> None:
    """CloudEvents 1.0, Kafka binding 3.2: binary content mode."""
    event, at = golden.event(name, kind), datetime(2026, 3, 2, 9, 15, tzinfo=UTC)
    headers = {
        "ce_specversion": "1.0",
        "ce_id": ACCESS,
        "ce_type": event.type,
        "ce_source": "dsr",
        "ce_subject": event.subject,
        "ce_time": at.isoformat(),
        "ce_sequence": "17",
        "content-type": "application/json",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }
    message = KafkaMessage(
        headers={header: value.encode() for header, value in headers.items()},
        key=event.key.encode(),
        value=event.to_bytes(),
    )
    read = from_binary(message, JSONFormat(), CloudEvent)
    assert (read.get_specversion(), read.get_id(), read.get_type()) == ("1.0", ACCESS, name)
    assert (read.get_source(), read.get_subject(), read.get_time()) == ("dsr", event.subject, at)
    assert read.get_extension("sequence") == "17"
    assert EVENTS[name].model_validate(read.get_data()) == event


def _written(base: type[Event]) -> set[type[Event]]:
    return {base} | {event for child in base.__subclasses__() for event in _written(child)}


def test_every_event_that_is_written_is_listed() -> None:
    written = {event for event in _written(Event) if "type" in vars(event) and event.__module__.startswith("privacy_")}
    assert written == set(EVENTS.values())
    assert len(written) == len(EVENTS)
    assert all(re.fullmatch(r"[a-z_]+\.[a-z_]+", name) for name in EVENTS)


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_is_frozen_and_unknown_fields_are_ignored(name: str) -> None:
    event = golden.event(name, "full")
    with pytest.raises(ValidationError, match="frozen"):
        setattr(event, next(iter(type(event).model_fields)), None)
    later = golden.body(name, "full") | {"of_a_later_release": {"x": 1}}
    if "items" in later:
        later["items"] = [item | {"of_a_later_release": 1} for item in later["items"]]
    assert type(event).model_validate(later) == event
