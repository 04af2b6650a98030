"""What is said of systems that an officer went on without: to persons by mail and page, to programs as it is here."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel

from dsr.domain.tasks import Task

NOTE = (
    "These systems have not told us that they deleted what they hold. Closing the request does not end the duty: the "
    "company remains obliged to delete it (11 CCR 7022)."
)


class Outstanding(BaseModel):
    """A system without an answer: what it holds, why an officer went on, and since when. As codes."""

    system: str
    categories: list[str]
    reason: str
    left_at: datetime


def outstanding(tasks: Sequence[Task]) -> list[Outstanding]:
    """Those of a request's systems that are outstanding, in the order of its list."""
    return [
        Outstanding(
            system=task.system,
            categories=list(task.categories),
            reason=task.left_reason or "",
            left_at=task.left_at,
        )
        for task in tasks
        if task.outstanding and task.left_at
    ]
