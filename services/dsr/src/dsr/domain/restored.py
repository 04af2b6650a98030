"""A request brought forward by what dsr itself once said about it."""

from dataclasses import replace

from dsr.domain.requests import Request, bind
from privacy_contracts.envelope import Event
from privacy_contracts.requests import (
    DeletionConfirmed,
    RequestClosed,
    RequestMatched,
    RequestReceived,
    RequestVerified,
    RequestWithdrawn,
)


def received(event: RequestReceived) -> Request:
    """The request of which nothing is left but this."""
    return Request(
        id=event.request,
        type=event.request_type,
        channel=event.channel,
        status="received",
        received_at=event.received_at,
        due_at=event.due_at,
        account=event.account,
    )


def brought_forward(request: Request, event: Event) -> Request:
    """The request after an event; unchanged by those of its deletion, which finds its own way again."""
    match event:
        case RequestVerified():
            return replace(request, status="verified", account=event.account, verified_at=event.verified_at)
        case RequestMatched():
            return bind(request, event.account)
        case DeletionConfirmed():
            times = event.confirmed_at, event.irrevocable_at
            return replace(request, status="confirmed", confirmed_at=times[0], irrevocable_at=times[1])
        case RequestWithdrawn():
            return replace(request, status="withdrawn", closed_at=event.withdrawn_at)
        case RequestClosed() if event.outcome != "completed":
            return replace(request, status="closed", closed_at=event.closed_at, outcome=event.outcome)
    return request
