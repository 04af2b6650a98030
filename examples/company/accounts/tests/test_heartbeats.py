"""Heartbeats reach every partition, and come at half the compaction lag."""

from datetime import timedelta

from accounts import heartbeats
from chassis.testing import run_timers

from .conftest import Accounts


async def test_every_partition_gets_one_at_once_and_the_next_at_half_the_lag(accounts: Accounts) -> None:
    await heartbeats.begin(accounts.runtime)
    assert await run_timers(accounts.app, accounts.runtime) == heartbeats.PARTITIONS
    beats = await accounts.emitted("accounts.heartbeat")
    assert {heartbeats.partition_of(beat.key) for beat in beats} == set(range(heartbeats.PARTITIONS))
    assert {heartbeats.partition_of(beat.key) for beat in beats} == {beat.body["partition"] for beat in beats}
    half = timedelta(seconds=accounts.runtime.settings.compaction_lag_seconds) / 2
    accounts.advance(half - timedelta(seconds=1))
    assert await run_timers(accounts.app, accounts.runtime) == 0
    accounts.advance(timedelta(seconds=1))
    assert await run_timers(accounts.app, accounts.runtime) == heartbeats.PARTITIONS


async def test_a_restart_starts_no_second_series(accounts: Accounts) -> None:
    for _ in range(2):
        await heartbeats.begin(accounts.runtime)
    assert await run_timers(accounts.app, accounts.runtime) == heartbeats.PARTITIONS
