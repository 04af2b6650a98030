"""Work that reaches outside, between transactions: claimed, tried, and finished in one transaction with its effect.

A job runs at least once. Its effect commits with its removal and only under the claim that ran it, so the effect
happens once. Time here is real time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from chassis import crash
from chassis.database import Connection, Pool, affected, transaction
from chassis.telemetry import carried, counter, span

log = logging.getLogger(__name__)
_DONE = counter("jobs_done", "jobs whose effect committed")
_RETRIED = counter("jobs_retried", "attempts that will be repeated")
_EXPIRED = counter("jobs_expired", "jobs that met their deadline")

LEASE = timedelta(seconds=60)
DRAIN_SECONDS = 5
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.5, 600.0


@dataclass(frozen=True)
class Job:
    """One job, unique by kind and key. `attempts` counts this one, from 1; `claim` names who does it."""

    kind: str
    key: str
    payload: dict[str, Any]
    attempts: int
    claim: UUID


Effect = Callable[[Connection], Awaitable[None]]


@dataclass(frozen=True)
class JobKind:
    """How a kind of job is done. `expired` runs, in the transaction of its removal, once the deadline has passed."""

    handler: Callable[[Job], Awaitable[Effect]]
    expired: Callable[[Job, Connection], Awaitable[None]]
    concurrency: int = 4


@dataclass
class Retry(Exception):
    """Try again `after` this long, or after the usual backoff. `reason` is a code for the log."""

    after: timedelta | None = None
    reason: str = field(default="retry")


class _Superseded(Exception):
    """Another worker has claimed the job meanwhile; its effect is the one that counts."""


async def put(tx: Connection, kind: str, key: str, payload: dict[str, Any], deadline: timedelta) -> None:
    """Add a job to be done before `deadline` from now; one that is there already stays as it is."""
    await put_many(tx, kind, [key], payload, deadline)


async def put_many(tx: Connection, kind: str, keys: list[str], payload: dict[str, Any], deadline: timedelta) -> None:
    """Add many jobs of one kind with the same payload."""
    await tx.execute(
        "INSERT INTO chassis.jobs (kind, key, payload, deadline, trace)"
        " SELECT $1, key, $3, now() + $4::interval, $5 FROM unnest($2::text[]) AS key ON CONFLICT DO NOTHING",
        *(kind, keys, payload, deadline, carried()),
    )


async def run_one(
    pool: Pool, kind: str, how: JobKind, holder: str = "", claimed: Callable[[], object] = lambda: None
) -> bool:
    """Claim and try one job of this kind; `claimed` is called in between. False when none is due."""
    found = await _claim(pool, kind, holder)
    if found is None:
        return False
    claimed()
    await _try(pool, how, *found)
    return True


async def _claim(pool: Pool, kind: str, holder: str) -> tuple[Job, bool, dict[str, str]] | None:
    """A job that is due, whether its deadline has passed, and the trace that it goes on with."""
    async with transaction(pool) as tx:
        row = await tx.fetchrow(
            "UPDATE chassis.jobs SET claim = $2, holder = $4, attempts = attempts + 1, run_at = now() + $3::interval"
            " WHERE (kind, key) = (SELECT kind, key FROM chassis.jobs WHERE kind = $1 AND run_at <= now()"
            " ORDER BY run_at LIMIT 1 FOR UPDATE SKIP LOCKED)"
            " RETURNING key, payload, attempts, trace, deadline <= now() AS late",
            *(kind, claim := uuid7(), LEASE, holder),
        )
    if row is None:
        return None
    crash.point("jobs.after-claim")
    return Job(kind, row["key"], row["payload"], row["attempts"], claim), row["late"], row["trace"]


async def _try(pool: Pool, how: JobKind, job: Job, late: bool, trace: dict[str, str]) -> None:
    try:
        with span(f"job {job.kind}", trace.pop("traceparent", None), **trace):
            if late:
                await _finish(pool, job, lambda tx: how.expired(job, tx))
                _EXPIRED.add(1, {"kind": job.kind})
            else:
                async with asyncio.timeout(LEASE.total_seconds() * 0.9):
                    effect = await how.handler(job)
                crash.point("jobs.before-effect")
                await _finish(pool, job, effect)
                _DONE.add(1, {"kind": job.kind})
    except _Superseded:
        log.warning("job %s was claimed by another worker", job.kind)
    except Exception as error:
        await _again(pool, job, error)


async def _finish(pool: Pool, job: Job, effect: Effect) -> None:
    async with transaction(pool) as tx:
        removed = await tx.execute(
            "DELETE FROM chassis.jobs WHERE kind = $1 AND key = $2 AND claim = $3", job.kind, job.key, job.claim
        )
        if not affected(removed):
            raise _Superseded
        await effect(tx)
    crash.point("jobs.after-effect")


async def _again(pool: Pool, job: Job, error: Exception) -> None:
    asked = error if isinstance(error, Retry) else Retry(reason=type(error).__name__)
    log.warning("job %s attempt %d: %s", job.kind, job.attempts, asked.reason)
    _RETRIED.add(1, {"kind": job.kind})
    backoff = timedelta(seconds=min(_FIRST_BACKOFF * 2 ** min(job.attempts, 20), _LONGEST_BACKOFF))
    async with transaction(pool) as tx:
        await tx.execute(
            "UPDATE chassis.jobs SET claim = NULL, run_at = now() + CASE WHEN deadline > now()"
            " THEN least($4::interval, deadline - now()) ELSE $4::interval END"
            " WHERE kind = $1 AND key = $2 AND claim = $3",
            *(job.kind, job.key, job.claim, backoff if asked.after is None else asked.after),
        )


async def take_up(tx: Connection, holder: str) -> None:
    """Let what an earlier process of this instance had claimed be done at once."""
    await tx.execute(
        "UPDATE chassis.jobs SET claim = NULL, run_at = now() WHERE holder = $1 AND claim IS NOT NULL", holder
    )


async def run(pool: Pool, kinds: Mapping[str, JobKind], holder: str, poll: float = 0.2) -> None:
    """Work for ever, each kind with its own number of workers; a missing database is waited for."""
    async with asyncio.TaskGroup() as workers:
        for kind, how in kinds.items():
            watch = asyncio.Lock()
            for _ in range(how.concurrency):
                workers.create_task(_work(pool, kind, how, holder, watch, poll))


async def _work(pool: Pool, kind: str, how: JobKind, holder: str, watch: asyncio.Lock, poll: float) -> None:
    """One worker. Of those that are free one has the watch; when it finds something the next one takes it over, so that
    a job that hangs keeps one worker and no other job.

    Cancelled, it lets the job under way end: what was sent shall be known to have been sent.
    """
    while True:
        async with watch:
            settled = asyncio.Event()
            attempt = asyncio.create_task(run_one(pool, kind, how, holder, settled.set))
            attempt.add_done_callback(partial(_set, settled))
            await _or_end(attempt, settled.wait())
            if attempt.done() and (attempt.exception() or not attempt.result()):
                await asyncio.sleep(poll)
        await _or_end(attempt, asyncio.wait([attempt]))
        if error := attempt.exception():
            log.warning("jobs wait: %s", type(error).__name__)


def _set(event: asyncio.Event, _: object) -> None:
    event.set()


async def _or_end(attempt: "asyncio.Task[bool]", event: Awaitable[object]) -> None:
    """Wait for this; cancelled meanwhile, for the end of the attempt."""
    try:
        await event
    except asyncio.CancelledError:
        await asyncio.wait([attempt], timeout=DRAIN_SECONDS)
        attempt.cancel()
        raise
