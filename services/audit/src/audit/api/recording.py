"""The record of a reading, written in the transaction that reads: no answer leaves without it."""

from collections.abc import Iterable

import asyncpg
from uuid_utils.compat import uuid7

from audit.domain import intake, reading
from audit.settings import Settings
from chassis import outbox
from chassis.app import Runtime
from chassis.auth import Principal
from chassis.database import Connection
from chassis.problems import Problem
from privacy_contracts.topology import systems

HOLDS = list(systems().by_name[intake.NAME].categories)
"""The categories that an answer about persons may hold."""


async def record(
    runtime: Runtime[Settings],
    tx: Connection,
    reader: Principal,
    query: reading.Query,
    subjects: Iterable[str | None],
    results: int,
) -> None:
    """Record that `reader` asked `query` and gets `results` rows about `subjects`.

    Raises a 503 problem when that cannot be recorded.
    """
    now = runtime.clock.now()
    holds = [] if query.of == "findings" else HOLDS
    event = reading.access(uuid7(), reader.subject, query, subjects, results, now, holds)
    try:
        await outbox.emit(tx, event, now)
    except asyncpg.PostgresError:
        raise Problem(503, "not-recorded", "The reading cannot be recorded, so nothing is shown") from None
