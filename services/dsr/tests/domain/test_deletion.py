"""Given a deletion on its way, when a reply or a time comes, then these events and alarms."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsr.domain.deletion import (
    Alarm,
    Deletion,
    Step,
    answer,
    ask_again,
    asks,
    begin,
    escalate,
    freeze,
    frozen,
    own_answer,
    remind,
    thawed,
)
from privacy_contracts.replies import Reply, ReplyDone, ReplyFailed, ReplyNotFound, ReplyRetained, RetainedItem
from privacy_contracts.requests import DeletionRequested, RequestClosed, SystemEscalated
from privacy_contracts.topology import System, Systems

REQUEST = UUID("01930000-0000-7000-8000-000000000001")
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SYSTEMS = Systems(
    stages=("company", "own", "accounts"),
    by_name={
        name: System(name, "kafka", stage, days, ("contact",), principal=name)
        for name, stage, days in (
            ("orders", "company", 10),
            ("marketing", "company", 10),
            ("dsr", "own", 5),
            ("accounts", "accounts", 5),
        )
    },
)
ITEM = RetainedItem(category="invoices", legal_basis="us.irc.6001", until=date(2034, 4, 15))


def waiting() -> Deletion:
    return Deletion(REQUEST, "a1", SYSTEMS.stages, freeze(SYSTEMS))


def reply(system: str, kind: str = "done", account: str = "a1") -> Reply:
    common = {
        "request": REQUEST, "account": account, "system": system, "answered_by": f"system/{system}", "answered_at": NOW
    }  # fmt: skip
    match kind:
        case "retained":
            return ReplyRetained.model_validate(common | {"items": [ITEM]})
        case "not_found":
            return ReplyNotFound.model_validate(common)
        case "failed":
            return ReplyFailed.model_validate(common | {"reason": "unavailable"})
    return ReplyDone.model_validate(common)


def after(*replies: tuple[str, str]) -> Deletion:
    deletion = begin(waiting(), NOW).deletion
    for system, kind in replies:
        deletion = answer(deletion, reply(system, kind), HOUR, NOW).deletion
    return deletion


def status(deletion: Deletion, system: str) -> str:
    return next(task.status for task in deletion.tasks if task.system == system)


def unchanged(step: Step, deletion: Deletion) -> bool:
    return step == Step(deletion)


def test_the_point_of_no_return_asks_the_first_stage_and_sets_two_alarms_for_each_system() -> None:
    step = begin(waiting(), NOW)
    assert step.events == (
        DeletionRequested(
            request=REQUEST,
            account="a1",
            stage="company",
            systems=["orders", "marketing"],
            attempt=1,
            requested_at=NOW,
            due_at=NOW + timedelta(days=10),
        ),
    )
    assert step.alarms == (
        Alarm("reminder", NOW + timedelta(days=5), "orders"),
        Alarm("escalation", NOW + timedelta(days=10), "orders"),
        Alarm("reminder", NOW + timedelta(days=5), "marketing"),
        Alarm("escalation", NOW + timedelta(days=10), "marketing"),
    )


def test_the_frozen_list_survives_storing() -> None:
    assert tuple(thawed(frozen(task)) for task in freeze(SYSTEMS)) == freeze(SYSTEMS)


@pytest.mark.promise(67)
@pytest.mark.parametrize("kind", ["done", "retained", "not_found"])
def test_a_stage_is_left_when_its_last_system_has_finally_answered(kind: str) -> None:
    first = answer(after(), reply("orders", kind), HOUR, NOW)
    assert (first.effect, first.events, status(first.deletion, "orders")) == ("final", (), kind)
    second = answer(first.deletion, reply("marketing"), HOUR, NOW)
    (event,) = second.events
    assert isinstance(event, DeletionRequested)
    assert (event.stage, event.systems, event.attempt) == ("own", ["dsr"], 1)


def test_accounts_comes_last_and_closes_the_request() -> None:
    before = after(("orders", "retained"), ("marketing", "done"), ("dsr", "retained"))
    assert status(before, "accounts") == "asked"
    step = answer(before, reply("accounts"), HOUR, NOW)
    assert step.deletion.closed
    assert step.events == (RequestClosed(request=REQUEST, account="a1", outcome="completed", closed_at=NOW),)
    assert step.alarms == (Alarm("destroy_address", NOW + timedelta(days=7)),)


def test_what_is_kept_stays_with_the_task() -> None:
    task = next(task for task in after(("orders", "retained")).tasks if task.system == "orders")
    assert (task.items, task.answered_at) == ((ITEM,), NOW)


def test_a_stage_without_systems_is_passed_over() -> None:
    only_accounts = Systems(SYSTEMS.stages, {"accounts": SYSTEMS.by_name["accounts"]})
    step = begin(Deletion(REQUEST, "a1", SYSTEMS.stages, freeze(only_accounts)), NOW)
    assert asks(step.events, "accounts")


def test_failed_is_asked_again_after_a_while_with_the_deadline_unmoved() -> None:
    failed = answer(after(), reply("orders", "failed"), HOUR, NOW)
    assert (failed.effect, failed.events) == ("again", ())
    assert failed.alarms == (Alarm("retry", NOW + HOUR, "orders"),)
    again = ask_again(failed.deletion, "orders", NOW + HOUR)
    (event,) = again.events
    assert isinstance(event, DeletionRequested)
    assert (event.systems, event.attempt, event.reminder) == (["orders"], 2, False)
    assert event.due_at == NOW + timedelta(days=10)
    assert status(again.deletion, "orders") == "asked"


def test_a_second_failure_before_the_next_asking_changes_nothing() -> None:
    failed = after(("orders", "failed"))
    assert unchanged(answer(failed, reply("orders", "failed"), HOUR, NOW), failed)


def test_a_system_that_failed_may_still_answer_finally_on_its_own() -> None:
    step = answer(after(("orders", "failed")), reply("orders", "done"), HOUR, NOW)
    assert step.effect == "final"
    assert unchanged(ask_again(step.deletion, "orders", NOW), step.deletion)


def test_half_the_deadline_in_silence_is_reminded_of() -> None:
    (event,) = remind(after(), "marketing", NOW + timedelta(days=5)).events
    assert isinstance(event, DeletionRequested)
    assert (event.systems, event.attempt, event.reminder) == (["marketing"], 2, True)


def test_all_of_the_deadline_in_silence_is_escalated_once() -> None:
    due, late = NOW + timedelta(days=10), NOW + timedelta(days=11)
    step = escalate(after(), "orders", late)
    assert step.events == (
        SystemEscalated(request=REQUEST, account="a1", system="orders", stage="company", due_at=due, escalated_at=late),
    )
    assert unchanged(escalate(step.deletion, "orders", late), step.deletion)


def test_a_system_that_keeps_failing_is_escalated_but_not_reminded() -> None:
    failed = after(("orders", "failed"))
    assert unchanged(remind(failed, "orders", NOW), failed)
    assert escalate(failed, "orders", NOW).events


def test_who_has_answered_is_left_in_peace() -> None:
    answered = after(("orders", "done"))
    for look in (remind, escalate, ask_again):
        assert unchanged(look(answered, "orders", NOW), answered)
        assert unchanged(look(answered, "nobody", NOW), answered)


@pytest.mark.parametrize(
    "stray",
    [reply("accounts"), reply("warehouse"), reply("orders", account="a2")],
    ids=["not yet", "never", "of another"],
)
def test_a_reply_that_was_not_asked_for_changes_nothing(stray: Reply) -> None:
    deletion = after()
    assert unchanged(answer(deletion, stray, HOUR, NOW), deletion)


def test_the_first_final_answer_stands() -> None:
    deletion = after(("orders", "retained"))
    assert unchanged(answer(deletion, reply("orders", "done"), HOUR, NOW), deletion)
    assert unchanged(answer(deletion, reply("orders", "failed"), HOUR, NOW), deletion)


@pytest.mark.parametrize("kind", ["done", "failed", "retained", "not_found"])
def test_after_the_closing_nothing_changes_any_more(kind: str) -> None:
    closed = after(("orders", "done"), ("marketing", "done"), ("dsr", "done"), ("accounts", "done"))
    assert closed.closed
    for system in ("orders", "accounts"):
        assert unchanged(answer(closed, reply(system, kind), HOUR, NOW), closed)
        assert unchanged(remind(closed, system, NOW), closed)


def test_this_services_own_answer_is_a_reply_like_any_other() -> None:
    asked = after(("orders", "done"), ("marketing", "done"))
    own = own_answer(asked, "dsr", date(2029, 1, 3), NOW)
    assert own.items == [RetainedItem(category="requests", legal_basis="us.ca.11ccr7101", until=date(2029, 1, 3))]
    assert answer(asked, own, HOUR, NOW).effect == "final"


REPLIES = st.tuples(
    st.sampled_from(["orders", "marketing", "dsr", "accounts", "warehouse"]),
    st.sampled_from(["done", "retained", "not_found", "failed"]),
)


@given(st.lists(REPLIES, max_size=40))
def test_whatever_comes_in_whatever_order_each_is_asked_in_its_stage_and_the_end_comes_once(
    replies: list[tuple[str, str]],
) -> None:
    steps = [begin(waiting(), NOW)]
    for system, kind in replies:
        steps.append(answer(steps[-1].deletion, reply(system, kind), HOUR, NOW))
    events = [event for step in steps for event in step.events]
    stages = [event.stage for event in events if isinstance(event, DeletionRequested)]
    assert stages == list(SYSTEMS.stages[: len(stages)])
    closings = [event for event in events if isinstance(event, RequestClosed)]
    last = steps[-1].deletion
    final = all(task.status in ("done", "retained", "not_found") for task in last.tasks)
    assert len(closings) == int(last.closed) == int(final)
