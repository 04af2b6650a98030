"""Records as they come from the broker, and events as handlers receive them (CloudEvents 1.0, Kafka binary mode)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from pydantic import ValidationError

from privacy_contracts import Event
from privacy_contracts.envelope import LARGEST_BODY
from privacy_contracts.topology import Topic

E_co = TypeVar("E_co", bound=Event, covariant=True)

Partition = tuple[str, int]
_LONGEST_ID = 128


class Undecodable(Exception):
    """A record that is no event of ours; the argument is a code. Trying again is of no use."""


class Rejected(Exception):
    """Raised by a handler: this event can never be applied; the argument is a code. It is not tried again."""


def code_of(error: Exception) -> str:
    """What to call a failure without repeating what failed."""
    return str(error) if isinstance(error, Rejected | Undecodable) else type(error).__name__


@dataclass(frozen=True, slots=True)
class Record:
    """One record. `topic` is without the deployment's prefix, `timestamp` the broker's."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp: datetime

    @property
    def place(self) -> Partition:
        """The partition it stands in."""
        return self.topic, self.partition

    @property
    def traceparent(self) -> str | None:
        """Where it comes from, if that is text: nothing depends on it."""
        return next((value.decode("latin-1") for name, value in self.headers if name == "traceparent" and value), None)

    def header(self, name: str) -> str | None:
        """A header's text. Raises `Undecodable` when it is null or not UTF-8."""
        for given, value in self.headers:
            if given == name:
                if value is None:
                    raise Undecodable("header-null")
                try:
                    return value.decode()
                except UnicodeDecodeError:
                    raise Undecodable("header-not-utf8") from None
        return None


@dataclass(frozen=True, slots=True)
class Received(Generic[E_co]):
    """An event with its envelope."""

    event: E_co
    id: str
    source: str
    topic: str
    time: datetime
    traceparent: str | None


def identity(record: Record, topic: Topic) -> tuple[str, str] | None:
    """The writer's name for an event, (`ce_source`, `ce_id`), where it has a usable one.

    Only the topic's own writer may name: else another one could use up the id of an event that is still to come.
    """
    try:
        source, event_id = record.header("ce_source"), record.header("ce_id")
    except Undecodable:
        return None
    usable = event_id and len(event_id) <= _LONGEST_ID and event_id.isascii() and event_id.isprintable()
    return (source, event_id) if source == topic.writer and usable and event_id else None


def decode(record: Record, topic: Topic, events: Mapping[str, type[Event]]) -> Received[Event] | None:
    """The event, or None where its type is not among `events`: an old reader survives a new writer.

    Raises `Undecodable`: a header missing, null or not text, another author than the topic's writer, no body, a body
    that is not of the type's schema, or a key that is not the event's.
    """
    kind = record.header("ce_type")
    if kind is None:
        raise Undecodable("no-type")
    if kind not in events:
        return None
    if record.header("ce_source") not in {None, topic.writer}:
        raise Undecodable("foreign-source")
    name, time, _ = identity(record, topic), record.header("ce_time"), record.header("ce_subject")
    if name is None or time is None or record.header("ce_specversion") != "1.0":
        raise Undecodable("envelope-incomplete")
    sequence = record.header("ce_sequence")
    if topic.sequenced and sequence is None:
        raise Undecodable("no-sequence")
    if record.value is None or len(record.value) > LARGEST_BODY:
        raise Undecodable("no-body" if record.value is None else "too-large")
    try:
        event = events[kind].model_validate_json(record.value, strict=True)
        at, _ = datetime.fromisoformat(time), int(sequence or 0)
    except (ValidationError, ValueError):
        raise Undecodable("schema") from None
    if record.key is None:
        raise Undecodable("no-key")
    if record.key != event.key.encode():
        raise Undecodable("foreign-key")
    return Received(event, name[1], name[0], record.topic, at, record.traceparent)
