"""Domain time may jump. What leases, waits or backs off must not notice: its time is the database's or monotonic."""

import ast
from datetime import timedelta
from pathlib import Path
from typing import Any

import chassis
from chassis import timers
from chassis.clock import Clock
from chassis.database import Connection, Pool, transaction
from chassis.testing import START, FixedClock
from chassis.timers import Timer

from .conftest import effects
from .sample import note, ring

TELL_DOMAIN_TIME = {"clock", "timers", "app/runtime", "app/verbs", "app/letters", "app/idempotency", "app/service"}
"""The modules that may know of a clock: none of those that lease, claim, renew or back off."""
READ_THE_WALL = {"clock"}
"""`Subscription.lag` asks the clock's own `real` for how old a record is."""


def _names(source: str) -> set[str]:
    """What is imported, and what is called as an attribute: `time.time`, `datetime.now`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{each.name}" for each in node.names}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.add(f"{node.value.id}.{node.attr}")
    return found


def test_what_leases_or_backs_off_knows_no_clock_that_may_jump() -> None:
    root = Path(chassis.__path__[0])
    modules = {
        str(file.relative_to(root).with_suffix("")): _names(file.read_text("utf-8")) for file in root.rglob("*.py")
    }
    modules.pop("testing")
    assert {name for name, used in modules.items() if "chassis.clock.Clock" in used} <= TELL_DOMAIN_TIME
    wall = {"time.time", "datetime.now", "datetime.utcnow", "date.today"}
    assert {name for name, used in modules.items() if used & wall} == READ_THE_WALL
    assert {name for name, used in modules.items() if "chassis.clock.real" in used} == {"consumer/subscription"}


async def test_a_jump_ahead_and_back_fires_each_timer_once(pool: Pool) -> None:
    clock = FixedClock()
    async with transaction(pool) as tx:
        for number, days in enumerate((30, 400), 1):
            await timers.put(tx, "ring", str(number), START + timedelta(days=days), {"number": number})
    clock.advance(timedelta(days=365))
    assert await timers.fire_due(pool, {"ring": ring}, clock.now()) == 1
    clock.advance(timedelta(days=-366))
    assert await timers.fire_due(pool, {"ring": ring}, clock.now()) == 0
    clock.advance(timedelta(days=366 + 36))
    assert await timers.fire_due(pool, {"ring": ring}, clock.now()) == 1
    assert await effects(pool) == [1, 2]


async def test_a_jump_does_not_shorten_the_wait_of_a_timer_that_failed(pool: Pool) -> None:
    async def fail(timer: Timer, tx: Connection) -> None:
        await note(tx, timer.key, 1)
        raise ValueError("no")

    async with transaction(pool) as tx:
        await timers.put(tx, "fail", "a", START)
    assert await timers.fire_due(pool, {"fail": fail}, START) == 1
    assert await timers.fire_due(pool, {"fail": fail}, START + timedelta(days=365)) == 0


def test_a_clock_may_be_put_back(tmp_path: Any) -> None:
    file, clock = tmp_path / "clock", Clock(tmp_path / "clock", lambda: START)
    file.write_text("-86400")
    assert clock.now() == START - timedelta(days=1)
