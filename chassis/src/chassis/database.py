"""The pool, the one way to open a transaction, and the closed table of faults.

A transaction ends with a statement of its own: after a swallowed SQL error Postgres would turn COMMIT into ROLLBACK
without a word, and that statement fails instead.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Never, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

log = logging.getLogger(__name__)
_TRANSIENT_CLASSES = ("08", "40", "53", "57", "58")
_TRANSIENT_STATES = ("25006", "55P03")
_QUERY_CANCELED = "57014"


class Unavailable(Exception):
    """The database is away; what was under way may or may not have committed."""


def is_transient(error: BaseException) -> bool:
    """Whether the same work may succeed later without anybody mending anything."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state[:2] in _TRANSIENT_CLASSES or state in _TRANSIENT_STATES
    return isinstance(error, Unavailable | OSError)


def will_pass(error: BaseException) -> bool:
    """Transient, and not a statement that took too long: that is the event's own fault when it happens to it alone.

    Waiting for a lock ends earlier, with another state, and does pass.
    """
    took_too_long = isinstance(error, TimeoutError) or getattr(error, "sqlstate", None) == _QUERY_CANCELED
    return is_transient(error) and not took_too_long


async def _init(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)


async def open_pool(url: str, service: str, size: int = 16) -> Pool:
    """A pool that connects on first use, so that a service starts without its database.

    `search_path` is the service's schema, then chassis'. Statements end after 30 s, waiting for a lock after 10, and so
    does a transaction in which nothing happens: a process that was stopped must not keep its locks from its successor.
    """
    server = {"search_path": f"{service},chassis,public", "timezone": "UTC", "application_name": service}
    server |= {"lock_timeout": "10s", "idle_in_transaction_session_timeout": "10s"}
    limits: dict[str, Any] = {"min_size": 0, "max_size": size, "command_timeout": 30}
    return await asyncpg.create_pool(url, init=_init, server_settings=server, **limits)


async def end_stopped(pool: Pool, seconds: float = 15) -> None:
    """End this role's sessions whose client has said nothing for so many `seconds` in the middle of a statement, or
    taken nothing of an answer for twice as long.

    To Postgres they are active, so `idle_in_transaction_session_timeout` passes over them, and it cancels nothing while
    it reads from a client. A client waits 10 s at most for a lock between two messages, and ends a statement after 30.
    """
    async with transaction(pool) as tx:
        await tx.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_user"
            " AND datname = current_database() AND state = 'active' AND clock_timestamp() - state_change >"
            " $1 * CASE wait_event WHEN 'ClientRead' THEN interval '1 s' WHEN 'ClientWrite' THEN interval '2 s' END",
            seconds,
        )


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Connection]:
    """A connection in a transaction; commits at the end, rolls back on an error.

    Raises `Unavailable` when the connection was lost.
    """
    try:
        connection = await pool.acquire(timeout=10)
    except (asyncpg.PostgresError, asyncpg.InternalClientError, OSError) as error:
        raise Unavailable("database away") from error
    try:
        async with connection.transaction():
            yield connection
            await connection.execute("SELECT 1")
    except Exception as error:
        if isinstance(error, asyncpg.InternalClientError):  # a server that dies says what the client did not expect
            connection.terminate()
        if _is_lost(connection):
            raise Unavailable("connection lost") from error
        raise
    finally:
        await pool.release(connection)


def _is_lost(connection: Connection) -> bool:
    """Whether the connection is gone; asyncpg may have taken it out of the pool already, and then refuses to say."""
    with suppress(asyncpg.InterfaceError):
        return connection.is_closed()
    return True


def affected(status: str) -> int:
    """The number of rows in a command's status, as in `UPDATE 3`."""
    return int(status.rsplit(" ", 1)[-1])


async def repeat(what: str, work: Callable[[], Awaitable[object]], seconds: float) -> Never:
    """Do the work for ever: again at once where it found some (a true value), else after a while.

    A fault is waited out, whatever it is; only its class name goes to the log, since messages may hold values.
    """
    while True:
        busy: object = False
        try:
            busy = await work()
        except Exception as error:
            log.warning("%s waits: %s", what, type(error).__name__)
        if not busy:
            await asyncio.sleep(seconds)


def columns(rows: Iterable[Sequence[Any]], width: int) -> list[list[Any]]:
    """Rows as columns, for `unnest`."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


def as_json(value: Any) -> str:
    """Compact JSON, for statements that take many documents at once."""
    return json.dumps(value, separators=(",", ":"))
