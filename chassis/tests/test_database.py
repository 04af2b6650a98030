"""A lost connection is told as such, however the client library words it; an idle transaction is lost in time."""

import asyncio
from unittest.mock import AsyncMock, Mock

import asyncpg
import pytest

from chassis.database import Connection, Pool, Unavailable, end_stopped, transaction
from chassis.testing import until
from local_stack.servers import Servers


async def _lose(tx: Connection, servers: Servers) -> None:
    """End the connection's backend, and wait until the pool has dropped it."""
    backend = await tx.fetchval("SELECT pg_backend_pid()")
    admin = await asyncpg.connect(servers.postgres.url)
    await admin.execute("SELECT pg_terminate_backend($1)", backend)
    await admin.close()

    async def dropped() -> bool:
        try:
            tx.is_closed()
        except asyncpg.InterfaceError:
            return True
        return False

    await until(dropped)


async def _use_a_lost_one(pool: Pool, servers: Servers) -> None:
    async with transaction(pool) as tx:
        await _lose(tx, servers)
        await tx.execute("SELECT 1")


async def test_a_connection_that_the_pool_has_dropped_is_a_lost_one(pool: Pool, servers: Servers) -> None:
    with pytest.raises(Unavailable):
        await _use_a_lost_one(pool, servers)
    async with transaction(pool) as tx:
        assert await tx.fetchval("SELECT 1") == 1


async def _misunderstand(pool: Pool, seen: list[int]) -> None:
    async with transaction(pool) as tx:
        seen.append(await tx.fetchval("SELECT pg_backend_pid()"))
        raise asyncpg.InternalClientError("cannot process message")


async def test_a_server_that_the_client_does_not_understand_is_away(pool: Pool) -> None:
    """As when it is killed in the middle of an answer."""
    seen: list[int] = []
    with pytest.raises(Unavailable):
        await _misunderstand(pool, seen)
    async with transaction(pool) as tx:
        assert await tx.fetchval("SELECT pg_backend_pid()") not in seen


async def test_a_server_that_cannot_be_understood_from_the_start_is_away() -> None:
    pool = Mock(acquire=AsyncMock(side_effect=asyncpg.InternalClientError("while authenticating")))
    with pytest.raises(Unavailable):
        await _misunderstand(pool, [])


async def test_a_transaction_in_which_nothing_happens_ends_after_ten_seconds(pool: Pool) -> None:
    """A process that was stopped in its middle would keep its locks for as long as it stands."""
    with pytest.raises(Unavailable):
        await _fall_asleep(pool)


async def _fall_asleep(pool: Pool) -> None:
    async with transaction(pool) as tx:
        assert await tx.fetchval("SHOW idle_in_transaction_session_timeout") == "10s"
        await tx.execute("SET LOCAL idle_in_transaction_session_timeout = '20ms'")

        async def ended() -> bool:
            async with transaction(pool) as other:
                alive = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
                return not await other.fetchval(alive + " AND datname = current_database()")

        await until(ended)
        await tx.execute("SELECT 1")


async def test_who_stopped_in_the_middle_of_a_statement_lets_go_of_its_locks(pool: Pool) -> None:
    """Between two messages of one statement Postgres takes a transaction for active, not for idle."""
    with pytest.raises(Unavailable):
        await _stop_in_a_statement(pool)


async def test_who_stopped_while_an_answer_came_lets_go_of_its_locks(pool: Pool, database_url: str) -> None:
    """More of it than fits on the way: to Postgres this is an active transaction too."""
    stopped = await asyncpg.connect(database_url)
    await stopped.execute("BEGIN")
    await stopped.execute("SELECT pg_advisory_xact_lock(1)")
    stopped._transport.pause_reading()  # type: ignore[attr-defined]  # nothing public stops reading
    answer = asyncio.create_task(stopped.execute("SELECT repeat('x', 1000000) FROM generate_series(1, 100)"))

    async def let_go() -> bool:
        await end_stopped(pool, 0.1)
        async with transaction(pool) as other:
            return bool(await other.fetchval("SELECT pg_try_advisory_xact_lock(1)"))

    await until(let_go)
    stopped.terminate()
    with pytest.raises(asyncpg.PostgresConnectionError):
        await answer


async def _stop_in_a_statement(pool: Pool) -> None:
    async with transaction(pool) as tx:
        await tx.execute("SELECT pg_advisory_xact_lock(1)")
        await tx.prepare("SELECT 1")  # more messages belong to a statement

        async def let_go(after: float = 0.1) -> bool:
            await end_stopped(pool, after)
            async with transaction(pool) as other:
                return bool(await other.fetchval("SELECT pg_try_advisory_xact_lock(1)"))

        assert not await let_go(after=15)
        await until(let_go)
        await tx.execute("SELECT 1")
