"""What is new in a batch, what is a repeat and what is odd: given what is known, when a batch comes, then."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from audit.domain.entries import Entry, entry_of
from audit.domain.intake import Known, follow, kept_until, numbered, retained, take
from audit.domain.sequences import Track
from privacy_contracts.requests import DeletionRequested

from .records import REQUEST, TOPICS, deletion, keyed, raw, record

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LOS_ANGELES = ZoneInfo("America/Los_Angeles")


def entry(**given: Any) -> Entry:
    made = record(**given)
    return entry_of(made, TOPICS[made.topic], keyed)


def test_new_entries_are_numbered_from_the_size_on() -> None:
    taken = take([entry(), entry()], {}, 40, TOPICS)
    assert (taken.start, len(taken.new), taken.odd) == (40, 2, [])


def test_a_repeat_is_no_entry_whether_of_this_batch_or_an_earlier_one() -> None:
    first = entry(id="one")
    assert take([first, entry(id="one", offset=9)], {}, 0, TOPICS).new == [first]
    assert take([first], {first.identity: Known(3, first.body_hash)}, 9, TOPICS).new == []


def test_another_body_under_the_same_id_is_a_conflict_and_the_first_stays() -> None:
    first, other = entry(id="one"), entry(id="one", offset=9, systems=("marketing",))
    taken = take([first, other], {}, 5, TOPICS)
    assert taken.new == [first]
    assert [(odd.kind, odd.index, odd.entry) for odd in taken.odd] == [("conflict", 5, other)]
    known = take([other], {first.identity: Known(3, first.body_hash)}, 9, TOPICS)
    assert [(odd.kind, odd.index) for odd in known.odd] == [("conflict", 3)]


def test_the_same_body_that_another_release_could_not_read_is_a_repeat() -> None:
    made = record(id="one")
    again = entry_of(made, TOPICS[made.topic], keyed)
    taken = take([again], {again.identity: Known(3, keyed(made.value or b""))}, 9, TOPICS)
    assert (taken.new, taken.odd) == ([], [])


def test_without_an_id_the_position_tells_repeats() -> None:
    made = raw("requests", b"\xff", headers=(), offset=7)
    first = entry_of(made, TOPICS["requests"], keyed)
    again = entry_of(made, TOPICS["requests"], keyed)
    assert first.identity == ("requests", 0, 7)
    assert take([first, again], {}, 0, TOPICS).new == [first]


def test_a_foreign_source_is_recorded_and_told() -> None:
    made = entry(source="marketing")
    taken = take([made], {}, 0, TOPICS)
    assert taken.new == [made]
    assert [odd.kind for odd in taken.odd] == ["foreign_source"]


def test_a_source_that_must_count_and_does_not_is_told() -> None:
    assert [odd.kind for odd in take([entry(sequence=None)], {}, 0, TOPICS).odd] == ["unsequenced"]


def test_those_count_that_must_come_from_the_writer_and_have_a_number() -> None:
    one, two = entry(sequence=1), entry(sequence=2)
    taken = take([one, entry(sequence=None), entry(sequence=3, source="marketing"), two], {}, 40, TOPICS)
    counted = numbered(taken, TOPICS)
    assert {source: [(odd.index, odd.entry) for odd in odds] for source, odds in counted.items()} == {
        ("requests", "dsr"): [(40, one), (43, two)]
    }


def test_a_topic_that_need_not_count_is_not_followed() -> None:
    topics = {"requests": replace(TOPICS["requests"], sequenced=False)}
    assert numbered(take([entry(sequence=1)], {}, 0, topics), topics) == {}


def test_numbers_move_their_track_and_one_used_before_is_found() -> None:
    source = ("requests", "dsr")
    arrived = numbered(take([entry(sequence=2), entry(sequence=4), entry(sequence=4)], {}, 7, TOPICS), TOPICS)
    tracks, reused = follow(arrived, {source: Track(high=2)})
    assert (tracks[source].high, tracks[source].missing) == (4, ((3, 4),))
    assert [(odd.kind, odd.index, odd.entry.sequence) for odd in reused] == [
        ("sequence_reused", 7, 2),
        ("sequence_reused", 9, 4),
    ]


@pytest.mark.promise(88)
def test_a_deletion_that_names_audit_is_answered_with_what_is_kept_and_until_when() -> None:
    """11 CCR 7101(a): records of requests are kept for 24 months."""
    answer = retained(entry(systems=("consent", "audit")), LOS_ANGELES, NOW)
    assert answer
    assert (answer.request, answer.system, answer.account) == (REQUEST, "audit", "a1")
    [item] = answer.items
    assert (item.category, item.legal_basis, item.until) == ("requests", "us.ca.11ccr7101", date(2028, 3, 1))


def test_a_deletion_of_others_or_from_a_foreign_source_is_not_answered() -> None:
    assert retained(entry(systems=("orders",)), LOS_ANGELES, NOW) is None
    assert retained(entry(systems=("audit",), source="orders"), LOS_ANGELES, NOW) is None


ASKED = datetime(2026, 11, 23, 20, tzinfo=UTC)
KEPT = {
    "from the day on which the answer is due": (datetime(2027, 1, 4, 7, 59, 59, tzinfo=UTC), date(2029, 1, 3)),
    "from the day of asking when that has passed": (datetime(2026, 11, 1, tzinfo=UTC), date(2028, 11, 23)),
    "from the day of asking when no day is told": (None, date(2028, 11, 23)),
    "until the 28th where there is no 29th": (datetime(2028, 2, 29, 20, tzinfo=UTC), date(2030, 2, 28)),
}


@pytest.mark.parametrize(("due", "until"), KEPT.values(), ids=KEPT)
def test_the_record_is_kept_for_24_months(due: datetime | None, until: date) -> None:
    asked = deletion().model_copy(update={"requested_at": ASKED, "answer_due_at": due})
    assert kept_until(asked, LOS_ANGELES) == until


def test_the_events_of_the_batch_keep_their_type() -> None:
    made = entry(systems=("audit",))
    assert isinstance(made.event, DeletionRequested)
    assert made.request == REQUEST
