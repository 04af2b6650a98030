"""Feeds to advertising partners: consent is asked about each account by a job, and the answer decides.

Invariant: an account's data comes into a partner's file only with a recorded disclosure, and once consent was asked
about it again; it leaves the file with its account, whether or not consent answers. The file is always written whole.

So one that names an account which goes is written twice: at once, with those of its lines that the tables still have,
which names nobody anew; and from the tables, once consent was asked again about everybody there, a few by each job.
"""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import httpx
from pydantic import BaseModel

from accounts import queries
from accounts.domain import ACTOR, Decision, Feed, delivery, disclose
from accounts.queries import Access
from accounts.settings import Settings
from chassis import jobs
from chassis.app import Runtime
from chassis.database import Connection, transaction
from chassis.jobs import Effect, Job, JobKind
from chassis.outbox import emit
from privacy_contracts.accounts import AccountDeleted

ASK, WRITE = "feed.ask", "feed.write"
DEADLINE = timedelta(days=1)
FEW = 5
"""So many questions end within a job's time, even when each takes as long as a call may."""


class _Answer(BaseModel):
    decision: UUID
    allowed: bool
    reason: str
    consent_version: int | None = None
    policy_version: int | None = None


async def start(tx: Connection, feed: Feed, asked_by: str, runtime: Runtime[Settings]) -> int:
    """Begin a feed; gives the number of accounts about which consent will be asked."""
    accounts = await queries.start_feed(tx, feed, asked_by, runtime.clock.now())
    await jobs.put_many(tx, ASK, [f"{feed.id}/{account}" for account in accounts], {}, DEADLINE)
    if not accounts:
        await _ask_again(tx, feed.id)
    return len(accounts)


async def end(tx: Connection, gone: AccountDeleted, request: UUID | None) -> None:
    """Have an account leave the tables, and the file of each feed that names it. The caller publishes its end."""
    for feed in await queries.delete(tx, gone, request):
        await leave(tx, feed, gone.id)


async def leave(tx: Connection, feed: UUID, account: str) -> None:
    """Have an account that left the tables leave a feed's file too."""
    await jobs.put(tx, WRITE, f"{feed}/{account}", {}, DEADLINE)


async def _ask_again(tx: Connection, feed: UUID, after: str = "") -> None:
    """Have consent asked again about the accounts behind `after`, then the file written anew. One round at a time."""
    await jobs.put(tx, WRITE, f"{feed}/", {"after": after}, DEADLINE)


def kinds(runtime: Runtime[Settings]) -> Mapping[str, JobKind]:
    """The jobs of a feed."""
    return {ASK: _asking(runtime), WRITE: _writing(runtime)}


def _asking(runtime: Runtime[Settings]) -> JobKind:
    async def ask(job: Job) -> Effect:
        """Ask consent; then the disclosure or its refusal, the delivery and the count commit together."""
        feed_id, account = _key(job)
        async with transaction(runtime.pool) as tx:
            feed = await queries.feed(tx, feed_id)
        assert feed is not None  # noqa: S101 - its row commits with the job, and stays
        decision = await _decision(runtime, feed, account)

        async def effect(tx: Connection) -> None:
            now = runtime.clock.now()
            if await queries.hold(tx, account):
                await queries.deliver(tx, feed_id, account, delivery(decision))
                await emit(tx, disclose(feed, account, decision, now), now)
            await _count(tx, feed_id)

        return effect

    async def unanswered(job: Job, tx: Connection) -> None:
        """Without an answer nothing is disclosed."""
        feed_id, account = _key(job)
        if await queries.hold(tx, account):
            await queries.deliver(tx, feed_id, account, delivery(None))
        await _count(tx, feed_id)

    return JobKind(ask, unanswered)


def _writing(runtime: Runtime[Settings]) -> JobKind:
    async def write(job: Job) -> Effect:
        """Take out who is gone; or ask about a few accounts and go on behind them, and behind the last write anew."""
        feed_id, gone = _key(job)
        async with transaction(runtime.pool) as tx:
            feed = await queries.feed(tx, feed_id)
            few = [] if gone else await queries.named(tx, feed_id, job.payload["after"], FEW)
        assert feed is not None  # noqa: S101 - its row commits with the job, and stays
        again = {account: await _decision(runtime, feed, account) for account in few}

        async def effect(tx: Connection) -> None:
            if gone and await queries.is_pending(tx, feed_id):
                return  # there is no file yet, and the last answer has it written
            now = runtime.clock.now()
            await _recall(tx, feed, again, now)
            if few or gone:
                await _ask_again(tx, feed_id, few[-1] if few else "")
            if not few:
                await _write(tx, runtime.settings.feed_dir, feed, now, anew=not gone)

        return effect

    async def unwritten(job: Job, tx: Connection) -> None:
        """Who has no answer leaves the feed. What cannot be written is tried for ever: the job's counter tells."""
        feed_id, gone = _key(job)
        if gone:
            return await leave(tx, feed_id, gone)
        few = await queries.named(tx, feed_id, job.payload["after"], FEW)
        for account in few:
            await queries.recall(tx, feed_id, account, delivery(None))
        await _ask_again(tx, feed_id, few[-1] if few else job.payload["after"])

    return JobKind(write, unwritten)


async def _recall(tx: Connection, feed: Feed, again: Mapping[str, Decision], now: datetime) -> None:
    """Take those out of a feed whom consent no longer allows."""
    for account, decision in again.items():
        if not decision.allowed and await queries.recall(tx, feed.id, account, delivery(decision)):
            await emit(tx, disclose(feed, account, decision, now), now)


async def _write(tx: Connection, folder: Path, feed: Feed, now: datetime, *, anew: bool) -> None:
    """Write the file while the feed is held, so that the last one to write has seen the newest tables.

    Unless `anew`, it gets no line that it does not have.
    """
    file = path(folder, feed)
    told = await queries.feed_lines(tx, feed.id, Access(ACTOR, "feed", now, feed.id))
    lines = [(_no_formula(name), _no_formula(email)) for name, email in told]
    if not anew:
        stand = standing(file)
        lines = [line for line in lines if line in stand]
    replace(file, lines)
    await queries.written(tx, feed.id, now)


async def _count(tx: Connection, feed: UUID) -> None:
    if await queries.answered(tx, feed):
        await _ask_again(tx, feed)


async def _decision(runtime: Runtime[Settings], feed: Feed, account: str) -> Decision:
    question = {"subject": f"account/{account}", "recipient": feed.recipient, "purpose": feed.purpose}
    answer = await runtime.call.post("consent", "/v1/decisions", json=question)
    if answer.status_code != httpx.codes.OK:
        raise jobs.Retry(reason=f"consent-{answer.status_code}")
    return Decision(**_Answer.model_validate_json(answer.content).model_dump())


def _key(job: Job) -> tuple[UUID, str]:
    feed, _, account = job.key.partition("/")
    return UUID(feed), account


def path(folder: Path, feed: Feed) -> Path:
    """A feed's file. The recipient is a code, so it can leave the folder by no trick."""
    return folder / f"{feed.recipient}-{feed.id}.csv"


def _no_formula(value: str) -> str:
    """A value that no spreadsheet takes for a formula."""
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def standing(file: Path) -> set[tuple[str, ...]]:
    """The lines that a file has, none where there is no file."""
    if not file.exists():
        return set()
    with file.open(encoding="utf-8", newline="") as opened:
        return set(map(tuple, csv.reader(opened)))


def replace(file: Path, lines: Sequence[tuple[str, str]]) -> None:
    """Put a file in the place of the last one, whole or not at all; its owner alone may read it."""
    text = io.StringIO()
    csv.writer(text).writerows([("name", "email"), *lines])
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as opened:
        opened.write(text.getvalue())
        opened.flush()
        os.fsync(opened.fileno())
    fresh.replace(file)
