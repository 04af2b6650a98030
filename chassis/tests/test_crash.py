"""A process is killed at each named point while work comes in; afterwards every effect is there once, in order."""

import asyncio
import contextlib
import itertools
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from chassis import jobs, timers
from chassis.app.runtime import Runtime
from chassis.crash import POINTS
from chassis.database import transaction
from chassis.testing import record, until

from .conftest import Processes, Told, effects, letters, published
from .sample import Letter

NAMES = ("a", "b", "c")


class Work:
    """Letters, timers and jobs that keep coming."""

    def __init__(self, rt: Runtime[Any], tell: Told, outside: Path) -> None:
        self.rt, self.tell, self.outside = rt, tell, outside
        self.rounds = 0
        self.enough = False

    async def feed(self) -> None:
        for number in itertools.takewhile(lambda _: not self.enough, itertools.count(1)):
            await self.tell(
                *(
                    record(Letter(name=name, number=number), source="tester", sequence=number, partition=part)
                    for part, name in enumerate(NAMES)
                )
            )
            async with transaction(self.rt.pool) as tx:
                due = datetime.now(UTC) + timedelta(milliseconds=200)
                await timers.put(tx, "ring", f"ring-{number}", due, {"number": number})
                await timers.put(tx, "forget", f"forget-{number}", due, {"number": number})
                await jobs.put(tx, "call", f"call-{number}", {"file": str(self.outside)}, timedelta(minutes=5))
            self.rounds = number
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def coming(work: Work) -> AsyncIterator[None]:
    feeding = asyncio.create_task(work.feed())
    try:
        yield
    finally:
        work.enough = True
        await feeding


async def test_effects_happen_once_whenever_the_process_dies(
    rt: Runtime[Any], tell: Told, process: Processes, tmp_path: Path
) -> None:
    work = Work(rt, tell, tmp_path / "outside")
    async with coming(work):
        out, err = await (await process("serve", script="crashing.py")).communicate()
    ended = dict(line.split() for line in out.decode().splitlines())
    assert ended == {point: str(-signal.SIGKILL) for point in POINTS}, err.decode()[-2000:]

    await process("serve")
    await until(lambda: done(rt, work.rounds), 40)

    numbers = range(1, work.rounds + 1)
    for name in NAMES:
        assert (await effects(rt.pool, name))[: work.rounds] == list(numbers)
    by_name = Counter(row["name"] for row in await rt.pool.fetch("SELECT name FROM dsr.effects"))
    assert {each for each, count in by_name.items() if count > 1} <= set(NAMES)
    for number in numbers:
        assert by_name[f"ring-{number}"] == by_name[f"forget-{number}"] == by_name[f"call-{number}"] == 1
    assert await letters(rt.pool) == []
    assert await rt.pool.fetchval("SELECT count(*) FROM keys.owners") == 0
    calls = Counter((tmp_path / "outside").read_text().split())
    assert sum(calls.values()) - len(calls) <= len(POINTS) * 2, "a call is repeated for a kill only"
    await relayed(rt)


async def done(rt: Runtime[Any], rounds: int) -> bool:
    left = await rt.pool.fetchval(
        "SELECT (SELECT count(*) FROM chassis.outbox) + (SELECT count(*) FROM chassis.jobs)"
        " + (SELECT count(*) FROM chassis.timers)"
    )
    read = await rt.pool.fetchval("SELECT count(*) FROM dsr.effects WHERE name = ANY($1)", list(NAMES))
    return bool(left == 0 and read >= rounds * len(NAMES))


async def relayed(rt: Runtime[Any]) -> None:
    """Numbers without gaps, one id to each, and first occurrences in order per key."""
    found = await published(rt)
    by_number: dict[int, set[str | None]] = {}
    for each in found:
        by_number.setdefault(int(each.header("ce_sequence") or 0), set()).add(each.header("ce_id"))
    assert sorted(by_number) == list(range(1, len(by_number) + 1))
    assert all(len(ids) == 1 for ids in by_number.values())
    assert len(set.union(*by_number.values())) == len(by_number)
    for name in NAMES:
        seen: list[int] = []
        for each in found:
            number = int(json.loads(each.value or b"{}")["number"])
            if each.key == name.encode() and number not in seen:
                seen.append(number)
        assert seen == sorted(seen)
        assert seen == list(range(1, len(seen) + 1))
