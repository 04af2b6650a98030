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


async def address(tx: Connection, desk: Desk, request_id: UUID, client: str, now: datetime) -> str | Refused:
    """The person's mail address for the system that calls as `client`; recorded as that system's access."""
    request = await requests.lock(tx, request_id)
    if request is None:
        return Refused("not_asked")
    task = learns(Deletion(request, (), await tasks.of_request(tx, request_id)), client)
    if isinstance(task, Refused):
        return task
    access = Access(f"system/{task.system}", "request", request_id)
    return await final_address(tx, desk.sealing, request, access, now) or Refused("over")
