"""The transaction of an answer: it holds the reading and its record."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from audit.queries.recording import NotRecorded
from audit.settings import Settings
from chassis.app import Runtime
from chassis.database import Connection, transaction
from chassis.problems import Problem


@asynccontextmanager
async def recorded(runtime: Runtime[Settings]) -> AsyncIterator[Connection]:
    """Raises a 503 problem when what is read cannot be recorded."""
    try:
        async with transaction(runtime.pool) as tx:
            yield tx
    except NotRecorded:
        raise Problem(503, "not-recorded", "The reading cannot be recorded, so nothing is shown") from None
