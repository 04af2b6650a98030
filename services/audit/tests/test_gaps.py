"""Missing numbers on a real database: they open, close, are found, and are resolved. Time is an argument."""

from datetime import datetime, timedelta

from audit.handlers import CHECK, check_gaps
from chassis.database import transaction
from chassis.testing import run_timers

from .conftest import Service
from .records import AT, deletion, of, record


async def check(audit: Service, seconds: int, found_at: datetime = AT) -> None:
    async with transaction(audit.pool) as tx:
        await check_gaps(tx, found_at, AT + timedelta(seconds=seconds))


async def missing(audit: Service) -> str:
    return str(await audit.pool.fetchval("SELECT missing::text FROM audit.tracks WHERE topic = 'requests'"))


async def come(audit: Service, *numbers: int, partition: int = 0) -> None:
    await audit.take(*(of(deletion(), sequence=number, partition=partition) for number in numbers))


async def test_partitions_read_out_of_step_are_no_finding(audit: Service) -> None:
    await come(audit, 2, 4, 6, partition=1)
    assert await missing(audit) == "{[1,2),[3,4),[5,6)}"
    await check(audit, 0)
    await come(audit, 1, 3, 5, partition=0)
    await check(audit, 300)
    assert (await missing(audit), await audit.kinds()) == ("{}", [])


async def test_a_gap_of_sixty_seconds_is_a_finding_and_a_late_arrival_resolves_it(audit: Service) -> None:
    await come(audit, 1, 4)
    for second in (0, 15, 30, 45):
        await check(audit, second)
    assert await audit.kinds() == []
    for second in (60, 75, 90):
        await check(audit, second)
    assert await audit.kinds() == ["gap"]
    row = await audit.pool.fetchrow("SELECT topic, source, missing::text FROM audit.findings")
    assert tuple(row or ()) == ("requests", "dsr", "{[2,4)}")
    await come(audit, 3)
    await check(audit, 105)
    assert await audit.pool.fetchval("SELECT count(*) FROM audit.resolutions") == 0
    await come(audit, 2)
    await check(audit, 120)
    assert tuple(await audit.pool.fetchrow("SELECT finding, reason FROM audit.resolutions") or ()) == (1, "arrived")
    await check(audit, 135)
    assert await audit.kinds() == ["gap"]


async def test_topics_and_sources_count_for_themselves(audit: Service) -> None:
    await come(audit, 1, 2)
    await audit.take(record(source="orders", sequence=9))
    rows = await audit.pool.fetch("SELECT topic, source, high FROM audit.tracks")
    assert [tuple(row) for row in rows] == [("requests", "dsr", 2)]


async def test_a_number_used_twice_is_a_finding(audit: Service) -> None:
    await come(audit, 1, 2)
    await come(audit, 2)
    assert await audit.kinds() == ["sequence_reused"]
    assert await audit.pool.fetchval("SELECT entry FROM audit.findings") == 2


async def test_a_repeat_does_not_count_again(audit: Service) -> None:
    one = of(deletion(), sequence=1)
    await audit.take(one)
    await audit.take(one)
    assert await audit.kinds() == []


async def test_the_check_sets_itself_again(audit: Service) -> None:
    assert audit.app.on_start is not None
    await audit.app.on_start()
    await audit.app.on_start()
    await come(audit, 2)
    for _ in range(3):
        assert await run_timers(audit.app, audit.runtime) == 1
        audit.runtime.clock.advance(timedelta(seconds=15))  # type: ignore[attr-defined]  # the tests' clock
    assert await audit.pool.fetchval("SELECT count(*) FROM chassis.timers WHERE kind = $1", CHECK) == 1


async def test_moving_the_clock_makes_no_gap_old(audit: Service) -> None:
    """How long a number is missed is real time: 20 days of a moved clock are no 60 seconds."""
    assert audit.app.on_start is not None
    await audit.app.on_start()
    await come(audit, 2)
    for _ in range(3):
        await run_timers(audit.app, audit.runtime)
        audit.runtime.clock.advance(timedelta(days=20))  # type: ignore[attr-defined]  # the tests' clock
    assert await audit.kinds() == []
