"""The Kafka edge: who is deleted. Consent needs nothing else of an account, and so keeps no copy of one.

An account's state is not read at all, so a late one cannot bring an erased subject back.
"""

from datetime import datetime

from chassis.app import Runtime
from chassis.consumer import Handlers, Received
from chassis.database import Connection
from chassis.outbox import emit
from consent.domain.deletions import answer, names_us
from consent.queries import subjects
from consent.settings import Settings
from privacy_contracts.accounts import AccountDeleted
from privacy_contracts.requests import DeletionRequested
from privacy_contracts.topology import read_by


def handlers(runtime: Runtime[Settings]) -> Handlers:
    """What consent reads."""
    reads = Handlers(read_by("consent"))

    @reads.reaction(DeletionRequested)
    async def deletion_requested(received: Received[DeletionRequested], tx: Connection) -> None:
        """Erase, and answer; a reminder or a repeated attempt gets the same answer again."""
        requested = received.event
        if not names_us(requested):
            return
        now = runtime.clock.now()
        records = await _erase(tx, runtime, requested.subject, now)
        await emit(tx, answer(records, requested, now), now)

    @reads.reaction(AccountDeleted)
    async def account_deleted(received: Received[AccountDeleted], tx: Connection) -> None:
        """Erase what an account left behind that was closed without a request."""
        await _erase(tx, runtime, f"account/{received.event.id}", runtime.clock.now())

    return reads


async def _erase(tx: Connection, runtime: Runtime[Settings], subject: str, now: datetime) -> int:
    """Delete what is held, and destroy the key: under it are the states of the account that were put aside.

    The number of records that are gone, the same one when asked again; the key is looked for each time.
    """
    records = await subjects.erase(tx, subject, now)
    await runtime.sealing.erase(tx, subject)
    return records
