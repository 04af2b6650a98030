from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from dsr.domain.requests import (
    Decided,
    Refused,
    Request,
    bind,
    channel,
    complete,
    confirm,
    expire,
    expires_at,
    has_ending,
    has_reader,
    is_revealed,
    receive,
    spent,
    start,
    verify,
    withdraw,
)
from privacy_contracts.envelope import Event
from privacy_contracts.requests import (
    DeletionConfirmed,
    RequestClosed,
    RequestReceived,
    RequestVerified,
    RequestWithdrawn,
)

ID = UUID("01930000-0000-7000-8000-000000000001")
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
DAYS3 = timedelta(days=3)
RECEIVED = receive(ID, "delete", "website", ZoneInfo("America/Los_Angeles"), NOW)


def given(status: str, **changes: object) -> Request:
    bound = bind(RECEIVED.request, "a1")
    return replace(bound, status=status, **changes)  # type: ignore[arg-type]  # the test names fields freely


def accepted(decided: Decided | Refused) -> tuple[Request, tuple[Event, ...]]:
    assert isinstance(decided, Decided)
    return decided.request, decided.events


def test_receipt_starts_the_clock_and_names_nobody() -> None:
    assert RECEIVED.events == (
        RequestReceived(
            request=ID,
            request_type="delete",
            channel="website",
            received_at=NOW,
            due_at=datetime(2027, 1, 4, 7, 59, 59, tzinfo=UTC),
        ),
    )
    assert RECEIVED.events[0].subject == f"request/{ID}"


@pytest.mark.parametrize(
    ("scopes", "named", "expected"),
    [
        ({"website"}, None, "website"),
        ({"website"}, "post", Refused("channel")),
        ({"agent"}, "post", "post"),
        ({"agent"}, "email", "email"),
        ({"agent"}, None, Refused("channel")),
        ({"agent", "website"}, None, "website"),
        ({"agent", "website"}, "post", "post"),
        (set(), None, Refused("channel")),
    ],
)
def test_who_hands_a_request_in_says_by_which_way_it_came(
    scopes: set[str], named: str | None, expected: str | Refused
) -> None:
    assert channel(scopes, named) == expected


def test_a_request_is_bound_once() -> None:
    bound = bind(RECEIVED.request, "a1")
    assert bind(bound, "a2").account == "a1"


def test_the_word_of_the_person_verifies() -> None:
    request, events = accepted(verify(given("received"), LATER))
    assert request.status == "verified"
    assert request.verified_at == LATER
    assert events == (RequestVerified(request=ID, account="a1", verified_at=LATER),)


@pytest.mark.promise(68)
def test_that_the_account_goes_too_needs_a_second_word() -> None:
    request, events = accepted(confirm(given("verified"), DAYS3, LATER))
    assert request.status == "confirmed"
    assert request.irrevocable_at == LATER + DAYS3
    assert events == (DeletionConfirmed(request=ID, account="a1", confirmed_at=LATER, irrevocable_at=LATER + DAYS3),)
    assert confirm(given("received"), DAYS3, LATER) == Refused("wrong_state")


@pytest.mark.parametrize("status", ["received", "verified", "confirmed"])
def test_there_is_a_way_back_until_the_point_of_no_return(status: str) -> None:
    request, events = accepted(withdraw(given(status), LATER))
    assert request.status == "withdrawn"
    assert events == (RequestWithdrawn(request=ID, account="a1", withdrawn_at=LATER),)


def test_the_way_back_stays_open_while_a_late_timer_has_not_committed() -> None:
    overtime = given("confirmed", irrevocable_at=NOW)
    assert isinstance(withdraw(overtime, NOW + timedelta(days=1)), Decided)


@pytest.mark.parametrize("status", ["deleting", "closed"])
def test_after_the_point_of_no_return_there_is_none(status: str) -> None:
    assert withdraw(given(status), LATER) == Refused("too_late")


@pytest.mark.parametrize(("status", "outcome"), [("received", "not_verified"), ("verified", "not_confirmed")])
def test_silence_ends_a_request(status: str, outcome: str) -> None:
    request, events = accepted(expire(given(status), LATER))
    assert (request.status, request.outcome, request.closed_at) == ("closed", outcome, LATER)
    assert events == (RequestClosed(request=ID, account="a1", outcome=outcome, closed_at=LATER),)


def test_an_unknown_address_ends_without_an_account() -> None:
    _, events = accepted(expire(RECEIVED.request, LATER))
    assert events == (RequestClosed(request=ID, account=None, outcome="not_verified", closed_at=LATER),)


@pytest.mark.parametrize("status", ["confirmed", "deleting", "closed", "withdrawn"])
def test_what_is_confirmed_or_ended_does_not_expire(status: str) -> None:
    assert expire(given(status), LATER) == Refused("wrong_state")


def test_waiting_ends_on_the_day_an_answer_is_due_at_the_latest() -> None:
    assert expires_at(RECEIVED.request, timedelta(days=30)) == NOW + timedelta(days=30)
    assert expires_at(RECEIVED.request, timedelta(days=90)) == RECEIVED.request.due_at


@pytest.mark.parametrize("status", ["received", "verified", "deleting", "closed", "withdrawn"])
def test_deleting_starts_from_a_confirmed_request_only(status: str) -> None:
    assert start(given(status), LATER) == Refused("wrong_state")
    assert accepted(start(given("confirmed"), LATER))[0].started_at == LATER


def test_a_request_is_completed_when_every_system_has_answered() -> None:
    request, events = accepted(complete(given("deleting"), LATER))
    assert (request.status, request.outcome, request.closed_at) == ("closed", "completed", LATER)
    assert events == (RequestClosed(request=ID, account="a1", outcome="completed", closed_at=LATER),)


@pytest.mark.parametrize("status", ["received", "verified", "confirmed", "closed", "withdrawn"])
def test_only_what_is_being_deleted_is_completed(status: str) -> None:
    with pytest.raises(ValueError, match=f"a request that is {status} cannot be completed"):
        complete(given(status), LATER)


@pytest.mark.parametrize("status", ["verified", "confirmed", "deleting", "closed", "withdrawn"])
def test_a_button_pressed_twice_does_nothing_the_second_time(status: str) -> None:
    assert verify(given(status), LATER) == Refused("wrong_state")
    if status != "verified":
        assert confirm(given(status), DAYS3, LATER) == Refused("wrong_state")


def test_nobody_acts_on_a_request_that_is_nobodys() -> None:
    for decided in (
        verify(RECEIVED.request, LATER),
        confirm(RECEIVED.request, DAYS3, LATER),
        withdraw(RECEIVED.request, LATER),
        start(RECEIVED.request, LATER),
    ):
        assert decided == Refused("not_bound")


def test_a_mail_with_a_link_has_a_reader_until_deleting_starts() -> None:
    statuses = ("received", "verified", "confirmed", "deleting", "closed", "withdrawn")
    assert [has_reader(given(status)) for status in statuses] == [True, True, True, False, False, False]


def test_the_last_mail_is_about_what_was_deleted() -> None:
    assert has_ending(given("closed", outcome="completed"))
    assert not has_ending(given("closed", outcome="not_verified"))
    assert not any(has_ending(given(status)) for status in ("received", "verified", "confirmed", "deleting"))


@pytest.mark.parametrize(
    ("template", "address"),
    [("verification", "typed"), ("unknown_address", "typed"), ("completion", "final"), ("escalation", None)],
)
def test_an_address_has_no_use_after_the_mail_that_it_was_held_for(template: str, address: str | None) -> None:
    assert spent(template) == address


def test_nothing_is_revealed_before_verification() -> None:
    assert not is_revealed(given("received"))
    assert not is_revealed(given("closed"))
    assert is_revealed(given("closed", verified_at=NOW))
