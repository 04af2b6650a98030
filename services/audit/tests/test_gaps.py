"""Missing numbers on a real database: they open, close, are found, and are resolved. Time is an argument."""

from datetime import datetime, timedelta
from uuid import uuid4

from audit.handlers import CHECK, check_gaps
from chassis.database import transaction
from chassis.testing import run_timers
from privacy_contracts.accesses import Renumbered, ServiceRecovered

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


async def test_numbers_that_an_operator_declares_lost_are_a_finding_that_this_resolves(audit: Service) -> None:
    """2 and 3 were complained of already, 6 to 9 were published behind everything that came here."""
    await come(audit, 1, 4, 5)
    await check(audit, 0)
    await check(audit, 60)
    await come(audit, 12)
    await audit.take(of(recovered("orders", 3, 9), sequence=1))
    await audit.take(of(recovered("requests", 1, 9), sequence=2))
    await check(audit, 61)
    rows = await audit.pool.fetch(
        "SELECT missing::text, reason FROM audit.findings LEFT JOIN audit.resolutions ON finding = id ORDER BY id"
    )
    assert [tuple(row) for row in rows] == [("{[2,4)}", "lost"), ("{[6,10)}", "lost")]
    assert await missing(audit) == "{[10,12)}"


async def test_numbers_that_were_lost_before_anything_behind_them_came_are_not_waited_for(audit: Service) -> None:
    await come(audit, 1)
    await audit.take(of(recovered("requests", 1, 3), sequence=1))
    await come(audit, 4)
    for second in (0, 60, 120):
        await check(audit, second)
    assert (await missing(audit), await audit.kinds()) == ("{}", ["gap"])
    assert await audit.pool.fetchval("SELECT reason FROM audit.resolutions") == "lost"


def recovered(topic: str, log: int, database: int) -> ServiceRecovered:
    """What dsr's operator said: Kafka's last number was `log`, the database's `database`."""
    return ServiceRecovered(
        recovery=uuid4(),
        system="dsr",
        actor="staff/operator-01",
        reason="restored",
        topics=[Renumbered(topic=topic, database=database, log=log)],
        positions=[],
        recovered_at=AT,
    )
