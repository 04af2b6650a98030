"""The nightly job takes the bytes of deleted rows off the disk; VACUUM alone would leave them beside rows that stay."""

from collections.abc import Callable
from typing import Any

import asyncpg

from chassis.app import Runtime
from chassis.database import Pool, transaction
from chassis.outbox import emit
from chassis.testing import START, Database
from dsr.queries import accounts
from local_stack import databases
from local_stack.servers import Servers
from privacy_contracts.accounts import AccountStated
from privacy_contracts.fields import Personal

from .story import REWRITE, psql

ADDRESS, PRINT = "Ada.d1e2f3a4@example.com", b"the keyed hash of Ada's address!"


async def test_what_was_deleted_leaves_the_disk_with_the_nightly_job(
    servers: Servers, database: Database, runtime: Callable[..., Runtime[Any]]
) -> None:
    async with database("dsr") as pool:
        name, roles = await pool.fetchval("SELECT current_database()"), servers.postgres.roles
        disk = await asyncpg.connect(servers.postgres.url, database=name)
        try:
            await _come(pool, runtime("dsr", pool), "a0", "Boris.5e6f@example.com", b"that of Boris' address")
            key = await _come(pool, runtime("dsr", pool), "a1", ADDRESS, PRINT)
            await _go(pool, runtime("dsr", pool), "a1")
            hidden = {"keys.owners": key, "chassis.outbox": ADDRESS.encode(), "dsr.accounts": PRINT}
            assert [table for table, value in hidden.items() if value not in await _bytes(disk, table)] == []
            owner = databases.url(servers.postgres.port, "dsr_owner", roles["dsr_owner"], name)
            await psql(owner, REWRITE.read_bytes())
            assert [table for table, value in hidden.items() if value in await _bytes(disk, table)] == []
        finally:
            await disk.close()


async def _come(pool: Pool, runtime: Runtime[Any], account: str, email: str, fingerprint: bytes) -> bytes:
    """Somebody's rows are written; their key, as it is wrapped."""
    stated = AccountStated(id=account, version=1, email=Personal(email), name=Personal("Ada"), registered_at=START)
    async with transaction(pool) as tx:
        sealed = await runtime.sealing.seal(tx, f"account/{account}", email, "accounts.email")
        await accounts.put(tx, account, 1, sealed, fingerprint, START)
        await emit(tx, stated, START)
        key: bytes = await tx.fetchval("SELECT wrapped FROM keys.owners WHERE owner = $1", f"account/{account}")
    return key


async def _go(pool: Pool, runtime: Runtime[Any], account: str) -> None:
    """They are deleted, and what was to be published of them is published."""
    async with transaction(pool) as tx:
        await runtime.sealing.erase(tx, f"account/{account}")
        await accounts.bury(tx, account, START)
        await tx.execute("DELETE FROM chassis.outbox WHERE key = $1", account)


async def _bytes(disk: "asyncpg.Connection[asyncpg.Record]", table: str) -> bytes:
    """The table's file, once what is in memory is written."""
    await disk.execute("CHECKPOINT")
    return bytes(await disk.fetchval("SELECT pg_read_binary_file(pg_relation_filepath($1::text::regclass))", table))
