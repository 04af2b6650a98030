"""A request and its person, from receipt to the last mail. Each step locks the request's row before anything else.

Every function runs in its caller's transaction: row, events and timers commit together or not at all.
"""

from datetime import datetime
from uuid import UUID

from uuid_utils.compat import uuid7

from chassis import timers
from chassis.database import Connection
from chassis.outbox import emit_all
from chassis.telemetry import about
from dsr.domain import addresses
from dsr.domain import requests as decide
from dsr.domain.requests import Decided, Refused, Request
from dsr.domain.tasks import freeze
from dsr.queries import accounts, requests
from dsr.queries.personal import TYPED, owner_of_request
from dsr.settings import Desk
from privacy_contracts.topology import systems

MAILBOX = "mailbox"
"""The purpose under which mailboxes are hashed."""
FORM = "form"
"""The purpose under which a form's number is hashed with its address."""


async def receive_form(tx: Connection, desk: Desk, address: str, once: str, now: datetime) -> None:
    """Take the page's form in, once: the form's own number and the address, keyed, are the request's id.

    A form without its number is a form by itself. The repeat does the same work for every address.
    """
    typed = f"{once or uuid7()} {addresses.normalised(address)}"
    request_id = UUID(bytes=desk.sealing.fingerprint(FORM, typed)[:16], version=4)
    if await requests.is_new(tx, request_id):
        await receive(tx, desk, "delete", "form", address, now, request_id)


async def receive(
    tx: Connection, desk: Desk, type_: str, channel: str, address: str, now: datetime, request_id: UUID | None = None
) -> UUID:
    """Take a request in. The same work for every address: whose it is, is asked after the answer is given."""
    decided = decide.receive(request_id or uuid7(), type_, channel, desk.zone, now)
    request = decided.request
    about(request_id=str(request.id))
    fingerprint = desk.fingerprint(address)
    sealed = await desk.sealing.seal(tx, owner_of_request(request.id), address, TYPED)
    mailbox = desk.sealing.fingerprint(MAILBOX, addresses.mailbox(address))
    await requests.insert(tx, request, sealed, fingerprint, mailbox)
    await emit_all(tx, decided.events, now)
    expires_at = decide.expires_at(request, desk.verify_within)
    await timers.put(tx, "verification_expiry", str(request.id), expires_at)
    return request.id


async def verify(tx: Connection, request: Request, now: datetime) -> Refused | None:
    """The person opened the link and said so. Freezes the list of systems. The row is locked by the caller."""
    decided = decide.verify(request, now)
    if isinstance(decided, Refused):
        return decided
    await requests.freeze_systems(tx, request.id, freeze(systems()))
    await _store(tx, decided, now)
    return None


async def confirm(tx: Connection, desk: Desk, request: Request, now: datetime) -> Refused | None:
    """The person confirmed that the account goes too; the time to change one's mind begins. The row is locked."""
    decided = decide.confirm(request, desk.cooling_off, now)
    if isinstance(decided, Refused):
        return decided
    await _store(tx, decided, now)
    await cool_off(tx, request, decided.request.irrevocable_at or now)
    return None


async def cool_off(tx: Connection, request: Request, until: datetime) -> None:
    """Have the deletion start then.

    Code of release 1 would let a guest's timer go by without effect; it leaves alone a kind that it does not know.
    """
    await timers.put(tx, "cooling_off" if request.account else "guest_cooling_off", str(request.id), until)


async def withdraw(tx: Connection, desk: Desk, request: Request, now: datetime) -> Refused | None:
    """The person took it back. Timers of this request find it withdrawn and do nothing. The row is locked."""
    decided = decide.withdraw(request, now)
    if isinstance(decided, Refused):
        return decided
    await _store(tx, decided, now)
    await forget_typed_address(tx, desk, request.id)
    return None


async def match_all(tx: Connection, desk: Desk, address: str, now: datetime) -> None:
    """An account's state names this address: requests from it that were nobody's become the account's."""
    for request in await requests.lock_unmatched(tx, desk.fingerprint(address)):
        await matched(tx, desk, request, now)


async def matched(tx: Connection, desk: Desk, request: Request, now: datetime) -> Request:
    """The request, an account's from now on if its typed address has become one's. The row is locked by the caller.

    The typed address stays until the start: it is the one that the person proves, whatever the account says later.
    """
    held = await requests.fingerprint(tx, request.id)
    account = await accounts.by_fingerprint(tx, held) if held else None
    decided = decide.match(request, account, now) if account else None
    if not isinstance(decided, Decided):
        return request
    await _store(tx, decided, now)
    return decided.request


async def expire(tx: Connection, desk: Desk, request_id: UUID, now: datetime) -> None:
    """The person said nothing in time."""
    request = await requests.lock(tx, request_id)
    if request is None:
        return
    decided = decide.expire(request, now)
    if isinstance(decided, Decided):
        await _store(tx, decided, now)
        await forget_typed_address(tx, desk, request_id)


async def give_up(tx: Connection, request: Request, now: datetime) -> None:
    """There is nobody left whom systems could look for. The row is locked by the caller."""
    decided = decide.give_up(request, now)
    if isinstance(decided, Decided):
        await _store(tx, decided, now)


async def forget_typed_address(tx: Connection, desk: Desk, request_id: UUID, *, but_its_hash: bool = False) -> None:
    """Destroy the typed address and its key, if they are still there; its hash too, unless the start needs it."""
    if await requests.clear_typed_address(tx, request_id):
        await desk.sealing.erase(tx, owner_of_request(request_id))
    if not but_its_hash:
        await requests.clear_fingerprint(tx, request_id)


async def forget_final_address(tx: Connection, desk: Desk, request_id: UUID) -> None:
    """Destroy the address of the last mail and its key, if they are still there. Locks the row."""
    await requests.lock(tx, request_id)
    if await requests.clear_final_address(tx, request_id):
        await desk.sealing.erase(tx, owner_of_request(request_id))


async def _store(tx: Connection, decided: Decided, now: datetime) -> None:
    await requests.store(tx, decided.request)
    await emit_all(tx, decided.events, now)
