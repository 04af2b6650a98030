"""Which numbers are missing, and since when; time is an argument."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.domain.sequences import Mark, Span, Track, arrive, check

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def after(*batches: list[int]) -> tuple[Track, list[int]]:
    track, reused = Track(), []
    for batch in batches:
        track, again = arrive(track, batch)
        reused += again
    return track, reused


@pytest.mark.parametrize(
    ("batches", "high", "missing"),
    [
        ([], 0, ()),
        ([[1, 2, 3]], 3, ()),
        ([[3, 1, 2]], 3, ()),
        ([[2]], 2, ((1, 2),)),
        ([[1, 5]], 5, ((2, 5),)),
        ([[1, 5], [3]], 5, ((2, 3), (4, 5))),
        ([[1, 5], [3], [2, 4]], 5, ()),
        ([[1, 4], [8], [6]], 8, ((2, 4), (5, 6), (7, 8))),
        ([[1, 9], [2, 8]], 9, ((3, 8),)),
    ],
)
def test_numbers_come_in_any_order(batches: list[list[int]], high: int, missing: tuple[Span, ...]) -> None:
    track, reused = after(*batches)
    assert (track.high, track.missing, reused) == (high, missing, [])


@pytest.mark.parametrize(
    ("batches", "reused"),
    [([[1, 2], [2]], [2]), ([[1, 1]], [1]), ([[5], [3], [3, 4]], [3]), ([[1, 2, 3], [1, 4, 2]], [1, 2])],
)
def test_a_number_used_twice_is_told(batches: list[list[int]], reused: list[int]) -> None:
    assert after(*batches)[1] == reused


@given(st.lists(st.lists(st.integers(1, 60), max_size=20), max_size=8))
def test_missing_is_all_below_the_highest_that_never_came(batches: list[list[int]]) -> None:
    track, reused = after(*batches)
    seen = [number for batch in batches for number in batch]
    assert track.high == max(seen, default=0)
    missing = [number for low, end in track.missing for number in range(low, end)]
    assert missing == sorted(set(range(1, track.high + 1)) - set(seen))
    assert len(reused) == len(seen) - len(set(seen))
    assert all(end < low for (_, end), (low, _) in zip(track.missing, track.missing[1:], strict=False))


def test_a_gap_open_for_sixty_seconds_is_found_by_a_hundred_and_twenty() -> None:
    """Given a gap that opens at any moment between two checks, when checks run every 15 s, then it is found in time."""
    for opened in range(15):
        track, found = Track(), None
        for second in range(0, 200):
            if second == 100 + opened:
                track, _ = arrive(track, [2])
            if second % 15 == 0 and found is None:
                checked = check(track, {}, START + timedelta(seconds=second))
                track = checked.track
                if checked.overdue:
                    assert checked.overdue == ((1, 2),)
                    found = second - 100 - opened
        assert found is not None
        assert 60 <= found <= 120


def test_a_gap_that_closes_in_time_is_nothing() -> None:
    track = check(after([1, 3])[0], {}, START).track
    track, _ = arrive(track, [2])
    assert check(track, {}, START + timedelta(seconds=90)).overdue == ()


def test_new_numbers_do_not_keep_an_old_gap_young() -> None:
    track = check(after([2])[0], {}, START).track
    track = check(arrive(track, [4])[0], {}, START + timedelta(seconds=59)).track
    assert check(track, {}, START + timedelta(seconds=60)).overdue == ((1, 2),)


def test_a_finding_is_made_once_and_resolved_when_all_of_it_has_come() -> None:
    track = check(after([1, 4])[0], {}, START).track
    first = check(track, {}, START + timedelta(seconds=61))
    assert (first.overdue, first.resolved) == (((2, 4),), ())
    again = check(first.track, {7: ((2, 4),)}, START + timedelta(seconds=76))
    assert (again.overdue, again.resolved) == ((), ())
    track, _ = arrive(again.track, [2])
    assert check(track, {7: ((2, 4),)}, START + timedelta(seconds=91)).resolved == ()
    track, _ = arrive(track, [3])
    assert check(track, {7: ((2, 4),)}, START + timedelta(seconds=106)).resolved == (7,)


def test_only_what_is_newly_overdue_is_told() -> None:
    track = Track(high=20, missing=((3, 6), (9, 12), (15, 18)), marks=(Mark(START, 16),))
    checked = check(track, {1: ((4, 5),), 2: ((9, 12),)}, START + timedelta(seconds=60))
    assert checked.overdue == ((3, 4), (5, 6), (15, 17))


def test_marks_do_not_pile_up() -> None:
    track = Track()
    for second in range(0, 3600, 15):
        track, _ = arrive(track, [second + 1])
        track = check(track, {}, START + timedelta(seconds=second)).track
    assert len(track.marks) <= 6


def test_thousands_of_spans_are_one_pass() -> None:
    """Reading one partition before the others leaves every other number open for a while."""
    track, _ = after(list(range(2, 40_002, 2)))
    track = check(track, {}, START).track
    late = check(track, {}, START + timedelta(seconds=61))
    assert len(late.overdue) == 20_000
    assert check(track, {1: late.overdue}, START + timedelta(seconds=61)).overdue == ()
