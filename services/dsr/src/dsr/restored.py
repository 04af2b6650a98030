"""What a restored database does not know and dsr once said: the state that each of its own events tells of.

What no event carries is lost: typed addresses and links. From the point of no return on the state machine finds its own
way again: the replies are read once more, and stages and closing that were said before are said again.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from chassis import timers
from chassis.consumer import Received
from chassis.database import Connection
from dsr import case, orchestration
from dsr.domain import restored
from dsr.domain.requests import expires_at
from dsr.domain.tasks import freeze
from dsr.queries import requests
from dsr.settings import Desk
from privacy_contracts.requests import (
    DeletionConfirmed,
    DeletionRequested,
    RequestClosed,
    RequestMatched,
    RequestReceived,
    RequestVerified,
    RequestWithdrawn,
    SystemEscalated,
)
from privacy_contracts.topology import systems

UNDERSTOOD = (
    RequestMatched,
    RequestVerified,
    DeletionConfirmed,
    RequestWithdrawn,
    DeletionRequested,
    SystemEscalated,
    RequestClosed,
)


def build(desk: Desk) -> Callable[[Received[Any], Connection], Awaitable[bool]]:
    """What `App.restate` wants: applies one event, and says whether everything that it stood for is there again."""

    async def restate(received: Received[Any], tx: Connection) -> bool:
        event = received.event
        if event.stream != "requests":
            return True  # replies come again from Kafka; accesses and disclosures are records and no state
        if isinstance(event, RequestReceived):
            return await _received(tx, desk, event)
        request = await requests.lock(tx, event.request)
        if request is None:
            return False
        await requests.store(tx, restored.brought_forward(request, event))
        match event:
            case RequestVerified():
                await requests.freeze_systems(tx, request.id, freeze(systems()))
            case DeletionConfirmed():
                await case.cool_off(tx, request, event.irrevocable_at)
            case DeletionRequested(account_closed_at=datetime() as closed):
                # now, not when the closing is read again: an answer may be read before it, and comes once
                await orchestration.begin_without_account(tx, desk, request, closed, event.requested_at, said=True)
            case DeletionRequested():
                await orchestration.begin(tx, desk, request.id, event.requested_at, said=True)
        return isinstance(event, UNDERSTOOD)

    return restate


async def _received(tx: Connection, desk: Desk, event: RequestReceived) -> bool:
    """The request's row, so that its later events find it. The address that was typed, and the link, are lost."""
    request = restored.received(event)
    if await requests.is_new(tx, request.id):
        await requests.insert(tx, request)
        await timers.put(tx, "verification_expiry", str(request.id), expires_at(request, desk.verify_within))
    return False
