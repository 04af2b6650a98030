"""An audit service on a fresh database."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from audit.app import build
from audit.settings import Settings
from chassis.app import App, Runtime
from chassis.consumer import Record
from chassis.database import Pool, transaction
from chassis.testing import Database, client


@dataclass(frozen=True)
class Service:
    """The service, and short ways to speak to it."""

    runtime: Runtime[Settings]
    app: App

    @property
    def pool(self) -> Pool:
        return self.runtime.pool

    async def take(self, *records: Record) -> None:
        """One batch in one transaction, positions left aside."""
        assert self.app.handlers.raw_handler is not None
        async with transaction(self.pool) as tx:
            await self.app.handlers.raw_handler(records, tx)

    async def rows(self, columns: str = "index") -> list[tuple[Any, ...]]:
        """Columns of all entries, by index."""
        return [tuple(row) for row in await self.pool.fetch(f"SELECT {columns} FROM audit.entries ORDER BY index")]  # noqa: S608 - columns named in tests

    async def kinds(self) -> list[str]:
        """The kinds of all findings, in order."""
        return [row["kind"] for row in await self.pool.fetch("SELECT kind FROM audit.findings ORDER BY id")]


@pytest.fixture
async def audit(database: Database, runtime: Callable[..., Runtime[Settings]]) -> AsyncIterator[Service]:
    async with database("audit") as pool:
        made = runtime("audit", pool, Settings)
        yield Service(made, build(made))


@pytest.fixture
async def http(audit: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with client(audit.runtime, audit.app) as made:
        yield made


@pytest.fixture
def auditor(bearer: Callable[..., dict[str, str]]) -> dict[str, str]:
    return bearer("auditor-01", "auditor", audience="audit")
