"""Timers in domain time. A timer's effects and its removal commit together, so that each fires once."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chassis import crash
from chassis.clock import Clock
from chassis.database import Connection, Pool, repeat, transaction
from chassis.telemetry import carried, counter, span

log = logging.getLogger(__name__)
_FIRED = counter("timers_fired", "timers whose effects committed")
_FAILED = counter("timers_failed", "attempts that were rolled back")


@dataclass(frozen=True)
class Timer:
    """One timer, unique by kind and key."""

    kind: str
    key: str
    due_at: datetime
    payload: dict[str, Any]
    trace: dict[str, str]


TimerHandler = Callable[[Timer, Connection], Awaitable[None]]


async def put(tx: Connection, kind: str, key: str, due_at: datetime, payload: dict[str, Any] | None = None) -> None:
    """Set a timer, or move it."""
    await tx.execute(
        "INSERT INTO chassis.timers (kind, key, due_at, payload, trace) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (kind, key) DO UPDATE SET due_at = excluded.due_at, payload = excluded.payload,"
        " trace = excluded.trace, not_before = '-infinity', failures = 0",
        *(kind, key, due_at, payload or {}, carried()),
    )


async def fire_due(pool: Pool, handlers: Mapping[str, TimerHandler], now: datetime, limit: int = 100) -> int:
    """Try up to `limit` timers that are due, one transaction each. Returns how many were tried.

    A timer whose handler fails is tried again later and longer apart; the others go on.
    """
    for tried in range(limit):
        if not await _fire_one(pool, handlers, now):
            return tried
    return limit


async def _fire_one(pool: Pool, handlers: Mapping[str, TimerHandler], now: datetime) -> bool:
    timer = None
    try:
        async with transaction(pool) as tx:
            row = await tx.fetchrow(
                "DELETE FROM chassis.timers WHERE (kind, key) = ("
                " SELECT kind, key FROM chassis.timers WHERE due_at <= $1 AND not_before <= now() AND kind = ANY($2)"
                " ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING kind, key, due_at, payload, trace",
                *(now, list(handlers)),
            )
            if row is None:
                return False
            timer = Timer(**row)
            with span(f"timer {timer.kind}", links=[timer.trace.pop("traceparent", None)], **timer.trace):
                await handlers[timer.kind](timer, tx)
            crash.point("timers.before-commit")
        crash.point("timers.after-commit")
        _FIRED.add(1, {"kind": timer.kind})
    except Exception as error:
        if timer is None:
            raise
        log.warning("timer %s failed: %s", timer.kind, type(error).__name__)
        _FAILED.add(1, {"kind": timer.kind})
        async with transaction(pool) as tx:
            await tx.execute(
                "UPDATE chassis.timers SET failures = failures + 1,"
                " not_before = now() + least(interval '1 second' * 2 ^ least(failures, 12), interval '1 hour')"
                " WHERE kind = $1 AND key = $2",
                *(timer.kind, timer.key),
            )
    return True


async def run(pool: Pool, handlers: Mapping[str, TimerHandler], clock: Clock, poll: float = 0.3) -> None:
    """Fire timers for ever. `poll` is in seconds; a missing database is waited for."""
    await repeat("timers", lambda: fire_due(pool, handlers, clock.now()), poll)
