"""Given a deletion that waits, when an officer goes on without a system from the due date on, then these events."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dsr.domain.deadlines import KEEP_FINAL_ADDRESS, KEEP_FOR_OUTSTANDING
from dsr.domain.deletion import Deletion, Step, ask_again, escalate, leave_outstanding, remind
from dsr.domain.requests import Refused
from privacy_contracts.requests import DeletionRequested, RequestClosed, SystemLeftOutstanding

from .test_deletion import LOS_ANGELES, NOW, REQUEST, after, answered, asked, changed, confirmed, status

DUE_DAY = datetime(2027, 1, 3, 8, tzinfo=UTC)
"""Midnight in Los Angeles at the beginning of the due date."""


def left(deletion: Deletion, *names: str, reason: str = "no_answer", now: datetime = DUE_DAY) -> Step | Refused:
    return leave_outstanding(deletion, names, "staff/officer-01", reason, LOS_ANGELES, now)


def went_on(deletion: Deletion, *names: str) -> Step:
    step = left(deletion, *names)
    assert isinstance(step, Step)
    return step


def test_the_next_stage_starts_as_if_the_system_had_answered() -> None:
    step = went_on(after(("orders", "done")), "marketing")
    (event, next_stage) = step.events
    assert event == SystemLeftOutstanding(
        request=REQUEST,
        account="a1",
        system="marketing",
        stage="company",
        officer="staff/officer-01",
        reason="no_answer",
        left_at=DUE_DAY,
    )
    assert isinstance(next_stage, DeletionRequested)
    assert (next_stage.stage, next_stage.systems) == ("own", ["dsr"])
    task = next(task for task in changed(step).tasks if task.system == "marketing")
    assert (task.outstanding, task.status, task.left_by) == (True, "asked", "staff/officer-01")


def test_the_stage_waits_for_those_that_were_not_named() -> None:
    assert asked(went_on(after(), "marketing")) == []
    assert asked(went_on(after(), "marketing", "orders")) == ["dsr"]


def test_a_system_that_failed_may_be_left_too() -> None:
    assert asked(went_on(after(("orders", "done"), ("marketing", "failed")), "marketing")) == ["dsr"]


@pytest.mark.parametrize("second", [timedelta(seconds=1), timedelta(days=30)])
def test_before_the_day_on_which_the_answer_is_due_nobody_is_left(second: timedelta) -> None:
    assert left(after(), "orders", now=DUE_DAY - second) == Refused("too_early")


@pytest.mark.parametrize("later", [timedelta(0), timedelta(hours=30), timedelta(days=90)])
def test_from_the_first_moment_of_that_day_on_it_is_allowed(later: timedelta) -> None:
    assert isinstance(left(after(), "orders", now=DUE_DAY + later), Step)


@pytest.mark.parametrize("name", ["accounts", "dsr", "warehouse", "marketing"])
def test_who_was_not_asked_yet_is_unknown_or_has_answered_cannot_be_left_and_nobody_is(name: str) -> None:
    """`accounts` and `dsr` stand in stages that have not begun, and `marketing` has answered."""
    assert left(after(("marketing", "retained")), "orders", name) == Refused("not_waiting", (name,))


@pytest.mark.parametrize("state", ["received", "verified", "confirmed", "closed", "withdrawn"])
def test_only_a_running_deletion_goes_on_without_somebody(state: str) -> None:
    deletion = replace(after(), request=replace(confirmed().request, status=state))  # type: ignore[arg-type]  # one each
    assert left(deletion, "orders") == Refused("wrong_state")


def test_to_leave_a_system_again_says_it_again_and_goes_on() -> None:
    again = went_on(changed(went_on(after(), "marketing")), "marketing")
    assert [event.type for event in again.events] == ["system.left_outstanding"]


@pytest.mark.parametrize("kind", ["done", "retained", "not_found"])
def test_a_real_answer_before_the_closing_takes_its_place(kind: str) -> None:
    before = changed(went_on(after(("orders", "done")), "marketing"))
    step = answered(before, "marketing", kind)
    assert (step.effect, status(changed(step), "marketing"), step.events) == ("final", kind, ())
    assert not any(task.outstanding for task in changed(step).tasks)
    end = answered(changed(answered(step.deletion, "dsr")), "accounts")
    assert end.events == (RequestClosed(request=REQUEST, account="a1", outcome="completed", closed_at=NOW),)


def test_the_closing_names_who_is_outstanding() -> None:
    before = changed(went_on(after(("orders", "done")), "marketing"))
    end = answered(changed(answered(before, "dsr")), "accounts")
    (closed,) = end.events
    assert isinstance(closed, RequestClosed)
    assert (closed.outcome, closed.outstanding) == ("completed", ["marketing"])


def test_the_last_system_may_be_left_which_closes() -> None:
    waiting = after(("orders", "done"), ("marketing", "done"), ("dsr", "retained"))
    *_, closed = went_on(waiting, "accounts").events
    assert isinstance(closed, RequestClosed)
    assert closed.outstanding == ["accounts"]


@pytest.mark.parametrize("kind", ["done", "retained", "not_found"])
def test_an_answer_after_the_closing_still_counts_and_ends_the_need_for_the_address(kind: str) -> None:
    waiting = after(("orders", "done"), ("marketing", "done"), ("dsr", "retained"))
    closed = changed(went_on(waiting, "accounts"))
    step = answered(closed, "accounts", kind)
    assert changed(step).tasks[-1].status == kind
    assert (changed(step).request, step.events, step.effect) == (closed.request, (), "final")
    [alarm] = step.alarms
    assert (alarm.kind, alarm.due_at) == ("destroy_address", DUE_DAY + KEEP_FINAL_ADDRESS)
    assert answered(changed(step), "accounts") == Step()


def test_the_address_stays_until_the_last_that_is_outstanding_has_answered() -> None:
    waiting = after(("orders", "done"), ("marketing", "done"), ("dsr", "retained"))
    proven = replace(waiting, request=replace(waiting.request, address_proven=True))
    [alarm] = went_on(proven, "accounts").alarms
    assert alarm.due_at == DUE_DAY + KEEP_FOR_OUTSTANDING
    [alarm] = went_on(waiting, "accounts").alarms
    assert alarm.due_at == DUE_DAY + KEEP_FINAL_ADDRESS, "nobody may learn one that nobody proved"


def test_once_the_last_mail_has_had_its_end_the_last_answer_ends_the_need_for_the_address() -> None:
    waiting = after(("orders", "done"), ("marketing", "done"), ("dsr", "retained"))
    closed = changed(went_on(waiting, "accounts"))
    told = replace(closed, request=replace(closed.request, told_at=DUE_DAY))
    [alarm] = answered(told, "accounts").alarms
    assert alarm.due_at == DUE_DAY


@pytest.mark.parametrize("closed", [False, True])
def test_one_that_is_back_and_fails_is_asked_again_be_it_after_the_closing(closed: bool) -> None:
    deletion = changed(went_on(after(("orders", "done")), "marketing"))
    if closed:
        deletion = changed(answered(changed(answered(deletion, "dsr")), "accounts"))
    failed = answered(deletion, "marketing", "failed")
    assert (failed.effect, [alarm.kind for alarm in failed.alarms]) == ("again", ["retry"])
    assert answered(changed(failed), "marketing", "failed") == Step()
    again = ask_again(changed(failed), "marketing", DUE_DAY)
    [event] = again.events
    assert isinstance(event, DeletionRequested)
    assert (event.systems, event.attempt, event.reminder) == (["marketing"], 2, False)
    assert changed(again).request == deletion.request


def test_one_that_had_failed_when_it_was_left_is_asked_again() -> None:
    deletion = changed(went_on(after(("orders", "failed")), "orders"))
    assert [event.type for event in ask_again(deletion, "orders", DUE_DAY).events] == ["deletion.requested"]


def test_nobody_looks_after_the_silence_of_a_system_that_was_left() -> None:
    deletion = changed(went_on(after(("orders", "failed")), "marketing", "orders"))
    for look in (remind, escalate):
        assert look(deletion, "marketing", DUE_DAY) == look(deletion, "orders", DUE_DAY) == Step()
    assert ask_again(deletion, "marketing", DUE_DAY) == Step()
