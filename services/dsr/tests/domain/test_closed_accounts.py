"""Given an account that was closed in its own system, then the other systems are asked at once."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from dsr.domain.deletion import Step, begin_without_account, leave_outstanding
from dsr.domain.requests import Request, Status, is_revealed, overtaken, receive
from privacy_contracts.requests import DeletionRequested, RequestClosed, RequestReceived

from .test_deletion import LOS_ANGELES, NOW, answered, asked, changed, confirmed, status

CLOSED = NOW - timedelta(minutes=3)


def standing(status: Status, days: int = 0) -> Request:
    received = NOW - timedelta(days=days)
    return replace(confirmed(status).request, id=uuid4(), received_at=received)


def test_it_is_a_request_of_its_own_whose_account_is_known_and_whose_clock_began_with_it() -> None:
    decided = receive(uuid4(), "delete", "profile", LOS_ANGELES, CLOSED, "a1")
    (event,) = decided.events
    assert isinstance(event, RequestReceived)
    assert (event.channel, event.account, event.received_at) == ("profile", "a1", CLOSED)
    assert decided.request.account == "a1"


@pytest.mark.parametrize("status", ["received", "verified", "confirmed"])
def test_every_other_system_is_asked_stage_by_stage_and_nothing_is_claimed(status: Status) -> None:
    step = begin_without_account(confirmed(status), CLOSED, NOW)
    (event,) = step.events
    assert isinstance(event, DeletionRequested)
    assert (event.systems, event.account_closed_at) == (["orders", "marketing"], CLOSED)
    begun = changed(step)
    assert (begun.request.status, begun.request.started_at, begun.request.verified_at) == ("deleting", NOW, None)
    assert is_revealed(begun.request)
    assert "accounts" not in [task.system for task in begun.tasks]
    own = answered(changed(answered(begun, "orders")), "marketing")
    assert asked(own) == ["dsr"]
    (end,) = answered(own.deletion, "dsr").events
    assert isinstance(end, RequestClosed)
    assert (end.outcome, end.outstanding) == ("completed", None)


@pytest.mark.parametrize("status", ["deleting", "closed", "withdrawn"])
def test_what_runs_or_has_ended_is_not_begun_again(status: Status) -> None:
    assert begin_without_account(confirmed(status), CLOSED, NOW) == Step()


def test_the_furthest_request_of_the_account_is_the_one_that_starts_then_the_oldest() -> None:
    young, old, first = standing("verified", 1), standing("verified", 2), standing("received", 9)
    assert overtaken([young, first, old]) == old
    assert overtaken([first]) == first
    assert overtaken([]) is None


def test_where_one_is_deleting_already_none_starts() -> None:
    assert overtaken([standing("confirmed"), standing("deleting")]) is None


def test_an_officer_may_close_over_its_systems_as_over_any() -> None:
    begun = changed(begin_without_account(confirmed("received"), CLOSED, NOW))
    due = begun.request.due_at
    step = leave_outstanding(begun, ["orders", "marketing"], "staff/o", "technical_fault", LOS_ANGELES, due)
    assert isinstance(step, Step)
    assert asked(step) == ["dsr"]
    assert status(changed(step), "orders") == "asked"
