"""Whom a mail goes to, and what it says. Opening an address and the record of it are one transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from uuid_utils.compat import uuid7

from chassis.app import Runtime
from chassis.database import transaction
from chassis.jobs import Retry
from chassis.outbox import emit
from notifier import endings, peers
from notifier.domain.addresses import Undeliverable, accessed, mailbox, recipient, to_write
from notifier.domain.notices import Asked, Notice
from notifier.domain.revisions import has_text, merged
from notifier.letters import Letter, Letters
from notifier.queries import accounts, ledger, revisions
from notifier.settings import Settings
from privacy_contracts.topology import systems


@dataclass(frozen=True)
class Mail:
    """A mail that can be sent."""

    notice: Notice
    to: str
    letter: Letter


async def about_request(
    runtime: Runtime[Settings], letters: Letters, notice_id: UUID, asked: Asked, request: UUID
) -> Mail | Undeliverable | None:
    """Ask dsr. The address is held in memory for this mail and nowhere else. None: the notice has its result."""
    try:
        answer = await peers.addressed(runtime.call, request, asked)
    except peers.Gone:
        return Undeliverable("no_address")
    now = runtime.clock.now()
    async with transaction(runtime.pool) as tx:
        row = await ledger.lock(tx, notice_id)
        if row is None:
            return None
        notice = await ledger.become(tx, row.id, answer.template, answer.account or row.account)
        await emit(tx, accessed(notice.subject, to_write(notice, now), uuid7()), now)
    to = recipient(answer.to.get_secret_value())
    if isinstance(to, Undeliverable):
        return to
    link = answer.link.get_secret_value() if answer.link else None
    values = {
        "link": link,
        "account": answer.account is not None,
        "systems": answer.systems,
        "kept": answer.kept,
        "outstanding": answer.outstanding,
        "account_closed": answer.account_closed,
    }
    return Mail(notice, to, letters.write(answer.template, values))


async def about_delay(
    runtime: Runtime[Settings], letters: Letters, notice_id: UUID, about: Mapping[str, str]
) -> Mail | Undeliverable | None:
    """To the owner of a system that is late: a mailbox of `systems.toml`, which is nobody's personal data.

    `about` holds `request`, `system` and `since` (ISO 8601). None: the notice has its result.
    """
    async with transaction(runtime.pool) as tx:
        notice = await ledger.lock(tx, notice_id)
    if notice is None:
        return None
    system = systems().by_name.get(about["system"])
    to = mailbox(system.owner_mailbox) if system else None
    if to is None:
        return Undeliverable("no_address")
    return Mail(notice, to, letters.write("escalation", {**about, "since": datetime.fromisoformat(about["since"])}))


async def about_policy(runtime: Runtime[Settings], letters: Letters, notice_id: UUID) -> Mail | Undeliverable | None:
    """Open the account's primary address. None: the notice has its result, or a later mail will tell of it too."""
    now = runtime.clock.now()
    async with transaction(runtime.pool) as tx:
        waiting = await ledger.lock_waiting(tx, notice=notice_id)
        mails = merged(waiting, notice_id)
        if mails.superseded:
            await endings.failed(tx, mails.superseded, "superseded", now, superseded_by=mails.by)
        if mails.sends is None:
            return None
        notice = mails.sends
        told = await revisions.told(tx, notice)
        if not has_text(told):
            raise Retry(timedelta(seconds=2), "text_not_fetched")
        access = to_write(notice, now)
        address = await accounts.address(tx, runtime.sealing, notice.account or "", access)
    to = recipient(address)
    return to if isinstance(to, Undeliverable) else Mail(notice, to, letters.revised(told))
