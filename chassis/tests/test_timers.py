"""Timers: due by domain time, once each, with their effects."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from chassis import timers
from chassis.clock import Clock
from chassis.database import Connection, Pool, transaction
from chassis.testing import START, FixedClock, until
from chassis.timers import Timer

from .conftest import effects
from .sample import note, ring

RING = {"ring": ring}


async def put(pool: Pool, key: str, number: int = 1, after: float = 0, kind: str = "ring") -> None:
    async with transaction(pool) as tx:
        await timers.put(tx, kind, key, START + timedelta(seconds=after), {"number": number})


async def test_a_timer_fires_when_it_is_due_and_once(pool: Pool) -> None:
    await put(pool, "later", 2, after=60)
    await put(pool, "now", 1)
    assert await timers.fire_due(pool, RING, START) == 1
    assert await effects(pool) == [1]
    assert await timers.fire_due(pool, RING, START + timedelta(seconds=59)) == 0
    assert await timers.fire_due(pool, RING, START + timedelta(seconds=60)) == 1
    assert await effects(pool) == [1, 2]


async def test_the_earliest_fires_first(pool: Pool) -> None:
    for number in (3, 1, 2):
        await put(pool, str(number), number, after=number)
    await timers.fire_due(pool, RING, START + timedelta(minutes=1))
    assert await effects(pool) == [1, 2, 3]


async def test_a_timer_is_moved_by_its_name(pool: Pool) -> None:
    await put(pool, "moved", 1)
    await put(pool, "moved", 2, after=60)
    assert await timers.fire_due(pool, RING, START) == 0
    await timers.fire_due(pool, RING, START + timedelta(minutes=1))
    assert await effects(pool) == [2]


async def test_a_failing_timer_is_rolled_back_tried_later_and_holds_up_nobody(pool: Pool) -> None:
    failing = True

    async def sometimes(timer: Timer, tx: Connection) -> None:
        await note(tx, timer.key, timer.payload["number"])
        if failing:
            raise ValueError("no")

    await put(pool, "bad", 1, kind="sometimes")
    await put(pool, "good", 2, after=1)
    handlers = RING | {"sometimes": sometimes}
    await timers.fire_due(pool, handlers, START + timedelta(minutes=1))
    assert await effects(pool) == [2]
    assert await timers.fire_due(pool, handlers, START + timedelta(minutes=1)) == 0, "not at once"
    failing = False
    await pool.execute("UPDATE chassis.timers SET not_before = now()")
    await timers.fire_due(pool, handlers, START + timedelta(minutes=1))
    assert await effects(pool) == [2, 1]


async def test_two_instances_fire_each_timer_once(pool: Pool) -> None:
    for number in range(40):
        await put(pool, str(number), number)
    await asyncio.gather(*(timers.fire_due(pool, RING, START) for _ in range(4)))
    assert sorted(await effects(pool)) == list(range(40))


async def test_timers_follow_the_movable_clock_and_survive_faults(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, faults = FixedClock(), [OSError(), OSError()]
    fire = timers.fire_due

    async def faulty(*args: Any) -> int:
        if faults:
            raise faults.pop()
        return await fire(*args)

    monkeypatch.setattr(timers, "fire_due", faulty)
    await put(pool, "later", 1, after=3600)
    running = asyncio.create_task(timers.run(pool, RING, clock, poll=0.01))
    await until(lambda: asyncio.sleep(0, not faults))
    clock.advance(timedelta(hours=1))

    async def fired() -> bool:
        return await effects(pool) == [1]

    await until(fired)
    running.cancel()
    await asyncio.wait([running])


def test_domain_time_is_real_time_plus_what_a_file_says(tmp_path: Any) -> None:
    file = tmp_path / "offset"
    clock = Clock(file, lambda: START)
    assert clock.now() == START
    file.write_text("86400")
    assert clock.now() == START + timedelta(days=1)
    file.write_text("x")
    assert clock.now() == START
