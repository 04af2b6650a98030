"""The Kafka edge: who is deleted. Consent needs nothing else of an account, and so keeps no copy of one.

An account's state is not read at all, so a late one cannot bring an erased subject back.
"""

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
        records = await subjects.erase(tx, f"account/{requested.account}", now)
        await emit(tx, answer(records, requested, now), now)

    @reads.reaction(AccountDeleted)
    async def account_deleted(received: Received[AccountDeleted], tx: Connection) -> None:
        """Erase what an account left behind that was closed without a request."""
        await subjects.erase(tx, f"account/{received.event.id}", runtime.clock.now())

    return reads
