"""Which numbers of a source are missing on a topic, and since when.

A source numbers its events on a topic from 1, without gaps, across the topic's partitions. Partitions are read side by
side, so numbers are missing for moments all the time; only those that stay missing mean something. To tell how long,
each check leaves a mark: how high the numbers stood at what time. A number below a mark that is still missing has been
missing at least since that mark.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice, pairwise

Span = tuple[int, int]
"""From the first number to the one after the last."""

Source = tuple[str, str]
"""Topic and source."""

OVERDUE = timedelta(seconds=60)
CHECK_EVERY = timedelta(seconds=15)
"""A gap opens at most one check before its mark and is found at most one check after it is overdue: by 90 s."""


@dataclass(frozen=True)
class Mark:
    """At `at` the numbers stood at `high`."""

    at: datetime
    high: int


@dataclass(frozen=True)
class Track:
    """One source on one topic: the highest number seen, and the spans below it that were not."""

    high: int = 0
    missing: tuple[Span, ...] = ()
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Checked:
    """The track with its new mark, the spans newly overdue, and the findings whose numbers have all arrived."""

    track: Track
    overdue: tuple[Span, ...]
    resolved: tuple[int, ...]


def arrive(track: Track, numbers: Iterable[int]) -> tuple[Track, list[int]]:
    """The track after new events with these numbers; and those numbers that another event had already used."""
    wanted = sorted(numbers)
    fresh = sorted(set(wanted))
    reused = [number for last, number in pairwise(wanted) if last == number]
    high = max(track.high, fresh[-1]) if fresh else track.high
    open_spans = [*track.missing, (track.high + 1, high + 1)] if high > track.high else list(track.missing)
    missing, unknown = _without(open_spans, fresh)
    return replace(track, high=high, missing=missing), sorted(reused + unknown)


def _without(spans: Sequence[Span], numbers: Sequence[int]) -> tuple[tuple[Span, ...], list[int]]:
    """The spans without the numbers, and the numbers that stood in no span. Both arguments are sorted."""
    left: list[Span] = []
    unknown: list[int] = []
    rest = iter(numbers)
    number = next(rest, None)
    for low, end in spans:
        start = low
        while number is not None and number < end:
            if number < low:
                unknown.append(number)
            else:
                if number > start:
                    left.append((start, number))
                start = number + 1
            number = next(rest, None)
        if start < end:
            left.append((start, end))
    if number is not None:
        unknown.append(number)
    return tuple(left), unknown + list(rest)


def check(track: Track, findings: Mapping[int, Sequence[Span]], now: datetime) -> Checked:
    """What a check at `now` finds. `findings` are the open ones by id, each with the spans it complained of.

    `now` is real time: how long this service has waited is no matter of a clock that can be moved.
    """
    ripe = [mark for mark in track.marks if now - mark.at >= OVERDUE]
    late = _below(track.missing, max(mark.high for mark in ripe)) if ripe else ()
    late = _minus(late, sorted(span for spans in findings.values() for span in spans))
    resolved = tuple(number for number, spans in findings.items() if not _overlap(spans, track.missing))
    marks = tuple(mark for mark in track.marks if mark not in ripe[:-1])
    if track.high > max((mark.high for mark in marks), default=0):
        marks += (Mark(now, track.high),)
    return Checked(replace(track, marks=marks), late, resolved)


def give_up(track: Track, findings: Mapping[int, Sequence[Span]], low: int, high: int) -> Checked:
    """Nobody waits any more for the numbers from `low` to `high`: they were lost, and somebody has said so.

    `overdue` are those that never came and that no open finding complains of; `resolved` the findings that have no
    other number to wait for.
    """
    top = max(track.high, high)
    missing = (*track.missing, (track.high + 1, top + 1)) if top > track.high else track.missing
    left = _minus(missing, [(low, high + 1)])
    lost = _minus(missing, left)
    complaints = sorted(span for spans in findings.values() for span in spans)
    over = [number for number, spans in findings.items() if _overlap(spans, lost) and not _overlap(spans, left)]
    return Checked(replace(track, high=top, missing=left), _minus(lost, complaints), tuple(over))


def _below(spans: Sequence[Span], high: int) -> tuple[Span, ...]:
    return tuple((low, min(end, high + 1)) for low, end in spans if low <= high)


def _minus(spans: Sequence[Span], others: Sequence[Span]) -> tuple[Span, ...]:
    """What of the spans lies outside the others. Both arguments are sorted; one pass."""
    left: list[Span] = []
    first = 0
    for low, end in spans:
        start = low
        while first < len(others) and others[first][1] <= low:
            first += 1
        for other_low, other_end in islice(others, first, None):
            if other_low >= end:
                break
            if other_low > start:
                left.append((start, other_low))
            start = max(start, other_end)
        if start < end:
            left.append((start, end))
    return tuple(left)


def _overlap(spans: Sequence[Span], others: Sequence[Span]) -> bool:
    return sum(end - low for low, end in _minus(spans, others)) < sum(end - low for low, end in spans)
