"""The moments at which a fault strikes: each begins some work and holds it where it is, until the fault has struck.

Work is held by a lock that a super user has in the database of whoever does it, or by the mail server, so that the
moment is met each time, on any machine.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import asyncpg

from local_stack.observe import AUDITOR
from local_stack.stack import Stack

from ..people import eventually
from .story import Story

INTAKE = {"dsr": "dsr.requests", "consent": "consent.choices"}
"""Where a request of HTTP is written down."""
MAIL_SECONDS = 4.0
"""How long the mail server keeps its answer back."""


@contextlib.asynccontextmanager
async def idle(_: Story) -> AsyncIterator[None]:
    """Nothing is under way."""
    yield


@contextlib.asynccontextmanager
async def intake(story: Story) -> AsyncIterator[None]:
    """A request stands in the middle of its transaction."""
    actor = story.cell.actor
    async with _locked(story.stack, actor, INTAKE[actor]):
        story.begin(story.choose() if actor == "consent" else story.ask())
        await _held(story.stack, actor)
        yield


@contextlib.asynccontextmanager
async def batch(story: Story) -> AsyncIterator[None]:
    """The person has confirmed; what comes of it stands in the middle of a batch."""
    actor = story.cell.actor
    await story.confirm()
    story.begin(story.follow())
    async with _locked(story.stack, actor, "audit.entries" if actor == "audit" else "chassis.inbox"):
        await _held(story.stack, actor)
        yield


@contextlib.asynccontextmanager
async def relay(story: Story) -> AsyncIterator[None]:
    """An event of the actor's stands on Kafka, and in its outbox still."""
    actor = story.cell.actor
    works: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
        "consent": story.choose,
        "audit": lambda: story.company.get("audit", "/v1/entries", AUDITOR, subject=story.customer.subject),
    }
    async with superuser(story.stack, actor) as leases, superuser(story.stack, actor) as rows:
        await leases.execute("BEGIN")
        await leases.execute("SELECT FROM chassis.leases WHERE name = 'relay' FOR UPDATE")
        story.begin(works.get(actor, story.ask)())

        async def waiting() -> Any:
            return await rows.fetchval("SELECT count(*) FROM chassis.outbox")

        await eventually(f"an event of {actor}", waiting, 90)
        await rows.execute("BEGIN")
        await rows.execute("SELECT FROM chassis.outbox FOR KEY SHARE")  # rows may be numbered, and not deleted
        await leases.execute("ROLLBACK")
        await _held(story.stack, actor, "DELETE FROM chassis.outbox%")
        yield


@contextlib.asynccontextmanager
async def mail(story: Story) -> AsyncIterator[None]:
    """A mail has arrived, and the notifier waits for the mail server's word."""
    fault = {"recipient": story.customer.email, "delay_after": MAIL_SECONDS}
    answer = await story.company.http.post(f"{story.stack.url('sink')}/faults", json=fault)
    assert answer.status_code == 201
    await story.ask()

    async def arrived() -> bool:
        return bool(await story.company.mails(story.customer.email))

    await eventually("the mail", arrived, 90)
    yield


BEGIN = {"idle": idle, "intake": intake, "batch": batch, "relay": relay, "mail": mail}


@contextlib.asynccontextmanager
async def superuser(stack: Stack, service: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection to a service's database. Its end lets go of all locks, even where the server is away."""
    deployment = stack.deployment
    url = deployment.servers.postgres.url.rpartition("/")[0]
    connection = await asyncpg.connect(f"{url}/{service}{deployment.suffix}")
    try:
        yield connection
    finally:
        connection.terminate()


@contextlib.asynccontextmanager
async def _locked(stack: Stack, service: str, table: str) -> AsyncIterator[None]:
    """Let nobody write into a table."""
    async with superuser(stack, service) as connection:
        await connection.execute("BEGIN")
        await connection.execute(f"LOCK TABLE {table} IN SHARE MODE")
        yield


async def _held(stack: Stack, service: str, statement: str = "%") -> None:
    """Wait until a statement of the service waits for a lock."""
    async with superuser(stack, service) as connection:
        look = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = $1"
            " AND wait_event_type = 'Lock' AND query LIKE $2"
        )
        await eventually(f"{service} to be held", lambda: _counted(connection, look, service, statement), 90)


async def _counted(connection: "asyncpg.Connection[asyncpg.Record]", look: str, *values: str) -> bool:
    return bool(await connection.fetchval(look, *values))
