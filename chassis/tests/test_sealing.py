"""Sealed values: bound to their owner and place, gone with the key, and gone again after a restore."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from chassis.database import Pool, transaction
from chassis.sealing import KeyErased, Sealing, WrongKey
from chassis.testing import until

MASTERS = {1: bytes(32)}
OWNER, PLACE = "account/a1", "accounts.email"


@pytest.fixture
def sealing(tmp_path: Path) -> Sealing:
    return Sealing(MASTERS, tmp_path / "erasures")


async def seal(pool: Pool, sealing: Sealing, owner: str = OWNER, text: str = "ann@example.com") -> bytes:
    async with transaction(pool) as tx:
        return await sealing.seal(tx, owner, text, PLACE)


async def opened(pool: Pool, sealing: Sealing, sealed: bytes, owner: str = OWNER, place: str = PLACE) -> str:
    async with transaction(pool) as tx:
        return await sealing.open(tx, owner, sealed, place)


async def erase(pool: Pool, sealing: Sealing, owner: str = OWNER) -> None:
    async with transaction(pool) as tx:
        await sealing.erase(tx, owner)


async def test_a_value_opens_for_its_owner_in_its_place_and_nowhere_else(pool: Pool, sealing: Sealing) -> None:
    sealed, again = await seal(pool, sealing), await seal(pool, sealing)
    await seal(pool, sealing, "account/other")
    assert sealed != again
    assert b"ann" not in sealed
    assert await opened(pool, sealing, sealed) == "ann@example.com"
    for owner, place in (("account/other", PLACE), (OWNER, "accounts.name"), ("account/none", PLACE)):
        with pytest.raises(KeyErased):
            await opened(pool, sealing, sealed, owner, place)


async def test_erasing_the_key_erases_every_value(pool: Pool, sealing: Sealing) -> None:
    sealed = await seal(pool, sealing)
    await erase(pool, sealing)
    with pytest.raises(KeyErased):
        await opened(pool, sealing, sealed)
    await seal(pool, sealing)
    with pytest.raises(KeyErased):
        await opened(pool, sealing, sealed)


async def test_what_a_restored_backup_brings_back_is_erased_again(pool: Pool, sealing: Sealing, tmp_path: Path) -> None:
    sealed, others = await seal(pool, sealing), await seal(pool, sealing, "account/other")
    backup = await pool.fetch("SELECT owner, master_version, wrapped, created_at FROM keys.owners")
    await erase(pool, sealing)
    await pool.executemany(
        "INSERT INTO keys.owners (owner, master_version, wrapped, created_at) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT DO NOTHING",
        [tuple(row) for row in backup],
    )
    assert await opened(pool, sealing, sealed) == "ann@example.com"
    await Sealing(MASTERS, tmp_path / "erasures").replay_ledger(pool)
    with pytest.raises(KeyErased):
        await opened(pool, sealing, sealed)
    assert await opened(pool, sealing, others, "account/other") == "ann@example.com"


async def test_a_key_made_after_the_erasure_stays(pool: Pool, sealing: Sealing) -> None:
    await seal(pool, sealing)
    await erase(pool, sealing)
    sealed = await seal(pool, sealing)
    await sealing.replay_ledger(pool)
    assert await opened(pool, sealing, sealed) == "ann@example.com"


async def test_a_line_that_a_crash_tore_spoils_no_other(pool: Pool, sealing: Sealing, tmp_path: Path) -> None:
    ledger = tmp_path / "erasures"
    ledger.write_bytes(b'{"owner": "account/torn", "a')
    sealed = await seal(pool, sealing)
    await erase(pool, sealing)
    written = [line for line in ledger.read_text().splitlines() if line]
    assert json.loads(written[1])["owner"] == OWNER
    await sealing.replay_ledger(pool)
    with pytest.raises(KeyErased):
        await opened(pool, sealing, sealed)


async def test_no_ledger_yet_is_no_fault(pool: Pool, sealing: Sealing) -> None:
    await sealing.replay_ledger(pool)


async def test_a_newer_master_key_wraps_new_keys_and_old_ones_still_open(pool: Pool, tmp_path: Path) -> None:
    old = Sealing(MASTERS, tmp_path / "erasures")
    sealed = await seal(pool, old)
    new = Sealing(MASTERS | {2: os.urandom(32)}, tmp_path / "erasures")
    later = await seal(pool, new, "account/later")
    assert await opened(pool, new, sealed) == "ann@example.com"
    assert await opened(pool, new, later, "account/later") == "ann@example.com"
    assert await pool.fetchval("SELECT master_version FROM keys.owners WHERE owner = 'account/later'") == 2
    assert new.fingerprint("email", "x") == old.fingerprint("email", "x")


def test_a_fingerprint_depends_on_purpose_value_and_key(tmp_path: Path) -> None:
    sealing = Sealing(MASTERS, tmp_path / "erasures")
    prints = {
        sealing.fingerprint("email", "a"),
        sealing.fingerprint("email", "b"),
        sealing.fingerprint("phone", "a"),
        Sealing({1: bytes([1]) * 32}, tmp_path / "erasures").fingerprint("email", "a"),
    }
    assert len(prints) == 4
    assert {len(each) for each in prints} == {32}


def test_a_ledger_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    Sealing(MASTERS, tmp_path / "erasures")
    assert (tmp_path / "erasures").exists()
    with pytest.raises(OSError, match="missing"):
        Sealing(MASTERS, tmp_path / "missing" / "erasures")


async def test_an_erasure_waits_for_a_first_sealing_that_has_not_committed(pool: Pool, sealing: Sealing) -> None:
    sealed, go_on = asyncio.Event(), asyncio.Event()

    async def seal() -> None:
        async with transaction(pool) as tx:
            await sealing.seal(tx, "account/late", "a secret", "tests")
            sealed.set()
            await go_on.wait()

    async def erase() -> None:
        async with transaction(pool) as tx:
            await sealing.erase(tx, "account/late")

    sealing_now = asyncio.create_task(seal())
    await sealed.wait()
    erasing = asyncio.create_task(erase())
    await until(lambda: pool.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"))
    go_on.set()
    await asyncio.gather(sealing_now, erasing)
    assert await pool.fetchval("SELECT count(*) FROM keys.owners WHERE owner = 'account/late'") == 0


async def test_another_key_under_a_known_version_is_refused(pool: Pool, tmp_path: Path) -> None:
    async with transaction(pool) as tx:
        await Sealing({1: bytes(32)}, tmp_path / "erasures").check(tx)
        await Sealing({1: bytes(32), 2: bytes([1]) * 32}, tmp_path / "erasures").check(tx)
        with pytest.raises(WrongKey, match="version 2 is another key"):
            await Sealing({1: bytes(32), 2: bytes([2]) * 32}, tmp_path / "erasures").check(tx)
