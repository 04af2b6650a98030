"""The Kafka edge: accounts, policy and requests in; one handler reads as one sentence."""

from datetime import datetime

from uuid_utils.compat import uuid7

from chassis.app import Runtime
from chassis.consumer import Handlers, Received
from chassis.database import Connection
from chassis.outbox import emit
from chassis.sealing import Sealing
from notifier import endings, mailings, sending
from notifier.domain.accounts import answer, named, supersedes
from notifier.domain.notices import Asked, cancelled, late, needs_completion, needs_link
from notifier.queries import accounts, ledger
from notifier.settings import Settings
from privacy_contracts.accounts import AccountDeleted, AccountStated
from privacy_contracts.policy import PolicyRevised
from privacy_contracts.requests import DeletionRequested, RequestClosed, RequestReceived, SystemEscalated
from privacy_contracts.topology import read_by


def handlers(runtime: Runtime[Settings]) -> Handlers:
    """What the notifier does about each event."""
    edge = Handlers(read_by("notifier"), projected_tables=("notifier.accounts",))
    _about_accounts(edge, runtime)
    _about_policy_and_requests(edge, runtime)
    return edge


def _about_accounts(edge: Handlers, runtime: Runtime[Settings]) -> None:
    sealing, now = runtime.sealing, runtime.clock.now

    @edge.projection(AccountStated)
    async def account_stated(received: Received[AccountStated], tx: Connection) -> None:
        await _project(tx, sealing, received.event)

    @edge.reaction(AccountStated)
    async def account_known(received: Received[AccountStated], tx: Connection) -> None:
        await mailings.enrol_late(tx, received.event.id)

    @edge.projection(AccountDeleted)
    async def account_deleted(received: Received[AccountDeleted], tx: Connection) -> None:
        await _erase(tx, sealing, received.event.id, received.event.deleted_at)

    @edge.reaction(AccountDeleted)
    async def account_gone(received: Received[AccountDeleted], tx: Connection) -> None:
        await _cancel(tx, received.event.id, now())


def _about_policy_and_requests(edge: Handlers, runtime: Runtime[Settings]) -> None:
    sealing, now = runtime.sealing, runtime.clock.now

    @edge.reaction(PolicyRevised)
    async def policy_revised(received: Received[PolicyRevised], tx: Connection) -> None:
        await mailings.revised(tx, received.event, now())

    @edge.reaction(RequestReceived)
    async def request_received(received: Received[RequestReceived], tx: Connection) -> None:
        if needs_link(received.event):
            await _notify(tx, "verification", received.event)

    @edge.reaction(RequestClosed)
    async def request_closed(received: Received[RequestClosed], tx: Connection) -> None:
        if needs_completion(received.event):
            await _notify(tx, "completion", received.event)

    @edge.reaction(SystemEscalated)
    async def system_escalated(received: Received[SystemEscalated], tx: Connection) -> None:
        await _tell_owner(tx, received.event)

    @edge.reaction(DeletionRequested)
    async def deletion_requested(received: Received[DeletionRequested], tx: Connection) -> None:
        if named(received.event):
            await _delete(tx, sealing, received.event, now())


async def _project(tx: Connection, sealing: Sealing, stated: AccountStated) -> None:
    await accounts.lock(tx, still=False)
    held = await accounts.held(tx, stated.id)
    if held.deleted:
        await sealing.erase(tx, f"account/{stated.id}")
    if supersedes(held, stated.version):
        email = stated.email.get_secret_value()
        await accounts.put(tx, sealing, stated.id, stated.version, email, stated.registered_at)


async def _erase(tx: Connection, sealing: Sealing, account: str, at: datetime) -> None:
    """Row, addresses and key go; a tombstone stays, so that no later state brings the account back."""
    await accounts.bury(tx, account, at)
    await sealing.erase(tx, f"account/{account}")


async def _cancel(tx: Connection, account: str, now: datetime) -> None:
    """End what has not left yet."""
    waiting = await ledger.lock_waiting(tx, account=account)
    await endings.failed(tx, cancelled(waiting), "account_deleted", now)


async def _delete(tx: Connection, sealing: Sealing, asked: DeletionRequested, now: datetime) -> None:
    records = 0  # nothing is held about somebody without an account but the request, and that goes on
    if asked.account is not None:
        await accounts.lock(tx, still=True)
        await _erase(tx, sealing, asked.account, now)
        await _cancel(tx, asked.account, now)
        records = await accounts.buried_records(tx, asked.account)
    await emit(tx, answer(asked, records, now), now)


async def _notify(tx: Connection, asked: Asked, event: RequestReceived | RequestClosed) -> None:
    notice = uuid7()
    if await ledger.put(tx, notice, asked, asked, event.request, event.account):
        await sending.put(tx, asked, [notice], request=str(event.request))


async def _tell_owner(tx: Connection, silent: SystemEscalated) -> None:
    """The request alone is named: whose it is, the owner need not know to find out why the system is silent."""
    notice = uuid7()
    if await ledger.put(tx, notice, late(silent.system), "escalation", silent.request, None):
        about = {"request": str(silent.request), "system": silent.system, "since": silent.due_at.isoformat()}
        await sending.put(tx, "escalation", [notice], **about)
