"""What the notifier may send about a request: to whom, and with which link. Asked for at the moment of sending.

Each answer mints a further secret, so that a repeated mail does not kill the first link. None means that there is
nothing to send (any more).
"""

import secrets
from datetime import date, datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel

from chassis.database import Connection
from chassis.telemetry import traceparent
from dsr.case import forget_typed_address
from dsr.domain import requests as decide
from dsr.domain import verification
from dsr.domain.requests import Request
from dsr.links import forget_later
from dsr.outstanding import Outstanding, outstanding
from dsr.queries import accounts, links, requests
from dsr.queries.personal import Access, account_address, answers, final_address, typed_address
from dsr.settings import Desk

Template = Literal["verification", "unknown_address", "completion"]


class Kept(BaseModel):
    """One thing that one system keeps, under which law, and until when."""

    system: str
    category: str
    legal_basis: str
    until: date


class Message(BaseModel):
    """A mail to be written. `link` opens the request; what follows it is for the last mail only.

    `systems` are those that have answered; `account_closed`: the account was closed in its own system, before that was
    asked to.
    """

    template: Template
    to: str
    account: str | None = None
    link: str | None = None
    systems: list[str] = []
    kept: list[Kept] = []
    outstanding: list[Outstanding] = []
    account_closed: bool = False


async def first(tx: Connection, desk: Desk, request_id: UUID, access: Access, now: datetime) -> Message | None:
    """The mail that answers a receipt, with a link: to an account's known address, else an honest one to that typed.

    A further link goes to where the first went, whatever address the account took meanwhile, while that is held.
    """
    request = await requests.lock(tx, request_id)
    if request is None or not decide.has_reader(request):
        return None
    if request.account is None or await requests.mailbox(tx, request_id):  # an account's already, and yet to be counted
        request = await _bound(tx, desk, request, now)
        if request is None:
            return None
    to = await account_address(tx, desk.sealing, request.account, access, now) if request.account else None
    if to is None or desk.fingerprint(to) != await requests.fingerprint(tx, request_id):
        typed = await typed_address(tx, desk.sealing, request_id, access, now)
        if typed is None:
            await requests.clear_fingerprint(tx, request_id)  # links go to two addresses: a click proves neither
        to = typed or to
    if to is None:
        return None
    template: Template = "verification" if request.account else "unknown_address"
    return Message(template=template, to=to, account=request.account, link=await _mint(tx, desk, request_id, now))


async def last(tx: Connection, desk: Desk, request_id: UUID, access: Access, now: datetime) -> Message | None:
    """The mail that says what was deleted and what is kept (11 CCR 7022(e), (f))."""
    request = await requests.lock(tx, request_id)
    if request is None or not decide.has_ending(request):
        return None
    to = await final_address(tx, desk.sealing, request, access, now)
    if to is None:
        return None
    answered = await answers(tx, request, access, now)
    return Message(
        template="completion",
        to=to,
        account=request.account,
        link=await _mint(tx, desk, request_id, now),
        systems=[task.system for task in answered if not task.outstanding],
        kept=[Kept(system=task.system, **item.model_dump()) for task in answered for item in task.items],
        outstanding=outstanding(answered),
        account_closed=request.account_closed_at is not None,
    )


async def _bound(tx: Connection, desk: Desk, request: Request, now: datetime) -> Request | None:
    """The request, bound to the account whose known address was typed, if there is one. None when enough was sent."""
    fingerprint, mailbox = await requests.fingerprint(tx, request.id), await requests.mailbox(tx, request.id)
    if fingerprint is None or mailbox is None:
        return None
    account = request.account or await accounts.by_fingerprint(tx, fingerprint)
    counted = verification.counted(account, fingerprint, mailbox)
    written = await links.requests_written_about(tx, counted, now)
    repeated = await links.was_written_about(tx, counted, request.id)
    if not verification.may_write(written, repeated=repeated):
        return None
    await links.count_message(tx, counted, request.id, now)
    await forget_later(tx, now)
    if account is None or request.account:
        return request
    bound = decide.bind(request, account)
    await requests.store(tx, bound)
    await forget_typed_address(tx, desk, request.id, but_its_hash=True)
    return bound


async def _mint(tx: Connection, desk: Desk, request_id: UUID, now: datetime) -> str:
    secret = secrets.token_urlsafe(32)
    await links.insert(tx, request_id, verification.hashed(secret), now, traceparent())
    return f"{desk.public_url}/r/{request_id}/{secret}"
