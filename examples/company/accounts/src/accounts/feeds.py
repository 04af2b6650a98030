"""Feeds to advertising partners: consent is asked about each account by a job, and the answer decides.

Invariant: an account's data is in a partner's file only with a recorded disclosure, and the file is always written
anew from the tables: a deleted account's line goes with its row. An answer holds for the moment in which it is used, so
consent is asked again about everybody whom the file is about to name.
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

ASK, WRITE = "feed.ask", "feed.write"
DEADLINE = timedelta(days=1)


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
        await write_again(tx, feed.id)
    return len(accounts)


async def write_again(tx: Connection, feed: UUID, without: str = "") -> None:
    """Have a feed's file written from the tables, once for each account that left them."""
    await jobs.put(tx, WRITE, f"{feed}/{without}", {}, DEADLINE)


def kinds(runtime: Runtime[Settings]) -> Mapping[str, JobKind]:
    """The jobs of a feed."""

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

    async def write(job: Job) -> Effect:
        """Write the file while the feed is held, so that the last one to write has seen the newest tables."""
        feed_id, _ = _key(job)
        async with transaction(runtime.pool) as tx:
            feed = await queries.feed(tx, feed_id)
            named = await queries.named(tx, feed_id)
        assert feed is not None  # noqa: S101 - its row commits with the job, and stays
        again = {account: await _decision(runtime, feed, account) for account in named}
        now = runtime.clock.now()
        async with transaction(runtime.pool) as tx:
            await _recall(tx, feed, again, now)
            lines = await queries.feed_lines(tx, feed_id, Access(ACTOR, "feed", now, feed_id))
            replace(path(runtime.settings.feed_dir, feed), lines)

        async def effect(tx: Connection) -> None:
            await queries.written(tx, feed_id, now)

        return effect

    async def unwritten(job: Job, tx: Connection) -> None:
        """A disk that stays full for a day is for an operator; the job's counter tells."""

    return {ASK: JobKind(ask, unanswered), WRITE: JobKind(write, unwritten, concurrency=1)}


async def _recall(tx: Connection, feed: Feed, again: Mapping[str, Decision], now: datetime) -> None:
    """Take those out of a feed whom consent no longer allows."""
    for account, decision in again.items():
        if not decision.allowed and await queries.recall(tx, feed.id, account, decision):
            await emit(tx, disclose(feed, account, decision, now), now)


async def _count(tx: Connection, feed: UUID) -> None:
    if await queries.answered(tx, feed):
        await write_again(tx, feed)


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


def replace(file: Path, lines: Sequence[tuple[str, str]]) -> None:
    """Put a file in the place of the last one, whole or not at all; its owner alone may read it."""
    text = io.StringIO()
    csv.writer(text).writerows([("name", "email"), *(tuple(map(_no_formula, line)) for line in lines)])
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as opened:
        opened.write(text.getvalue())
        opened.flush()
        os.fsync(opened.fileno())
    fresh.replace(file)
