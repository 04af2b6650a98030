"""What a system that is asked may know of the person: the address that was proven, at the moment of deleting.

It travels on no topic, and whoever fetches it keeps no copy.
"""

from datetime import datetime
from uuid import UUID

from chassis.database import Connection
from dsr.domain.deletion import Deletion
from dsr.domain.identifiers import learns
from dsr.domain.requests import Refused
from dsr.queries import requests, tasks
from dsr.queries.personal import Access, final_address
from dsr.settings import Desk


async def address(
    tx: Connection, desk: Desk, request_id: UUID, client: str | None, staff: str | None, now: datetime
) -> str | Refused:
    """The person's mail address for the system that calls as `client`, or for staff; recorded as theirs.

    `staff` is `staff/<pseudonym>`, None for who is no member of staff.
    """
    request = await requests.lock(tx, request_id)
    if request is None:
        return Refused("not_asked")
    task = learns(Deletion(request, (), await tasks.of_request(tx, request_id)), client, staff=staff is not None)
    if isinstance(task, Refused):
        return task
    by_staff = staff if task.transport == "manual" else None
    access = Access(by_staff or f"system/{task.system}", "request", request_id)
    return await final_address(tx, desk.sealing, request, access, now) or Refused("over")
