"""Whom a mail goes to, and what it says. Opening an address and the record of it are one transaction."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from uuid_utils.compat import uuid7

from chassis.app import Runtime
from chassis.database import Connection, transaction
from chassis.jobs import Retry
from chassis.outbox import emit
from chassis.sealing import KeyErased, Sealing
from notifier import domain, endings, peers
from notifier.domain import Asked, Notice
from notifier.letters import Letter, Letters
from notifier.queries import accounts, ledger, revisions
from notifier.settings import Settings

ADDRESS = "accounts.email"
"""The column that a sealed address is bound to."""


@dataclass(frozen=True)
class Mail:
    """A mail that can be sent."""

    notice: Notice
    to: str
    letter: Letter


@dataclass(frozen=True)
class Undeliverable:
    """A mail that cannot be sent; `reason` is a code."""

    reason: str


async def seal_address(tx: Connection, sealing: Sealing, account: str, address: str) -> bytes:
    """An address as the projection keeps it, under the account's own key."""
    return await sealing.seal(tx, f"account/{account}", address, ADDRESS)


async def about_request(
    runtime: Runtime[Settings], letters: Letters, notice_id: UUID, asked: Asked, request: UUID
) -> Mail | Undeliverable | None:
    """Ask dsr. The address is held in memory for this mail and nowhere else. None: the notice has its result."""
    try:
        answer = await peers.addressed(runtime.call, request, asked)
    except peers.Gone:
        return Undeliverable("no_address")
    async with transaction(runtime.pool) as tx:
        row = await ledger.lock(tx, notice_id)
        if row is None:
            return None
        notice = await ledger.become(tx, row.id, answer.template, answer.account or row.account)
        await _record(tx, notice, runtime)
    to = domain.mailbox(answer.to.get_secret_value())
    if to is None:
        return Undeliverable("no_address")
    link = answer.link.get_secret_value() if answer.link else None
    values = {"link": link, "systems": answer.systems, "kept": answer.kept}
    return Mail(notice, to, letters.write(answer.template, values))


async def about_policy(runtime: Runtime[Settings], letters: Letters, notice_id: UUID) -> Mail | Undeliverable | None:
    """Open the account's primary address. None: the notice has its result, or a later mail will tell of it too."""
    now = runtime.clock.now()
    async with transaction(runtime.pool) as tx:
        waiting = await ledger.lock_waiting(tx, notice=notice_id)
        merged = domain.merged(waiting, notice_id)
        if merged.superseded:
            await endings.failed(tx, merged.superseded, "superseded", now, superseded_by=merged.by)
        if merged.sends is None:
            return None
        notice = merged.sends
        told = await revisions.told(tx, notice)
        if told is None:
            raise Retry(timedelta(seconds=2), "text_not_fetched")
        opened = await _open(tx, runtime, notice)
    to = domain.mailbox(opened) if opened is not None else None
    if to is None:
        return Undeliverable("account_deleted" if opened is None else "no_address")
    return Mail(notice, to, letters.revised(told))


async def _open(tx: Connection, runtime: Runtime[Settings], notice: Notice) -> str | None:
    sealed = await accounts.sealed_address(tx, notice.account or "")
    if sealed is None:
        return None
    try:
        address = await runtime.sealing.open(tx, notice.subject, sealed, ADDRESS)
    except KeyErased:
        return None
    await _record(tx, notice, runtime)
    return address


async def _record(tx: Connection, notice: Notice, runtime: Runtime[Settings]) -> None:
    now = runtime.clock.now()
    await emit(tx, domain.accessed(notice, uuid7(), now), now)
