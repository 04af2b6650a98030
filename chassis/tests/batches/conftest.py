"""A service whose events only need a database: records are handed to it without Kafka."""

from collections.abc import Callable
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from chassis.app.runtime import App, Runtime
from chassis.consumer import Handlers, Received
from chassis.consumer.dead_letters import listing
from chassis.database import Connection, Pool, transaction
from chassis.testing import START
from privacy_contracts.notices import NoticePosted
from privacy_contracts.topology import Topic, topics

NOTICES: Topic = topics()["notices"]


def posted(version: int, notice: Any = None) -> NoticePosted:
    """An event of which tests tell the versions apart."""
    return NoticePosted(
        notice=notice or uuid7(), place="home_page", policy_version=version, posted_at=START, until=START
    )


class Sample:
    """A service that notes the versions it is told, and fails for those in `broken`."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.broken: dict[int, Exception] = {}
        handlers = Handlers([NOTICES])

        @handlers.reaction(NoticePosted)
        async def note(received: Received[NoticePosted], tx: Connection) -> None:
            version = received.event.policy_version
            if version in self.broken:
                raise self.broken[version]
            await tx.execute("INSERT INTO chassis.sequences (topic, last) VALUES ($1, $2)", received.id, version)
            self.seen.append(version)

        self.app = App(routers=[], handlers=handlers)


@pytest.fixture
def sample() -> Sample:
    """A service of one handler."""
    return Sample()


@pytest.fixture
def rt(runtime: Callable[..., Runtime[Any]], pool: Pool) -> Runtime[Any]:
    """What it runs with."""
    return runtime("dsr", pool)


async def effects(pool: Pool) -> list[int]:
    """The versions that were applied."""
    return [row["last"] for row in await pool.fetch("SELECT last FROM chassis.sequences ORDER BY last")]


async def letters(pool: Pool) -> list[dict[str, Any]]:
    """The dead letters, as an operator sees them listed."""
    async with transaction(pool) as tx:
        return await listing(tx)
