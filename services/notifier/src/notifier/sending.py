"""One mail, from its row in the ledger to the mail server's answer.

Before DATA, the attempt and the record of the disclosure, if it is one, are committed; after the server's answer, the
result. What happens between the two is the one thing that cannot be known after a crash: such a mail goes out again,
with the same Message-ID, and `repeats` counts it. A refusal before DATA is no attempt, for nothing was handed over.
"""

from uuid import UUID

from uuid_utils.compat import uuid7

from chassis import jobs
from chassis.app import Runtime
from chassis.crash import point
from chassis.database import Connection, transaction
from chassis.jobs import Effect, Job, JobKind, Retry
from chassis.outbox import emit
from notifier import endings
from notifier.addressing import Mail, about_delay, about_policy, about_request
from notifier.domain.addresses import Undeliverable
from notifier.domain.notices import PATIENCE, Asked, Verdict, disclosed, living, message_id, verdict, why
from notifier.letters import Letters, message
from notifier.queries import accounts, ledger
from notifier.settings import Settings
from notifier.smtp import Connections, Line, Lost, Refused

KIND = "notice"
"""One job per mail; its key is the notice."""


async def put(tx: Connection, asked: Asked, notices: list[UUID], **about: str) -> None:
    """Have these notices sent. `about` is what the mail is written from: ids and times."""
    await jobs.put_many(tx, KIND, [str(each) for each in notices], {"asked": asked, **about}, PATIENCE[asked])


def kind(runtime: Runtime[Settings], letters: Letters, lines: Connections, concurrency: int) -> JobKind:
    """The job that sends a mail, so many at a time."""

    async def send(job: Job) -> Effect:
        return await _send(runtime, letters, lines, job)

    async def expired(job: Job, tx: Connection) -> None:
        notice = await ledger.lock(tx, UUID(job.key))
        if notice is not None:
            status = await ledger.last_refusal(tx, notice.id)
            await endings.failed(tx, [notice], why(notice, "expired"), runtime.clock.now(), smtp_status=status)

    return JobKind(send, expired, concurrency)


async def _send(runtime: Runtime[Settings], letters: Letters, lines: Connections, job: Job) -> Effect:
    """A line comes first: while there is no mail server, no address is opened and no link is minted."""
    notice = UUID(job.key)
    try:
        async with lines.lend() as line:
            mail = await _prepared(runtime, letters, job)
            if mail is None:
                return _nothing
            if isinstance(mail, Undeliverable):
                return _failed(runtime, notice, mail.reason)
            return await _hand_over(runtime, line, mail)
    except Lost:
        raise Retry(reason="smtp_lost") from None
    except Refused as refused:
        if verdict(refused.step, refused.code) is Verdict.REJECTED:
            return _failed(runtime, notice, "rejected", refused)
        async with transaction(runtime.pool) as tx:
            await ledger.note_refusal(tx, notice, refused.code, of_attempt=refused.step == "data")
        raise Retry(reason=f"smtp_{refused.step}_{refused.code}") from None


async def _prepared(runtime: Runtime[Settings], letters: Letters, job: Job) -> Mail | Undeliverable | None:
    notice, asked = UUID(job.key), job.payload["asked"]
    if asked == "policy_revised":
        return await about_policy(runtime, letters, notice)
    if asked == "escalation":
        return await about_delay(runtime, letters, notice, job.payload)
    return await about_request(runtime, letters, notice, asked, UUID(job.payload["request"]))


async def _hand_over(runtime: Runtime[Settings], line: Line, mail: Mail) -> Effect:
    """Envelope, the record, DATA. Raises `Refused`, or `Lost` when there was no answer."""
    company, notice = runtime.company, mail.notice
    identifier = message_id(notice, company.sender)
    content = message(mail.letter, mail.to, identifier, runtime.clock.now())
    await line.envelope(company.sender, mail.to)
    repeats = await _started(runtime, mail)
    if isinstance(repeats, Undeliverable):
        return _failed(runtime, notice.id, repeats.reason)
    if repeats is None:
        return _nothing
    point("notifier.before-data")
    await line.data(content)
    point("notifier.after-data")

    async def accepted(tx: Connection) -> None:
        waiting = await ledger.lock(tx, notice.id)
        if waiting is not None:
            await endings.sent(tx, waiting, repeats, runtime.clock.now())

    return accepted


async def _started(runtime: Runtime[Settings], mail: Mail) -> int | Undeliverable | None:
    """Commit the attempt with the record of the disclosure; the repeats so far. None: it has its result meanwhile.

    The fingerprint of a living account's address is the proof of where the mail went.
    """
    now = runtime.clock.now()
    async with transaction(runtime.pool) as tx:
        notice = await ledger.lock(tx, mail.notice.id)
        if notice is None:
            return None
        address, account = None, living(notice)
        if account:
            if await accounts.is_buried(tx, account):
                return Undeliverable("account_deleted")
            address = runtime.sealing.fingerprint("notices.address", mail.to.lower())
        repeats = await ledger.start_attempt(tx, notice.id, address)
        if disclosure := disclosed(notice, uuid7(), now):
            await emit(tx, disclosure, now)
    return repeats


def _failed(runtime: Runtime[Settings], notice: UUID, reason: str, refused: Refused | None = None) -> Effect:
    async def effect(tx: Connection) -> None:
        if refused:  # first, for it answers the attempt that the row counts
            await ledger.note_refusal(tx, notice, refused.code, of_attempt=refused.step == "data")
        waiting = await ledger.lock(tx, notice)
        if waiting is None:
            return
        status = refused.code if refused else None
        await endings.failed(tx, [waiting], why(waiting, reason), runtime.clock.now(), smtp_status=status)

    return effect


async def _nothing(_: Connection) -> None:
    """The notice has its result already."""
