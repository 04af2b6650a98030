"""Projections built again from the log are equal, and nothing else happens."""

from typing import Any

import pytest

from chassis.app.recovery import CannotRebuild
from chassis.app.replay import replay
from chassis.app.runtime import Runtime
from chassis.consumer import Received, Rejected
from chassis.consumer.dead_letters import act
from chassis.database import Connection, Pool
from chassis.testing import START, record
from privacy_contracts.accesses import OperatorActed

from .conftest import Subscribed, Told, effects, reached
from .sample import SERVICE, Letter, Sample


def letter(number: int, name: str = "a", **changes: Any) -> Any:
    return record(Letter(name=name, number=number), source="tester", sequence=number, **changes)


async def latest(pool: Pool) -> dict[str, int]:
    return {row["name"]: row["number"] for row in await pool.fetch("SELECT name, number FROM dsr.latest")}


async def everything_else(pool: Pool) -> list[Any]:
    tables = ("dsr.effects", "chassis.outbox", "chassis.inbox", "chassis.positions", "chassis.dead_letters")
    return [await pool.fetch(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]  # noqa: S608 - named here


async def test_wiping_and_replaying_gives_equal_tables_and_nothing_else(
    rt: Runtime[Any], tell: Told, subscribed: Subscribed, sample: Sample
) -> None:
    async def reject(received: Received[Letter], _: Connection) -> None:
        if received.event.name in ("dead", "dropped"):
            raise Rejected("never")

    sample.hook = reject
    for part in range(3):
        await tell(*(letter(number, f"n{part}", partition=part) for number in range(1, 41)))
    await tell(letter(1, "dead"), letter(2, "dead"), letter(1, "dropped", partition=1))
    await tell(letter(41, "n0", headers={"ce_type": b"sample.unknown"}), letter(41, "n0"))
    async with subscribed():
        await reached(rt.pool, 121)
    dropped = await rt.pool.fetchval("SELECT id FROM chassis.dead_letters WHERE key = 'dropped'")
    acted = OperatorActed(
        act=dropped,
        system=SERVICE,
        actor="staff/op-1",
        action="dead_letter_discarded",
        dead_letter=dropped,
        reason="mended",
        acted_at=START,
    )
    await act(rt.pool, rt.sealing, sample.handlers, acted)
    await tell(letter(42, "n0"))  # beyond the stored position
    before, others = await latest(rt.pool), await everything_else(rt.pool)
    assert before == {"n0": 41, "n1": 40, "n2": 40}
    await rt.pool.execute("UPDATE dsr.latest SET number = -1")
    await rt.pool.execute("INSERT INTO dsr.latest VALUES ('stray', 1)")
    assert await replay(rt, sample.app()) == 121
    assert await latest(rt.pool) == before
    assert await everything_else(rt.pool) == others


async def test_it_refuses_while_the_service_runs_or_the_log_is_not_the_one(
    rt: Runtime[Any], tell: Told, sample: Sample
) -> None:
    await rt.pool.execute("INSERT INTO dsr.latest VALUES ('a', 1)")
    await rt.pool.execute("INSERT INTO chassis.leases VALUES ('relay', 'one', 1, now() + interval '5 seconds')")
    with pytest.raises(CannotRebuild, match="the service runs"):
        await replay(rt, sample.app())
    await rt.pool.execute("UPDATE chassis.leases SET expires_at = now()")
    await rt.pool.execute("INSERT INTO chassis.positions VALUES ('letters', 0, 5)")
    await tell(letter(1))
    with pytest.raises(CannotRebuild, match="does not reach the stored position 5"):
        await replay(rt, sample.app())
    assert await latest(rt.pool) == {"a": 1}
    assert await effects(rt.pool) == []
