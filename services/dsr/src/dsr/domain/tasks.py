"""What each system of a request is asked and answers, and the list of systems from which the tasks are made.

The list is frozen at verification: later changes of `systems.toml` do not touch a request.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from privacy_contracts.replies import RetainedItem
from privacy_contracts.topology import Systems

TaskStatus = Literal["waiting", "asked", "failed", "done", "retained", "not_found"]

FINAL = ("done", "retained", "not_found")


@dataclass(frozen=True)
class Task:
    """What one system was asked, and what it answered. `attempt` counts the askings; 0 is not asked yet.

    `left_…` say when an officer (`staff/<pseudonym>`) went on without its answer, and why.
    """

    system: str
    stage: str
    transport: str
    client_id: str | None
    deadline_days: int
    categories: tuple[str, ...]
    status: TaskStatus = "waiting"
    attempt: int = 0
    due_at: datetime | None = None
    escalated_at: datetime | None = None
    answered_at: datetime | None = None
    items: tuple[RetainedItem, ...] = ()
    left_at: datetime | None = None
    left_by: str | None = None
    left_reason: str | None = None

    @property
    def waited_for(self) -> bool:
        """Whether its stage lasts until it answers."""
        return self.status in ("asked", "failed") and self.left_at is None

    @property
    def outstanding(self) -> bool:
        """Whether an officer went on without it, and no final answer has come since."""
        return self.status not in FINAL and self.left_at is not None


def freeze(systems: Systems) -> dict[str, Any]:
    """The systems of today and their stages, as JSON, for one request. Later changes of the list do not touch it."""
    return {
        "stages": list(systems.stages),
        "systems": [
            {
                "system": system.name,
                "stage": system.stage,
                "transport": system.transport,
                "client_id": system.client_id,
                "deadline_days": system.deadline_days,
                "categories": list(system.categories),
            }
            for system in systems.by_name.values()
        ],
    }


def thaw(frozen: dict[str, Any] | None) -> tuple[tuple[str, ...], tuple[Task, ...]]:
    """The stages in their order, and each system's task, from what `freeze` made; neither before verification."""
    if frozen is None:
        return (), ()
    tasks = (Task(**(each | {"categories": tuple(each["categories"])})) for each in frozen["systems"])
    return tuple(frozen["stages"]), tuple(tasks)
