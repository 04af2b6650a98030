"""Whether a trail is whole: given what is recorded, when it is checked against the systems, then what is missing."""

from datetime import date
from uuid import uuid4

import pytest

from audit.domain.completeness import accounts, trail
from privacy_contracts import Event
from privacy_contracts.notices import NoticeSent
from privacy_contracts.replies import ReplyDone, ReplyFailed, ReplyNotFound, ReplyRetained, RetainedItem
from privacy_contracts.requests import (
    DeletionConfirmed,
    DeletionRequested,
    RequestClosed,
    RequestMatched,
    RequestReceived,
    RequestVerified,
    RequestWithdrawn,
    SystemLeftOutstanding,
)
from privacy_contracts.topology import systems

from .records import AT, REQUEST, deletion

SYSTEMS = systems()
BY_STAGE = {
    stage: [name for name, system in SYSTEMS.by_name.items() if system.stage == stage] for stage in SYSTEMS.stages
}


def answer(kind: type[ReplyDone | ReplyNotFound], system: str) -> Event:
    return kind(request=REQUEST, account="a1", system=system, answered_by=f"system/{system}", answered_at=AT)


def failed(system: str) -> ReplyFailed:
    return ReplyFailed(
        request=REQUEST, account="a1", system=system, answered_by="system/x", answered_at=AT, reason="unavailable"
    )


def retained(system: str) -> ReplyRetained:
    return ReplyRetained(
        request=REQUEST,
        account="a1",
        system=system,
        answered_by="system/x",
        answered_at=AT,
        items=[RetainedItem(category="invoices", legal_basis="us.irc.6001", until=date(2033, 1, 1))],
    )


def without_account(events: list[Event]) -> list[Event]:
    """The same, of a person who has no account."""
    return [event.model_copy(update={"account": None}) for event in events]


def whole() -> list[Event]:
    events: list[Event] = [
        RequestReceived(request=REQUEST, request_type="delete", channel="website", received_at=AT, due_at=AT),
        RequestVerified(request=REQUEST, account="a1", verified_at=AT),
        DeletionConfirmed(request=REQUEST, account="a1", confirmed_at=AT, irrevocable_at=AT),
    ]
    for stage, names in BY_STAGE.items():
        events.append(deletion(names, stage=stage))
        events += [retained(name) if name == "orders" else answer(ReplyDone, name) for name in names]
    closed = RequestClosed(request=REQUEST, account="a1", outcome="completed", closed_at=AT)
    notice = NoticeSent(notice=uuid4(), template="completion", request=REQUEST, account="a1", sent_at=AT)
    return [*events, closed, notice]


@pytest.mark.promise(88)
def test_a_whole_trail_is_complete() -> None:
    found = trail(whole(), True, SYSTEMS)
    assert (found.complete, found.missing, found.unexpected) == (True, [], [])
    assert [each.system for each in found.answers] == [name for names in BY_STAGE.values() for name in names]
    assert {each.system: each.answer for each in found.answers}["orders"] == "reply.retained"


def test_nothing_recorded_misses_everything() -> None:
    found = trail([], False, SYSTEMS)
    assert not found.complete
    assert found.missing[:3] == ["request.received", "request.verified", "deletion.confirmed"]
    assert "deletion.requested company orders" in found.missing
    assert found.missing[-3:] == ["account.deleted", "request.closed", "notice completion"]


@pytest.mark.parametrize("index", range(len(whole())))
def test_every_part_is_missed_by_name(index: int) -> None:
    """Given a whole trail without one entry, then it is incomplete and something is named."""
    events = whole()
    gone = events.pop(index)
    found = trail(events, True, SYSTEMS)
    assert not found.complete
    name = getattr(gone, "system", None)
    assert any((name or gone.type.split(".")[0]) in each for each in found.missing)


def test_the_account_itself_must_be_gone() -> None:
    assert trail(whole(), False, SYSTEMS).missing == ["account.deleted"]


@pytest.mark.promise(88)
def test_somebody_without_an_account_needs_all_but_its_deletion() -> None:
    guest = without_account(whole())
    found = trail(guest, False, SYSTEMS)
    assert (found.complete, found.missing, accounts(guest)) == (True, [], [])
    for index, gone in enumerate(guest):
        assert not trail([*guest[:index], *guest[index + 1 :]], False, SYSTEMS).complete, gone


def test_a_request_that_became_an_accounts_needs_its_deletion() -> None:
    """Given a person without an account up to the match, then what follows is about the account."""
    received, verified, *later = whole()
    matched = RequestMatched(request=REQUEST, account="a1", matched_at=AT)
    events = [*without_account([received, verified]), matched, *later]
    assert accounts(events) == ["account/a1"]
    assert trail(events, False, SYSTEMS).missing == ["account.deleted"]
    assert trail(events, True, SYSTEMS).complete


def test_a_failure_is_no_answer_and_a_later_one_undoes_none() -> None:
    without = [event for event in whole() if getattr(event, "system", None) != "marketing"]
    found = trail([*without, failed("marketing")], True, SYSTEMS)
    assert found.missing == ["reply marketing"]
    assert {each.system: each.answer for each in found.answers}["marketing"] == "reply.failed"
    assert trail([*without, failed("marketing"), answer(ReplyNotFound, "marketing")], True, SYSTEMS).complete
    assert trail([*whole(), failed("marketing")], True, SYSTEMS).complete


def test_a_repeated_question_counts_and_changes_nothing() -> None:
    found = trail([*whole(), deletion(["orders"])], True, SYSTEMS)
    assert found.complete
    assert {each.system: each.asked for each in found.answers}["orders"] == 2


def test_who_was_not_asked_is_unexpected_and_missing_from_the_list() -> None:
    events = [event for event in whole() if getattr(event, "stage", None) != "accounts"]
    found = trail(events, True, SYSTEMS)
    assert found.unexpected == ["accounts"]
    assert found.missing == ["deletion.requested accounts accounts"]


def test_a_request_that_ended_early_needs_no_answers() -> None:
    """Given a request that was withdrawn, or never verified, then only what led there must be recorded."""
    received, verified, confirmed, *_ = whole()
    withdrawn = RequestWithdrawn(request=REQUEST, account="a1", withdrawn_at=AT)
    expired = RequestClosed(request=REQUEST, outcome="not_verified", closed_at=AT)
    assert trail([received, verified, withdrawn], False, SYSTEMS).complete
    assert trail([received, verified, confirmed, withdrawn], False, SYSTEMS).complete
    assert trail([received, expired], False, SYSTEMS).complete
    assert trail([verified, withdrawn], False, SYSTEMS).missing == ["request.received"]
    assert trail([received, withdrawn], False, SYSTEMS).complete  # "it was not me, stop it"
    assert trail([received, confirmed, withdrawn], False, SYSTEMS).missing == ["request.verified"]
    assert not trail([received], False, SYSTEMS).complete


def closed_account() -> list[Event]:
    """The trail of an account that was closed in its own system."""
    kept = [event for event in whole() if event.type not in ("request.verified", "deletion.confirmed")]
    return [
        event.model_copy(update={"account_closed_at": AT}) if isinstance(event, DeletionRequested) else event
        for event in kept
        if "accounts" not in (getattr(event, "stage", None), getattr(event, "system", None))
    ]


def test_a_closed_account_needs_no_word_of_the_person_and_no_answer_of_its_own_system() -> None:
    found = trail(closed_account(), True, SYSTEMS)
    assert (found.complete, found.missing) == (True, [])
    assert "accounts" not in [each.system for each in found.answers]
    assert trail(closed_account(), False, SYSTEMS).missing == ["account.deleted"]


@pytest.mark.parametrize("index", range(len(closed_account())))
def test_every_part_of_the_trail_of_a_closed_account_is_missed(index: int) -> None:
    events = closed_account()
    del events[index]
    assert not trail(events, True, SYSTEMS).complete


def without(system: str, *more: Event) -> list[Event]:
    """A whole trail but for what a system answered."""
    return [event for event in whole() if getattr(event, "system", None) != system] + list(more)


def left(system: str, reason: str = "no_answer") -> SystemLeftOutstanding:
    return SystemLeftOutstanding(
        request=REQUEST, account="a1", system=system, stage="company", officer="staff/o", reason=reason, left_at=AT
    )


def test_a_system_that_an_officer_went_on_without_is_neither_missing_nor_answered() -> None:
    found = trail(without("marketing", failed("marketing"), left("marketing")), True, SYSTEMS)
    assert (found.complete, found.missing, found.outstanding) == (True, [], ["marketing"])
    (answer,) = [each for each in found.answers if each.system == "marketing"]
    assert (answer.answer, answer.final, answer.outstanding) == ("reply.failed", False, "no_answer")
    assert trail(without("orders", left("marketing")), True, SYSTEMS).missing == ["reply orders"]


def test_its_real_answer_takes_the_officers_place() -> None:
    found = trail([*whole(), left("marketing")], True, SYSTEMS)
    assert (found.complete, found.outstanding) == (True, [])


def test_while_accounts_is_outstanding_no_end_of_the_account_is_missed() -> None:
    assert trail(without("accounts", left("accounts")), False, SYSTEMS).complete
    assert trail(without("orders", left("orders")), False, SYSTEMS).missing == ["account.deleted"]


def test_closing_does_not_excuse_what_was_asked() -> None:
    received, verified, confirmed, asked, *_ = whole()
    closed = RequestClosed(request=REQUEST, account="a1", outcome="completed", closed_at=AT)
    found = trail([received, verified, confirmed, asked, closed], False, SYSTEMS)
    assert "reply orders" in found.missing


def test_to_be_called_completed_something_must_have_been_asked() -> None:
    received, verified, confirmed, *_ = whole()
    closed = RequestClosed(request=REQUEST, account="a1", outcome="completed", closed_at=AT)
    assert "deletion.requested company orders" in trail([received, verified, confirmed, closed], True, SYSTEMS).missing


def test_a_trail_names_the_accounts_that_it_is_about() -> None:
    received, *_ = events = whole()
    assert accounts(events) == ["account/a1"]
    assert accounts([received]) == []
