from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from dsr.domain.deletion import Deletion
from dsr.domain.identifiers import learns
from dsr.domain.requests import Refused, Request
from dsr.domain.tasks import Task

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
TASKS = (
    Task("orders", "company", "kafka", None, 10, ("orders",), "asked", 1),
    Task("mailings", "company", "http", "marketing", 10, ("marketing",), "asked", 1),
    Task("paper", "company", "manual", None, 10, ("contact",), "asked", 1),
    Task("accounts", "accounts", "kafka", None, 5, ("identity",)),
)


def deletion(status: str = "deleting", tasks: tuple[Task, ...] = TASKS, *, proven: bool = True) -> Deletion:
    request = Request(UUID(int=1), "delete", "website", status, AT, AT, address_proven=proven)  # type: ignore[arg-type]  # the test names it
    return Deletion(request, (), tasks)


@pytest.mark.parametrize(("client", "system"), [("orders", "orders"), ("marketing", "mailings")])
@pytest.mark.parametrize("status", ["asked", "failed"])
def test_a_system_that_is_asked_learns_by_its_own_client(client: str, system: str, status: str) -> None:
    asked = tuple(Task(*(each.system, each.stage, each.transport, each.client_id, 10, (), status, 1)) for each in TASKS)  # type: ignore[arg-type]  # as above
    task = learns(deletion(tasks=asked), client)
    assert isinstance(task, Task)
    assert task.system == system


@pytest.mark.parametrize("client", ["mailings", "paper", "accounts", "warehouse", ""])
def test_nobody_else_learns(client: str) -> None:
    """Another's name, a system of people, one whose stage comes later, one that is on no list."""
    assert learns(deletion(), client) == Refused("not_asked")


@pytest.mark.parametrize("status", ["done", "retained", "not_found"])
def test_whoever_has_answered_learns_no_more(status: str) -> None:
    answered = (Task("orders", "company", "kafka", None, 10, ("orders",), status, 1),)  # type: ignore[arg-type]  # as above
    assert learns(deletion(tasks=answered), "orders") == Refused("over")


def test_after_the_closing_only_who_is_outstanding_learns() -> None:
    assert learns(deletion("closed"), "orders") == Refused("over")
    left = Task("orders", "company", "kafka", None, 10, ("orders",), "asked", 1, left_at=AT)
    assert learns(deletion("closed", (left,)), "orders") == left
    assert learns(deletion("closed", (left,), proven=False), "orders") == Refused("over")
    assert learns(deletion("closed", (replace(left, status="done"),)), "orders") == Refused("over")


def test_an_address_that_nobody_proved_is_told_to_nobody() -> None:
    assert learns(deletion(proven=False), "orders") == Refused("over")


def test_before_there_are_tasks_nobody_learns() -> None:
    assert learns(deletion("confirmed", ()), "orders") == Refused("not_asked")
