"""Given a deletion on its way, when a reply or a time comes, then these events and alarms."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsr.domain.deletion import Alarm, Deletion, Step, answer, ask_again, begin, escalate, own_answer, remind
from dsr.domain.requests import Request, Status
from dsr.domain.tasks import Task, freeze, thaw
from privacy_contracts.replies import Reply, ReplyDone, ReplyFailed, ReplyNotFound, ReplyRetained, RetainedItem
from privacy_contracts.requests import DeletionRequested, RequestClosed, SystemEscalated
from privacy_contracts.topology import System, Systems

REQUEST = UUID("01930000-0000-7000-8000-000000000001")
LOS_ANGELES = ZoneInfo("America/Los_Angeles")
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


def confirmed(status: Status = "confirmed", systems: Systems = SYSTEMS) -> Deletion:
    due = datetime(2027, 1, 4, 7, 59, 59, tzinfo=UTC)
    request = Request(REQUEST, "delete", "website", status, received_at=NOW, due_at=due, account="a1")
    return Deletion(request, *thaw(freeze(systems)))


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


def changed(step: Step) -> Deletion:
    assert step.deletion is not None
    return step.deletion


def answered(deletion: Deletion | None, system: str, kind: str = "done") -> Step:
    return answer(deletion, system, reply(system, kind), HOUR, NOW)


def after(*replies: tuple[str, str]) -> Deletion:
    deletion = changed(begin(confirmed(), NOW))
    for system, kind in replies:
        deletion = changed(answered(deletion, system, kind))
    return deletion


def status(deletion: Deletion, system: str) -> str:
    return next(task.status for task in deletion.tasks if task.system == system)


def asked(step: Step) -> list[str]:
    return [name for event in step.events if isinstance(event, DeletionRequested) for name in event.systems]


def test_the_point_of_no_return_asks_the_first_stage_and_sets_two_alarms_for_each_system() -> None:
    step = begin(confirmed(), NOW)
    assert (changed(step).request.status, changed(step).request.started_at) == ("deleting", NOW)
    assert step.events == (
        DeletionRequested(
            request=REQUEST,
            account="a1",
            stage="company",
            systems=["orders", "marketing"],
            attempt=1,
            requested_at=NOW,
            due_at=NOW + timedelta(days=10),
            answer_due_at=confirmed().request.due_at,
        ),
    )
    assert step.alarms == (
        Alarm("reminder", NOW + timedelta(days=5), "orders"),
        Alarm("escalation", NOW + timedelta(days=10), "orders"),
        Alarm("reminder", NOW + timedelta(days=5), "marketing"),
        Alarm("escalation", NOW + timedelta(days=10), "marketing"),
    )


@pytest.mark.parametrize("status", ["received", "verified", "deleting", "closed", "withdrawn"])
def test_nothing_is_asked_for_a_request_that_is_not_confirmed(status: Status) -> None:
    assert begin(confirmed(status), NOW) == Step()


def test_the_frozen_list_survives_storing() -> None:
    stages, tasks = thaw(json.loads(json.dumps(freeze(SYSTEMS))))
    assert stages == SYSTEMS.stages
    assert tasks[0] == Task("orders", "company", "kafka", None, 10, ("contact",))
    assert [task.system for task in tasks] == list(SYSTEMS.by_name)
    assert thaw(None) == ((), ())


def test_a_list_that_release_1_froze_is_read() -> None:
    each = {
        "system": "orders",
        "stage": "company",
        "transport": "kafka",
        "client_id": None,
        "deadline_days": 10,
        "categories": ["orders", "invoices"],
    }
    stages, (task,) = thaw({"stages": ["company", "own", "accounts"], "systems": [each]})
    assert stages == ("company", "own", "accounts")
    assert (task.system, task.status, task.left_at) == ("orders", "waiting", None)


@pytest.mark.promise(67)
@pytest.mark.parametrize("kind", ["done", "retained", "not_found"])
def test_a_stage_is_left_when_its_last_system_has_finally_answered(kind: str) -> None:
    first = answered(after(), "orders", kind)
    assert (first.effect, first.events, status(changed(first), "orders")) == ("final", (), kind)
    second = answered(first.deletion, "marketing")
    (event,) = second.events
    assert isinstance(event, DeletionRequested)
    assert (event.stage, event.systems, event.attempt) == ("own", ["dsr"], 1)


def test_accounts_comes_last_and_closes_the_request() -> None:
    before = after(("orders", "retained"), ("marketing", "done"), ("dsr", "retained"))
    assert status(before, "accounts") == "asked"
    step = answered(before, "accounts")
    assert changed(step).request == replace(before.request, status="closed", outcome="completed", closed_at=NOW)
    assert step.events == (RequestClosed(request=REQUEST, account="a1", outcome="completed", closed_at=NOW),)
    assert step.alarms == (Alarm("destroy_address", NOW + timedelta(days=7)),)


def test_what_is_kept_stays_with_the_task() -> None:
    task = next(task for task in after(("orders", "retained")).tasks if task.system == "orders")
    assert (task.items, task.answered_at) == ((ITEM,), NOW)


def test_a_stage_without_systems_is_passed_over() -> None:
    only_accounts = Systems(SYSTEMS.stages, {"accounts": SYSTEMS.by_name["accounts"]})
    assert asked(begin(confirmed(systems=only_accounts), NOW)) == ["accounts"]


def test_failed_is_asked_again_after_a_while_with_the_deadline_unmoved() -> None:
    failed = answered(after(), "orders", "failed")
    assert (failed.effect, failed.events) == ("again", ())
    assert failed.alarms == (Alarm("retry", NOW + HOUR, "orders"),)
    again = ask_again(changed(failed), "orders", NOW + HOUR)
    (event,) = again.events
    assert isinstance(event, DeletionRequested)
    assert (event.systems, event.attempt, event.reminder) == (["orders"], 2, False)
    assert event.due_at == NOW + timedelta(days=10)
    assert status(changed(again), "orders") == "asked"


def test_a_second_failure_before_the_next_asking_changes_nothing() -> None:
    assert answered(after(("orders", "failed")), "orders", "failed") == Step()


def test_a_system_that_failed_may_still_answer_finally_on_its_own() -> None:
    step = answered(after(("orders", "failed")), "orders", "done")
    assert step.effect == "final"
    assert ask_again(changed(step), "orders", NOW) == Step()


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
    assert escalate(changed(step), "orders", late) == Step()
    assert answered(changed(step), "marketing").events == ()  # its stage waits for it all the same


def test_a_system_that_keeps_failing_is_escalated_but_not_reminded() -> None:
    failed = after(("orders", "failed"))
    assert remind(failed, "orders", NOW) == Step()
    assert escalate(failed, "orders", NOW).events


def test_who_has_answered_is_left_in_peace() -> None:
    deletion = after(("orders", "done"))
    for look in (remind, escalate, ask_again):
        assert look(deletion, "orders", NOW) == Step()
        assert look(deletion, "nobody", NOW) == Step()


@pytest.mark.parametrize(
    ("by", "stray"),
    [
        ("accounts", reply("accounts")),
        ("warehouse", reply("warehouse")),
        ("orders", reply("orders", account="a2")),
        ("orders", reply("marketing")),
    ],
    ids=["not yet", "never", "about another account", "in the name of another system"],
)
def test_a_reply_that_was_not_asked_for_changes_nothing(by: str, stray: Reply) -> None:
    assert answer(after(), by, stray, HOUR, NOW) == Step(effect="none")


def test_a_reply_about_a_request_that_nobody_knows_changes_nothing() -> None:
    assert answered(None, "orders") == Step(effect="none")


@pytest.mark.parametrize("status", ["received", "verified", "confirmed", "withdrawn"])
@pytest.mark.parametrize("kind", ["done", "failed"])
def test_a_reply_before_the_point_of_no_return_changes_nothing(status: Status, kind: str) -> None:
    deletion = replace(after(), request=confirmed(status).request)
    assert answered(deletion, "orders", kind) == Step()


def test_the_first_final_answer_stands() -> None:
    deletion = after(("orders", "retained"))
    assert answered(deletion, "orders", "done") == Step()
    assert answered(deletion, "orders", "failed") == Step()


@pytest.mark.parametrize("kind", ["done", "failed", "retained", "not_found"])
def test_after_the_closing_nothing_changes_any_more(kind: str) -> None:
    closed = after(("orders", "done"), ("marketing", "done"), ("dsr", "done"), ("accounts", "done"))
    assert closed.request.status == "closed"
    for system in ("orders", "accounts"):
        assert answered(closed, system, kind) == Step()
        assert remind(closed, system, NOW) == Step()


def test_this_services_own_answer_is_a_reply_like_any_other() -> None:
    step = answered(after(("orders", "done")), "marketing")
    assert asked(step) == ["dsr"]
    own = own_answer(step, LOS_ANGELES, NOW)
    assert own == ReplyRetained(
        request=REQUEST,
        account="a1",
        system="dsr",
        answered_by="service/dsr",
        answered_at=NOW,
        items=[RetainedItem(category="requests", legal_basis="us.ca.11ccr7101", until=date(2029, 1, 3))],
    )
    assert answer(changed(step), "dsr", own, HOUR, NOW).effect == "final"


def test_this_service_answers_only_when_it_is_asked() -> None:
    for step in (Step(), begin(confirmed(), NOW), answered(after(), "orders")):
        assert own_answer(step, LOS_ANGELES, NOW) is None


REPLIES = st.tuples(
    st.sampled_from(["orders", "marketing", "dsr", "accounts", "warehouse"]),
    st.sampled_from(["done", "retained", "not_found", "failed"]),
)


@given(st.lists(REPLIES, max_size=40))
def test_whatever_comes_in_whatever_order_each_is_asked_in_its_stage_and_the_end_comes_once(
    replies: list[tuple[str, str]],
) -> None:
    step = begin(confirmed(), NOW)
    last, events = changed(step), [*step.events]
    for system, kind in replies:
        step = answered(last, system, kind)
        last = step.deletion or last
        events += step.events
    stages = [event.stage for event in events if isinstance(event, DeletionRequested)]
    assert stages == list(SYSTEMS.stages[: len(stages)])
    closings = [event for event in events if isinstance(event, RequestClosed)]
    final = all(task.status in ("done", "retained", "not_found") for task in last.tasks)
    assert len(closings) == int(last.request.status == "closed") == int(final)
