"""Records as a writer on chassis makes them, and as nobody should."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from uuid import UUID, uuid4

from chassis.consumer import Record
from privacy_contracts import Event
from privacy_contracts.requests import DeletionRequested
from privacy_contracts.topology import Topic, read_by

TOPICS: Mapping[str, Topic] = {topic.name: topic for topic in read_by("audit")}
REQUEST = UUID("01900000-0000-7000-8000-000000000001")
AT = datetime(2026, 3, 1, 11, 59, tzinfo=UTC)
OFFSETS = count()
SEQUENCES = count(1)

Header = tuple[str, bytes | None]


def keyed(body: bytes) -> bytes:
    return hashlib.blake2b(body, key=b"test", digest_size=32).digest()


def raw(
    topic: str,
    value: bytes | None,
    headers: Sequence[Header] = (),
    *,
    key: bytes | None = None,
    partition: int = 0,
    offset: int | None = None,
) -> Record:
    at = next(OFFSETS) if offset is None else offset
    return Record(topic, partition, at, key, value, tuple(headers), AT)


def of(
    event: Event, *, source: str | None = None, id: str | None = None, sequence: int | None = -1, **place: int
) -> Record:
    """The record of an event; `sequence` -1 takes the next of all."""
    number = next(SEQUENCES) if sequence == -1 else sequence
    headers: list[Header] = [
        ("ce_specversion", b"1.0"),
        ("ce_id", (id or str(uuid4())).encode()),
        ("ce_type", event.type.encode()),
        ("ce_source", (source or TOPICS[event.topic].writer).encode()),
        ("ce_subject", event.subject.encode()),
        ("ce_time", AT.isoformat().encode()),
        ("content-type", b"application/json"),
    ]
    if number is not None:
        headers.append(("ce_sequence", str(number).encode()))
    return raw(event.topic, event.to_bytes(), headers, key=event.key.encode(), **place)


def deletion(
    systems: Sequence[str] = ("orders",), request: UUID = REQUEST, stage: str = "company"
) -> DeletionRequested:
    return DeletionRequested(
        request=request,
        account="a1",
        stage=stage,
        systems=list(systems),
        attempt=1,
        requested_at=AT,
        due_at=AT,
    )


def record(
    *,
    systems: Sequence[str] = ("orders",),
    source: str | None = None,
    id: str | None = None,
    sequence: int | None = -1,
    offset: int | None = None,
) -> Record:
    place = {} if offset is None else {"offset": offset}
    return of(deletion(systems), source=source, id=id, sequence=sequence, **place)
