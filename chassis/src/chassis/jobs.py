"""Work that reaches outside, between transactions: claimed, tried, and finished in one transaction with its effect.

A job runs at least once. Its effect commits with its removal and only under the claim that ran it, so the effect
happens once. Time here is real time.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from chassis import crash
from chassis.database import Connection, Pool, affected, transaction
from chassis.telemetry import counter, span, traceparent

log = logging.getLogger(__name__)
_DONE = counter("jobs_done", "jobs whose effect committed")
_RETRIED = counter("jobs_retried", "attempts that will be repeated")
_EXPIRED = counter("jobs_expired", "jobs that met their deadline")

LEASE = timedelta(seconds=60)
DRAIN_SECONDS = 5
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.5, 600.0


@dataclass(frozen=True)
class Job:
    """One job, unique by kind and key. `attempts` counts this one, from 1."""

    kind: str
    key: str
    payload: dict[str, Any]
    attempts: int


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
        "INSERT INTO chassis.jobs (kind, key, payload, deadline, traceparent)"
        " SELECT $1, key, $3, now() + $4::interval, $5 FROM unnest($2::text[]) AS key ON CONFLICT DO NOTHING",
        kind,
        keys,
        payload,
        deadline,
        traceparent(),
    )


async def cancel(tx: Connection, kind: str, key: str) -> None:
    """Remove a job, if it is there; one under way loses its claim, and its effect will not commit."""
    await tx.execute("DELETE FROM chassis.jobs WHERE kind = $1 AND key = $2", kind, key)


async def run_one(pool: Pool, kind: str, how: JobKind, holder: str = "") -> bool:
    """Claim and try one job of this kind. False when none is due."""
    async with transaction(pool) as tx:
        row = await tx.fetchrow(
            "UPDATE chassis.jobs SET claim = $2, holder = $4, attempts = attempts + 1, run_at = now() + $3::interval"
            " WHERE (kind, key) = (SELECT kind, key FROM chassis.jobs WHERE kind = $1 AND run_at <= now()"
            " ORDER BY run_at LIMIT 1 FOR UPDATE SKIP LOCKED)"
            " RETURNING kind, key, payload, attempts, claim, traceparent, deadline <= now() AS late",
            kind,
            uuid7(),
            LEASE,
            holder,
        )
    if row is None:
        return False
    crash.point("jobs.after-claim")
    job, claim = Job(row["kind"], row["key"], row["payload"], row["attempts"]), row["claim"]
    try:
        with span(f"job {kind}", row["traceparent"]):
            if row["late"]:
                await _finish(pool, job, claim, lambda tx: how.expired(job, tx))
                _EXPIRED.add(1, {"kind": kind})
            else:
                async with asyncio.timeout(LEASE.total_seconds() * 0.9):
                    effect = await how.handler(job)
                crash.point("jobs.before-effect")
                await _finish(pool, job, claim, effect)
                _DONE.add(1, {"kind": kind})
    except _Superseded:
        log.warning("job %s was claimed by another worker", kind)
    except Exception as error:
        await _again(pool, job, claim, error)
    return True


async def _finish(pool: Pool, job: Job, claim: UUID, effect: Effect) -> None:
    async with transaction(pool) as tx:
        removed = await tx.execute(
            "DELETE FROM chassis.jobs WHERE kind = $1 AND key = $2 AND claim = $3", job.kind, job.key, claim
        )
        if not affected(removed):
            raise _Superseded
        await effect(tx)
    crash.point("jobs.after-effect")


async def _again(pool: Pool, job: Job, claim: UUID, error: Exception) -> None:
    reason = error.reason if isinstance(error, Retry) else type(error).__name__
    log.warning("job %s attempt %d: %s", job.kind, job.attempts, reason)
    _RETRIED.add(1, {"kind": job.kind})
    after = error.after if isinstance(error, Retry) else None
    if after is None:
        after = timedelta(seconds=min(_FIRST_BACKOFF * 2 ** min(job.attempts, 20), _LONGEST_BACKOFF))
    async with transaction(pool) as tx:
        await tx.execute(
            "UPDATE chassis.jobs SET claim = NULL, run_at = now() + CASE WHEN deadline > now()"
            " THEN least($4::interval, deadline - now()) ELSE $4::interval END"
            " WHERE kind = $1 AND key = $2 AND claim = $3",
            job.kind,
            job.key,
            claim,
            after,
        )


async def run(pool: Pool, kinds: Mapping[str, JobKind], holder: str, poll: float = 0.2) -> None:
    """Work for ever, each kind with its own number of workers; a missing database is waited for.

    `holder` names this instance: what an earlier process of it had claimed is taken up at once.
    """
    while True:
        try:
            async with transaction(pool) as tx:
                await tx.execute(
                    "UPDATE chassis.jobs SET claim = NULL, run_at = now() WHERE holder = $1 AND claim IS NOT NULL",
                    holder,
                )
            break
        except Exception as error:
            log.warning("jobs wait: %s", type(error).__name__)
            await asyncio.sleep(1)
    async with asyncio.TaskGroup() as workers:
        for kind, how in kinds.items():
            found = asyncio.Event()
            for number in range(how.concurrency):
                workers.create_task(_work(pool, kind, how, holder, found, poll if number == 0 else None))


async def _work(pool: Pool, kind: str, how: JobKind, holder: str, found: asyncio.Event, poll: float | None) -> None:
    """One worker. The first of a kind polls; it wakes the others when it finds something.

    Cancelled, it lets the job under way end: what was sent shall be known to have been sent.
    """
    while True:
        attempt = asyncio.create_task(run_one(pool, kind, how, holder))
        try:
            busy = await asyncio.shield(attempt)
        except asyncio.CancelledError:
            await asyncio.wait([attempt], timeout=DRAIN_SECONDS)
            attempt.cancel()
            raise
        except Exception as error:
            log.warning("jobs wait: %s", type(error).__name__)
            busy = False
        if busy:
            found.set()
            continue
        found.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(poll):
                await found.wait()
