"""How a notice ends: its row, its event and its mailing's count, in one transaction."""

from collections.abc import Sequence
from datetime import datetime

from chassis.database import Connection
from chassis.outbox import emit, emit_all
from chassis.telemetry import counter
from notifier.domain import notices as said
from notifier.domain.notices import Notice
from notifier.domain.revisions import Mailing, completed
from notifier.queries import ledger, revisions

_SENT = counter("mails_sent", "mails that a mail server took")
_REPEATED = counter("mails_repeated", "attempts before those that may have arrived too")
_FAILED = counter("mails_failed", "mails that will not be tried any more")


async def sent(tx: Connection, notice: Notice, repeats: int, now: datetime) -> None:
    """A mail server took it."""
    await ledger.settle_sent(tx, notice.id, now)
    await emit(tx, said.sent(notice, repeats, now), now)
    if notice.policy_version is not None:
        await report(tx, await revisions.count(tx, notice.policy_version, sent=1), now)
    _SENT.add(1, {"template": notice.template})
    _REPEATED.add(repeats, {"template": notice.template})


async def failed(
    tx: Connection,
    notices: Sequence[Notice],
    reason: str,
    now: datetime,
    *,
    smtp_status: int | None = None,
    superseded_by: int | None = None,
) -> None:
    """They will not be tried any more. The notices are locked by the caller and have no result yet."""
    await ledger.settle_failed(tx, [each.id for each in notices], now, reason, smtp_status, superseded_by)
    await emit_all(tx, [said.failed(each, reason, smtp_status, now) for each in notices], now)
    versions = [each.policy_version for each in notices if each.policy_version is not None]
    for version in sorted(set(versions)):
        await report(tx, await revisions.count(tx, version, failed=versions.count(version)), now)
    for each in notices:
        _FAILED.add(1, {"template": each.template, "reason": reason})


async def report(tx: Connection, mailing: Mailing, now: datetime) -> None:
    """Say that a mailing is complete, once."""
    if complete := completed(mailing, now):
        await revisions.complete(tx, mailing.policy_version, now)
        await emit(tx, complete, now)
