"""Revisions of the policy: the home-page notice of each, and the mailing about a material one.

Every account registered before the publication is in the mailing: those in the projection when the revision arrives,
and those whose state arrives later. One lock stands between the two, so that none falls through.
"""

from datetime import datetime

from uuid_utils.compat import uuid7

from chassis import jobs
from chassis.app import Runtime
from chassis.database import Connection
from chassis.jobs import Effect, Job, JobKind
from chassis.outbox import emit
from notifier import endings, peers, sending
from notifier.domain.notices import PATIENCE
from notifier.domain.revisions import needs_mail, posted
from notifier.queries import accounts, ledger, revisions
from notifier.settings import Settings
from privacy_contracts.policy import PolicyRevised

KIND = "revision"
"""One job per mailing, to ask what the version says; its key is the version.

A recovery puts it again where every mail has its end: the report may have been lost with what was not published."""


async def revised(tx: Connection, event: PolicyRevised, now: datetime) -> None:
    """Record the notice on the home page; enrol every account if the change is material."""
    await accounts.lock(tx, still=True)
    notice = posted(event, uuid7())
    mailing = uuid7() if needs_mail(event) else None
    if not await revisions.put(tx, event, notice, mailing):
        return
    await emit(tx, notice, now)
    if mailing is None:
        return
    registered = await accounts.registered_before(tx, event.published_at)
    await revisions.enrol(tx, event.version, registered, [uuid7() for _ in registered])
    await jobs.put(tx, KIND, str(event.version), {}, PATIENCE["policy_revised"])
    await endings.report(tx, await revisions.count(tx, event.version), now)


async def enrol_late(tx: Connection, account: str) -> None:
    """Put an account into the mailings that it belongs to by its registration. Its state holds the accounts' lock."""
    for version in await revisions.mailings_missing(tx, account):
        notices = await revisions.enrol(tx, version, [account], [uuid7()])
        await sending.put(tx, "policy_revised", notices)


def kind(runtime: Runtime[Settings]) -> JobKind:
    """The job that asks consent, once per mailing, and then lets the mails go."""

    async def describe(job: Job) -> Effect:
        version = int(job.key)
        text = await peers.policy_text(runtime.call, version)

        async def release(tx: Connection) -> None:
            await revisions.describe(tx, version, text.summary, text.url)
            waiting = await ledger.waiting_in(tx, version)
            await sending.put(tx, "policy_revised", [each.id for each in waiting])
            await _report(tx, version)

        return release

    async def expired(job: Job, tx: Connection) -> None:
        await revisions.describe(tx, int(job.key), "", "")
        waiting = await ledger.waiting_in(tx, int(job.key))
        await endings.failed(tx, waiting, "expired", runtime.clock.now())
        await _report(tx, int(job.key))

    async def _report(tx: Connection, version: int) -> None:
        await endings.report(tx, await revisions.count(tx, version), runtime.clock.now())

    return JobKind(describe, expired, concurrency=1)
