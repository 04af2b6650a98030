"""Cursors, and what is recorded about a reader."""

import base64
import json
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.domain.reading import Access, BadCursor, Place, Query, accessed, cursor, is_too_wide, place_at

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
QUERY = Query("entries", subject="account/a1")


def forged(*parts: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()


@given(st.integers(-1, 10**9), st.integers(0, 10**9))
def test_a_cursor_leads_back(after: int, further: int) -> None:
    place = Place(after, after + further)
    assert place_at(QUERY, cursor(QUERY, place)) == place


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "ü",
        "====",
        forged(),
        forged(1, 2),
        forged("1", 2, QUERY.digest()[:16]),
        forged(True, 2, QUERY.digest()[:16]),
        forged(5, 2, QUERY.digest()[:16]),
        forged(-2, 2, QUERY.digest()[:16]),
        forged(1, 2**70, QUERY.digest()[:16]),
        cursor(Query("entries", subject="account/a2"), Place(1, 2)),
        cursor(Query("findings", subject="account/a1"), Place(1, 2)),
    ],
)
def test_a_cursor_of_no_list_or_another_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        place_at(QUERY, text)


def recorded(query: Query, subjects: list[str | None], reader: str = "auditor-01"):  # type: ignore[no-untyped-def]  # short
    return accessed(uuid4(), Access(reader, query, NOW), subjects, len(subjects), ["requests"])


@pytest.mark.promise(76)
def test_a_reading_names_reader_question_and_person() -> None:
    made = recorded(QUERY, ["account/a1", "account/a1"])
    assert (made.actor, made.action, made.purpose, made.results) == ("staff/auditor-01", "search", "audit", 2)
    assert (made.subject_id, made.query_hash) == ("account/a1", QUERY.digest())
    assert made.topic == "accesses.audit"


@pytest.mark.parametrize(
    ("subjects", "person"),
    [
        ([], None),
        (["policy/main", None], None),
        (["account/a1", "account/a2"], None),
        (["account/a1", "notice/1", "account/a1"], "account/a1"),
        (["request/r1", "account/a1"], "account/a1"),
        (["request/r1"], "request/r1"),
        (["request/r1", "request/r2"], None),
    ],
)
def test_the_person_is_named_when_it_is_one(subjects: list[str | None], person: str | None) -> None:
    request = UUID(int=1)
    made = recorded(Query("entries", request=request), subjects)
    assert (made.subject_id, made.case) == (person, request)


@pytest.mark.parametrize("reader", ["auditor-01", "Maria@example.com", "../x", "A" * 200, ""])
def test_any_reader_can_be_recorded(reader: str) -> None:
    assert "@" not in recorded(QUERY, [], reader).actor


def test_findings_are_about_nobody() -> None:
    assert recorded(Query("findings"), []).categories == []
    assert recorded(QUERY, []).categories == ["requests"]


@pytest.mark.parametrize(
    ("query", "wide"),
    [
        (Query("entries"), True),
        (Query("entries", type="consent.changed"), True),
        (Query("entries", since=NOW), True),
        (Query("entries", until=NOW), True),
        (Query("entries", since=NOW, until=NOW), False),
        (Query("entries", request=UUID(int=1)), False),
        (QUERY, False),
    ],
)
def test_a_search_names_a_request_a_person_or_a_time(query: Query, wide: bool) -> None:
    assert is_too_wide(query) is wide


def test_looking_at_one_entry_is_viewing() -> None:
    assert recorded(Query("entry", index=5), ["account/a1"]).action == "view"
