"""Jobs: at least once outside, once inside."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from chassis import jobs
from chassis.database import Connection, Pool, transaction
from chassis.jobs import Effect, Job, JobKind, Retry
from chassis.telemetry import span
from chassis.testing import until

from .conftest import effects
from .sample import expired, note

Outside = Callable[[Job], Awaitable[None]]


def kind(outside: Outside | None = None, end: Any = expired, concurrency: int = 2) -> JobKind:
    """A kind of job that does something outside, then notes its attempt."""

    async def handler(job: Job) -> Effect:
        if outside:
            await outside(job)
        return lambda tx: note(tx, job.key, job.attempts)

    return JobKind(handler, end, concurrency)


async def put(pool: Pool, *keys: str, deadline: float = 60, **payload: Any) -> None:
    async with transaction(pool) as tx:
        for key in keys:
            await jobs.put(tx, "call", key, payload, timedelta(seconds=deadline))


async def run(pool: Pool, how: JobKind) -> bool:
    return await jobs.run_one(pool, "call", how)


async def waiting(pool: Pool) -> float | None:
    """Seconds until the only job may run again; None when there is none."""
    found: float | None = await pool.fetchval(
        "SELECT extract(epoch FROM run_at - now())::float FROM chassis.jobs WHERE claim IS NULL"
    )
    return found


async def at_once(pool: Pool) -> None:
    await pool.execute("UPDATE chassis.jobs SET run_at = now()")


async def test_a_job_is_done_and_gone(pool: Pool) -> None:
    await put(pool, "a", "a", "b")
    how = kind()
    assert [await run(pool, how) for _ in range(3)] == [True, True, False]
    assert await effects(pool, "a") == [1]
    assert await effects(pool, "b") == [1]


async def test_many_are_put_at_once(pool: Pool) -> None:
    async with transaction(pool) as tx:
        await jobs.put_many(tx, "call", ["a", "b", "a"], {"n": 1}, timedelta(minutes=1))
    assert await pool.fetchval("SELECT count(*) FROM chassis.jobs") == 2


async def test_a_job_put_by_a_transaction_that_fails_is_not_there(pool: Pool) -> None:
    async with pool.acquire() as connection:
        transaction_ = connection.transaction()
        await transaction_.start()
        await jobs.put(connection, "call", "a", {}, timedelta(minutes=1))
        await transaction_.rollback()
    assert not await run(pool, kind())


async def test_a_failing_job_is_tried_again_and_longer_apart(pool: Pool) -> None:
    async def fail(_: Job) -> None:
        raise ValueError("no")

    await put(pool, "a", deadline=10_000)
    delays = []
    for _ in range(4):
        await at_once(pool)
        await run(pool, kind(fail))
        delays.append(math.ceil(await waiting(pool) or 0))
    assert delays == [1, 2, 4, 8]
    await at_once(pool)
    await run(pool, kind())
    assert await effects(pool) == [5]


async def test_a_job_says_when_it_wants_to_be_tried_again(pool: Pool) -> None:
    async def later(_: Job) -> None:
        raise Retry(timedelta(seconds=33), "busy")

    await put(pool, "a")
    await run(pool, kind(later))
    assert math.ceil(await waiting(pool) or 0) == 33


async def test_a_job_that_is_late_ends_by_its_other_way_out(pool: Pool) -> None:
    async def never(_: Job) -> None:
        raise AssertionError("it is too late for this")

    await put(pool, "a", deadline=0)
    await run(pool, kind(never))
    assert await effects(pool) == [-1]
    assert await waiting(pool) is None


async def test_backoff_does_not_pass_the_deadline(pool: Pool) -> None:
    async def later(_: Job) -> None:
        raise Retry(timedelta(hours=1))

    await put(pool, "a", deadline=20)
    await run(pool, kind(later))
    assert math.ceil(await waiting(pool) or 0) == 20


async def test_a_way_out_that_fails_is_tried_again_without_a_rush(pool: Pool) -> None:
    async def fail(_: Job, __: Connection) -> None:
        raise ValueError("no")

    await put(pool, "a", deadline=-1)
    await run(pool, kind(end=fail))
    assert math.ceil(await waiting(pool) or 0) == 1


async def test_a_claim_that_was_superseded_has_no_effect(pool: Pool) -> None:
    inside, go = asyncio.Event(), asyncio.Event()

    async def slow(job: Job) -> None:
        if job.attempts == 1:
            inside.set()
            await go.wait()

    await put(pool, "a")
    first = asyncio.create_task(run(pool, kind(slow)))
    await inside.wait()
    await at_once(pool)  # as when the lease of a paused process runs out
    await run(pool, kind(slow))
    go.set()
    await first
    assert await effects(pool) == [2]


async def test_an_instance_takes_up_at_once_what_it_had_claimed_before_it_died(pool: Pool) -> None:
    await put(pool, "mine", "others")
    await pool.execute(
        "UPDATE chassis.jobs SET claim = gen_random_uuid(), attempts = 1, run_at = now() + interval '1 minute',"
        " holder = CASE key WHEN 'mine' THEN 'one' ELSE 'two' END"
    )
    async with transaction(pool) as tx:
        await jobs.take_up(tx, "one")
    running = asyncio.create_task(jobs.run(pool, {"call": kind()}, "one", poll=0.01))

    async def taken() -> bool:
        return await effects(pool, "mine") == [2]

    await until(taken)
    running.cancel()
    await asyncio.wait([running])
    assert await effects(pool, "others") == []


async def test_workers_share_the_work_and_a_job_under_way_ends_before_they_do(pool: Pool) -> None:
    busy, most = 0, 0

    async def outside(_: Job) -> None:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0.1)
        busy -= 1

    await put(pool, *(str(each) for each in range(9)))
    running = asyncio.create_task(jobs.run(pool, {"call": kind(outside, concurrency=3)}, "one", poll=0.01))
    await until(lambda: asyncio.sleep(0, busy == 3))
    running.cancel()
    await asyncio.wait([running])
    assert most == 3
    assert len(await effects(pool)) in (3, 6, 9)
    assert await pool.fetchval("SELECT count(*) FROM chassis.jobs WHERE claim IS NOT NULL") == 0


async def test_a_job_that_hangs_holds_up_no_other(pool: Pool) -> None:
    """Whether the others were there before it, or come while it hangs."""
    go = asyncio.Event()

    async def outside(job: Job) -> None:
        if job.key == "hangs":
            await go.wait()

    async def done(key: str) -> bool:
        return await effects(pool, key) == [1]

    await put(pool, "hangs", "before")
    running = asyncio.create_task(jobs.run(pool, {"call": kind(outside)}, "one", poll=0.01))
    await until(lambda: done("before"))
    await put(pool, "after")
    await until(lambda: done("after"))
    assert await effects(pool, "hangs") == []
    go.set()
    await until(lambda: done("hangs"))
    running.cancel()
    await asyncio.wait([running])


async def test_a_job_goes_on_in_the_trace_that_put_it(pool: Pool) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    with span("test", f"00-{trace}-b7ad6b7169203331-01"):
        await put(pool, "a")
    await run(pool, kind())
    assert trace in str(await pool.fetchval("SELECT trace FROM dsr.effects"))
