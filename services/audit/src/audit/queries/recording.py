"""The record of a reading, written in the transaction that reads: a query that an auditor's answer is made of takes an
`Access` and records itself, so that no answer leaves without it.
"""

from collections.abc import Iterable

import asyncpg
from uuid_utils.compat import uuid7

from audit.domain.intake import NAME
from audit.domain.reading import Access, accessed
from chassis.database import Connection
from chassis.outbox import emit
from privacy_contracts.topology import systems

HOLDS = systems().by_name[NAME].categories
"""The categories that an answer about persons may hold."""


class NotRecorded(Exception):
    """The reading cannot be recorded. Show nothing."""


async def record(tx: Connection, access: Access, subjects: Iterable[str | None], results: int) -> None:
    """Record that somebody asked and gets `results` rows about `subjects`. Raises `NotRecorded`."""
    try:
        await emit(tx, accessed(uuid7(), access, subjects, results, HOLDS), access.at)
    except asyncpg.PostgresError:
        raise NotRecorded from None
