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
    give_up,
    has_ending,
    has_reader,
    is_revealed,
    match,
    proves,
    receive,
    spent,
    start,
    verify,
    withdraw,
)
from privacy_contracts.envelope import Event
from privacy_contracts.notices import NoticeFailed, NoticeSent
from privacy_contracts.requests import (
    DeletionConfirmed,
    RequestClosed,
    RequestMatched,
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
    request, events = accepted(complete(given("deleting"), (), LATER))
    assert (request.status, request.outcome, request.closed_at) == ("closed", "completed", LATER)
    assert events == (RequestClosed(request=ID, account="a1", outcome="completed", closed_at=LATER),)


@pytest.mark.parametrize("status", ["received", "verified", "confirmed", "closed", "withdrawn"])
def test_only_what_is_being_deleted_is_completed(status: str) -> None:
    with pytest.raises(ValueError, match=f"a request that is {status} cannot be completed"):
        complete(given(status), (), LATER)


@pytest.mark.parametrize("status", ["verified", "confirmed", "deleting", "closed", "withdrawn"])
def test_a_button_pressed_twice_does_nothing_the_second_time(status: str) -> None:
    assert verify(given(status), LATER) == Refused("wrong_state")
    if status != "verified":
        assert confirm(given(status), DAYS3, LATER) == Refused("wrong_state")


def test_somebody_without_an_account_goes_the_same_way_as_the_request_itself() -> None:
    request, said = RECEIVED.request, list(RECEIVED.events)
    for step in (verify, lambda r, now: confirm(r, DAYS3, now), start, lambda r, now: complete(r, (), now)):
        request, events = accepted(step(request, LATER))
        said += events
    assert (request.status, request.account, request.subject) == ("closed", None, f"request/{ID}")
    assert [event.type for event in said] == [
        "request.received",
        "request.verified",
        "deletion.confirmed",
        "request.closed",
    ]
    assert {event.subject for event in said} == {f"request/{ID}"}


def test_somebody_without_an_account_can_take_it_back() -> None:
    _, events = accepted(withdraw(RECEIVED.request, LATER))
    assert events == (RequestWithdrawn(request=ID, account=None, withdrawn_at=LATER),)


@pytest.mark.parametrize("status", ["received", "verified", "confirmed"])
def test_a_request_becomes_the_accounts_that_the_address_turns_out_to_be_of(status: str) -> None:
    before = replace(RECEIVED.request, status=status, verified_at=NOW)  # type: ignore[arg-type]  # as above
    request, events = accepted(match(before, "a1", LATER))
    assert request == replace(before, account="a1")
    assert events == (RequestMatched(request=ID, account="a1", matched_at=LATER),)


@pytest.mark.parametrize("status", ["deleting", "closed", "withdrawn"])
def test_after_the_point_of_no_return_it_is_nobodys_for_ever(status: str) -> None:
    assert match(replace(RECEIVED.request, status=status), "a1", LATER) == Refused("wrong_state")  # type: ignore[arg-type]  # as above


def test_a_deletion_of_nobody_knows_whom_does_not_start() -> None:
    _, events = accepted(give_up(replace(RECEIVED.request, status="confirmed"), LATER))
    assert events == (RequestClosed(request=ID, account=None, outcome="not_verified", closed_at=LATER),)
    assert give_up(given("deleting"), LATER) == Refused("wrong_state")


def test_what_is_an_accounts_already_is_matched_with_no_other() -> None:
    assert match(given("confirmed"), "a2", LATER) == Refused("wrong_state")


def test_a_mail_with_a_link_has_a_reader_until_deleting_starts() -> None:
    statuses = ("received", "verified", "confirmed", "deleting", "closed", "withdrawn")
    assert [has_reader(given(status)) for status in statuses] == [True, True, True, False, False, False]


def test_the_last_mail_is_about_what_was_deleted() -> None:
    assert has_ending(given("closed", outcome="completed"))
    assert not has_ending(given("closed", outcome="not_verified"))
    assert not any(has_ending(given(status)) for status in ("received", "verified", "confirmed", "deleting"))


def ended(template: str, unanswered: int | None = None) -> NoticeSent | NoticeFailed:
    """A mail that was sent; or failed for good, after so many attempts without an answer."""
    if unanswered is None:
        return NoticeSent(notice=ID, template=template, request=ID, sent_at=NOW)
    return NoticeFailed(
        notice=ID, template=template, request=ID, reason="expired", unanswered=unanswered, failed_at=NOW
    )


@pytest.mark.parametrize("notice", [ended("completion"), ended("completion", 0), ended("completion", 2)])
def test_the_last_address_has_no_use_after_the_last_mail(notice: NoticeSent | NoticeFailed) -> None:
    assert spent(given("closed", outcome="completed"), notice, looked_for=False) == "final"


def test_after_the_last_mail_systems_that_are_outstanding_may_look_for_it() -> None:
    assert spent(given("closed", outcome="completed"), ended("completion"), looked_for=True) == "final_for_mail"


@pytest.mark.parametrize("template", ["verification", "unknown_address"])
def test_the_typed_address_has_none_when_the_first_mail_cannot_have_arrived(template: str) -> None:
    assert spent(RECEIVED.request, ended(template, 0), looked_for=False) == "typed"


@pytest.mark.parametrize("template", ["verification", "unknown_address"])
@pytest.mark.parametrize("unanswered", [None, 1])
def test_the_typed_address_stays_while_somebody_may_have_the_link(template: str, unanswered: int | None) -> None:
    assert spent(RECEIVED.request, ended(template, unanswered), looked_for=False) is None


@pytest.mark.parametrize("status", ["verified", "confirmed", "deleting"])
def test_the_typed_address_stays_once_the_link_was_used(status: str) -> None:
    assert spent(replace(RECEIVED.request, status=status), ended("unknown_address", 0), looked_for=False) is None  # type: ignore[arg-type]  # as above


def test_a_mail_to_somebody_else_ends_no_address() -> None:
    assert spent(given("deleting"), ended("escalation"), looked_for=False) is None
    assert spent(given("received"), ended("escalation", 0), looked_for=False) is None


@pytest.mark.parametrize(
    ("known", "link_went_to", "proven"),
    [
        ({"verified_at": NOW}, b"one", True),
        ({"verified_at": NOW}, b"other", False),
        ({"verified_at": NOW}, None, False),
        ({}, b"one", False),
        ({"verified_at": NOW, "account": None}, b"one", True),
    ],
)
def test_an_address_is_proven_that_the_used_link_went_to(
    known: dict[str, datetime | None], link_went_to: bytes | None, *, proven: bool
) -> None:
    assert proves(given("confirmed", **known), link_went_to, b"one") is proven


def test_nothing_is_revealed_before_verification() -> None:
    assert not is_revealed(given("received"))
    assert not is_revealed(given("closed"))
    assert is_revealed(given("closed", verified_at=NOW))
