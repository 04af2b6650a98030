"""Which system may learn whom a deletion is about: one that is being asked, until its answer is recorded."""

from dsr.domain.deletion import Deletion
from dsr.domain.requests import Refused
from dsr.domain.tasks import Task


def learns(deletion: Deletion, client: str | None, *, staff: bool = False) -> Task | Refused:
    """The task for which the caller needs the identifiers.

    A system over HTTP calls by its `client_id`, one on Kafka by its own name; staff do what manual systems are asked.
    Nobody is asked before the point of no return; after a final answer there is nothing left to look for, nor after the
    closing, but for a system that it left outstanding. Nor is there where the address that is held is none that the
    person proved: it may be another's.
    """
    theirs = [
        task
        for task in deletion.tasks
        if task.attempt and (_caller(task) == client is not None or (staff and task.transport == "manual"))
    ]
    if not theirs:
        return Refused("not_asked")
    still = (task for task in theirs if deletion.request.address_proven and task in deletion.asked)
    return next(still, Refused("over"))


def _caller(task: Task) -> str | None:
    match task.transport:
        case "http":
            return task.client_id
        case "kafka":
            return task.system
        case _:
            return None
