"""The Kafka edge: deletions. The accounts system answers last, when every other system has."""

from accounts import feeds, queries
from accounts.domain import SYSTEM, delete, is_asked
from accounts.settings import Settings
from chassis.app import Runtime
from chassis.consumer import Handlers, Received
from chassis.database import Connection
from chassis.outbox import emit_all
from privacy_contracts.accounts import AccountDeleted
from privacy_contracts.requests import DeletionRequested
from privacy_contracts.topology import read_by


def handlers(runtime: Runtime[Settings]) -> Handlers:
    """What the accounts system reads."""
    reads = Handlers(read_by(SYSTEM))

    @reads.reaction(DeletionRequested)
    async def deletion_requested(received: Received[DeletionRequested], tx: Connection) -> None:
        """Delete the account, say so on its topic, answer, and have it taken out of the partners' files."""
        requested = received.event
        if not is_asked(requested):
            return
        now = runtime.clock.now()
        account = requested.account
        held = await queries.hold(tx, account) if account else None
        events = delete(held, await queries.deleted(tx, account) if account else None, requested, now)
        for gone in events:
            if isinstance(gone, AccountDeleted):
                await feeds.end(tx, gone, requested.request)
        await emit_all(tx, events, now)

    return reads
