"""What a record on a topic becomes as an entry. Every record, whatever its bytes, becomes one: nothing here raises.

An entry keeps coded facts only. Of the body it keeps the fields of the contract; a body that breaks the contract, is of
an unknown type or stands on the accounts topic leaves its hash alone. Headers are kept where they are the envelope's
own and plain; of any other only the name stays. So no writer's mistake can put an address into a table from which
nothing can be taken out again.
"""

import hashlib
import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

from privacy_contracts import EVENTS, Event
from privacy_contracts.envelope import LARGEST_BODY
from privacy_contracts.topology import Topic

Omitted = Literal["personal", "undecodable", "unknown_type", "misplaced"]
Keyed = Callable[[bytes], bytes]
"""A keyed hash, 32 bytes: tells nothing to whoever guesses at the body."""

ENVELOPE = frozenset(
    {
        "ce_specversion",
        "ce_id",
        "ce_type",
        "ce_source",
        "ce_subject",
        "ce_time",
        "ce_sequence",
        "content-type",
        "traceparent",
    }
)
_PLAIN = (string.ascii_letters + string.digits + "_.:/+;=-").encode()
_LONGEST = 256
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LARGEST_SEQUENCE = 2**62


class Record(Protocol):
    """A record as the broker gave it."""

    @property
    def topic(self) -> str: ...  # noqa: D102 - the names speak
    @property
    def partition(self) -> int: ...  # noqa: D102
    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...  # noqa: D102
    @property
    def timestamp(self) -> datetime: ...  # noqa: D102


Header = tuple[str | None, str | None]
"""A name and a value, each as far as it is kept."""

Identity = tuple[str, str, str] | tuple[str, int, int]
"""Topic, source and id; or topic, partition and offset, where the envelope names no source or id."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is written about one record. `payload` is JSON text; `omitted` says why there is none.

    `other_hash` is what another release, which knows more types or fewer, has as the hash of the same body.
    """

    topic: str
    partition: int
    offset: int
    key: str | None
    source: str | None
    id: str | None
    type: str | None
    subject: str | None
    request: UUID | None
    time: datetime | None
    sequence: int | None
    broker_time: datetime
    headers: list[Header]
    payload: str | None
    omitted: Omitted | None
    body_hash: bytes
    other_hash: bytes
    foreign_source: bool
    event: Event | None

    @property
    def identity(self) -> Identity:
        """By what a repeat is recognised."""
        if self.source is not None and self.id is not None:
            return self.topic, self.source, self.id
        return self.topic, self.partition, self.offset


def entry_of(record: Record, topic: Topic, keyed: Keyed) -> Entry:
    """The entry for a record on `topic`.

    The body's hash is SHA-256 where the payload is kept, and `keyed` where it is not.
    """
    headers = [_header(name, value) for name, value in record.headers]
    envelope = _envelope(headers)
    event, omitted = _decode(record.value, envelope.get("ce_type"), topic)
    value = record.value or b""
    plain, secret = hashlib.sha256(value).digest(), keyed(value)
    source = envelope.get("ce_source")
    return Entry(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=_plain(record.key),
        source=source,
        id=envelope.get("ce_id"),
        type=envelope.get("ce_type"),
        subject=_whom(event) or envelope.get("ce_subject"),
        request=_request(event),
        time=_time(envelope.get("ce_time")),
        sequence=_sequence(envelope.get("ce_sequence")),
        broker_time=record.timestamp,
        headers=headers,
        payload=event.to_bytes().decode() if event else None,
        omitted=omitted,
        body_hash=plain if event else secret,
        other_hash=secret if event else plain,
        foreign_source=source is not None and source != topic.writer,
        event=event,
    )


def _decode(value: bytes | None, event_type: str | None, topic: Topic) -> tuple[Event | None, Omitted | None]:
    if value is None or event_type is None or len(value) > LARGEST_BODY:
        return None, "undecodable"
    if topic.personal:
        return None, "personal"
    kind = EVENTS.get(event_type)
    if kind is None:
        return None, "unknown_type"
    try:
        event = kind.model_validate_json(value, strict=True)  # as every other reader does
    except ValueError:
        return None, "undecodable"
    return (event, None) if event.topic == topic.name else (None, "misplaced")


def _header(name: str, value: bytes | None) -> Header:
    if name in ENVELOPE:
        return name, _plain(value)
    return name if _NAME.fullmatch(name) else None, None


def _envelope(headers: Sequence[Header]) -> Mapping[str, str]:
    """The envelope's own headers with plain values; the first of a name counts."""
    return {name: value for name, value in reversed(headers) if name is not None and value is not None}


def _plain(value: bytes | None) -> str | None:
    """The text, when it can be nobody's address or full name: short, of ASCII letters, digits and a few signs."""
    if not value or len(value) > _LONGEST or value.translate(None, _PLAIN):
        return None
    return value.decode("ascii")


def _time(text: str | None) -> datetime | None:
    try:
        time = datetime.fromisoformat(text or "")
        return time if time.utcoffset() is not None and 1970 < time.year < 9000 else None
    except (ValueError, OverflowError):
        return None


def _sequence(text: str | None) -> int | None:
    """From 1; anything else is no sequence."""
    if text is None or len(text) > 19 or not text.isdecimal():
        return None
    return int(text) if 0 < int(text) < _LARGEST_SEQUENCE else None


def _whom(event: Event | None) -> str | None:
    """The person, where the event names one: by the account, else by the request; else what it is about."""
    if event is None:
        return None
    fields = vars(event)
    account, request = fields.get("account"), fields.get("request")
    if account is not None:
        return f"account/{account}"
    return f"request/{request}" if isinstance(request, UUID) else event.subject


def _request(event: Event | None) -> UUID | None:
    """The request, or the case that an access or a disclosure happened for."""
    fields = vars(event) if event is not None else {}
    request = fields.get("request") or fields.get("case")
    return request if isinstance(request, UUID) else None
