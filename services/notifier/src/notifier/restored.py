"""What a restored database does not know and the notifier once said: which mails have their end, so that none repeats.

Mails about a policy that was revised after the backup, and to owners of late systems, are not told apart by their
events: these go out again.
"""

from typing import Any

from chassis import jobs
from chassis.consumer import Received
from chassis.database import Connection
from notifier import mailings
from notifier.domain.notices import PATIENCE
from notifier.domain.revisions import completed
from notifier.queries import ledger, revisions
from privacy_contracts.notices import NoticeCompleted, NoticeFailed, NoticeSent

ASKED = {"verification": "verification", "unknown_address": "verification", "completion": "completion"}
"""What was asked for where this was sent about a request."""


async def restate(received: Received[Any], tx: Connection) -> bool:
    """What `App.restate` wants: applies one event, and says whether everything that it stood for is there again."""
    match received.event:
        case NoticeSent() as sent:
            return await _settle(tx, sent, "sent", None, received)
        case NoticeFailed() as failed:
            return await _settle(tx, failed, "failed", failed.reason, received)
        case NoticeCompleted() as done:
            return await revisions.complete(tx, done.policy_version, done.completed_at)
    return True  # what stands on the home page is said again; the rest is records and no state


async def _settle(
    tx: Connection, ended: NoticeSent | NoticeFailed, state: str, reason: str | None, received: Received[Any]
) -> bool:
    if ended.request is not None and ended.template in ASKED:
        await ledger.put(tx, ended.notice, ASKED[ended.template], ended.template, ended.request, ended.account)
    settled = await ledger.settle_again(tx, ended.notice, state, reason, received.time)
    if settled and settled.waited and settled.policy_version is not None:
        sent, failed = int(state == "sent"), int(state == "failed")
        mailing = await revisions.count(tx, settled.policy_version, sent=sent, failed=failed)
        if completed(mailing, received.time):  # the report may be lost: once all that was said is known, the job looks
            await jobs.put(tx, mailings.KIND, str(mailing.policy_version), {}, PATIENCE["policy_revised"])
    return settled is not None
