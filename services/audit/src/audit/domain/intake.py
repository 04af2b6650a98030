"""Which entries of a batch are new, which are repeats, and what is odd about them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal
from zoneinfo import ZoneInfo

from audit.domain.entries import Entry, Identity
from audit.domain.sequences import Source, Track, arrive
from privacy_contracts.accesses import ServiceRecovered
from privacy_contracts.replies import ReplyRetained, RetainedItem
from privacy_contracts.requests import DeletionRequested
from privacy_contracts.topology import Topic

NAME = "audit"
KEPT_MONTHS = 24
"""Records of requests are kept for at least 24 months (11 CCR 7101(a))."""

FindingKind = Literal["conflict", "foreign_source", "undecodable", "misplaced", "unsequenced", "sequence_reused", "gap"]


@dataclass(frozen=True)
class Known:
    """What is already recorded under an identity."""

    index: int
    body_hash: bytes


@dataclass(frozen=True)
class Odd:
    """A finding about one record. `index` is its entry, or, for a conflict, the entry that came first and stays."""

    kind: FindingKind
    index: int
    entry: Entry


@dataclass(frozen=True)
class Taken:
    """The new entries, the first of which gets index `start`, and the findings about the batch."""

    start: int
    new: list[Entry]
    odd: list[Odd]


def take(entries: Iterable[Entry], known: Mapping[Identity, Known], size: int, topics: Mapping[str, Topic]) -> Taken:
    """Number what is new from `size` on. The same identity with another body is a conflict, and the first stays."""
    seen = dict(known)
    taken = Taken(size, [], [])
    for entry in entries:
        before = seen.get(entry.identity)
        if before is None:
            index = size + len(taken.new)
            seen[entry.identity] = Known(index, entry.body_hash)
            taken.new.append(entry)
            taken.odd.extend(Odd(kind, index, entry) for kind in _oddities(entry, topics[entry.topic]))
        elif before.body_hash not in (entry.body_hash, entry.other_hash):
            taken.odd.append(Odd("conflict", before.index, entry))
    return taken


def _oddities(entry: Entry, topic: Topic) -> Iterable[FindingKind]:
    if entry.foreign_source:
        yield "foreign_source"
    if entry.omitted == "undecodable" or entry.source is None or entry.id is None:
        yield "undecodable"
    if entry.omitted == "misplaced":
        yield "misplaced"
    if topic.sequenced and entry.source == topic.writer and entry.sequence is None:
        yield "unsequenced"


def numbered(taken: Taken, topics: Mapping[str, Topic]) -> dict[Source, list[Odd]]:
    """The new entries that count, by topic and source, each as the finding that it is if its number was used before.

    Those count that stand on a topic that must be counted, are from its own writer, and have a number.
    """
    found: dict[Source, list[Odd]] = {}
    for index, entry in enumerate(taken.new, taken.start):
        counts = topics[entry.topic].sequenced and entry.sequence is not None and not entry.foreign_source
        if counts and entry.source is not None:
            found.setdefault((entry.topic, entry.source), []).append(Odd("sequence_reused", index, entry))
    return found


def follow(
    arrived: Mapping[Source, Sequence[Odd]], tracks: Mapping[Source, Track]
) -> tuple[dict[Source, Track], list[Odd]]:
    """The tracks with the numbers that arrived, and the findings about numbers that another event had used."""
    after: dict[Source, Track] = {}
    reused: list[Odd] = []
    for source, entries in arrived.items():
        numbers = [odd.entry.sequence for odd in entries if odd.entry.sequence is not None]
        after[source], again = arrive(tracks[source], numbers)
        by_number = dict(zip(numbers, entries, strict=True))
        reused += [by_number[number] for number in again]
    return after, reused


def lost(entries: Iterable[Entry], topics: Mapping[str, Topic]) -> Iterable[tuple[Source, int, int]]:
    """By source the numbers, from and to, that an operator has declared lost: Kafka had them once and has no more."""
    for entry in entries:
        if isinstance(entry.event, ServiceRecovered) and not entry.foreign_source:
            for each in entry.event.topics:
                named = topics.get(each.topic)
                if named is not None and named.writer == entry.event.system and each.log < each.database:
                    yield (each.topic, named.writer), each.log + 1, each.database


def retained(entry: Entry, zone: ZoneInfo, now: datetime) -> ReplyRetained | None:
    """The answer to a deletion that names this service: it keeps its record, as the law demands (11 CCR 7101(a)).

    `zone` is the company's.
    """
    asked = entry.event
    if not isinstance(asked, DeletionRequested) or entry.foreign_source or NAME not in asked.systems:
        return None
    return ReplyRetained(
        request=asked.request,
        account=asked.account,
        system=NAME,
        answered_by=f"service/{NAME}",
        answered_at=now,
        items=[RetainedItem(category="requests", legal_basis="us.ca.11ccr7101", until=kept_until(asked, zone))],
    )


def kept_until(asked: DeletionRequested, zone: ZoneInfo) -> date:
    """24 months after the day on which the person's answer is due, or is late; 28 February where there is no such day.

    What must be kept is the request and how it was answered, so the day of asking would cut the months short. It is the
    day from which dsr counts for its own record.
    """
    day = max(asked.answer_due_at or asked.requested_at, asked.requested_at).astimezone(zone).date()
    year = day.year + KEPT_MONTHS // 12
    return day.replace(year=year, day=28) if (day.month, day.day) == (2, 29) else day.replace(year=year)
