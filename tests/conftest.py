"""One deployment for most tests, one that is killed at will, and the people who use them."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from local_stack.stack import Stack
from local_stack.supervisor import read_plan

from .deployment import deployed, remove_stale
from .people import Company


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The deployment that journeys, pages and HTTP tests share. Whoever stops a part of it starts it again."""
    if kept := os.environ.get("DEPLOYMENT"):
        yield read_plan(Path(kept))
        return
    remove_stale()
    with deployed("whole") as made:
        yield made


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """A plain HTTP client."""
    async with httpx.AsyncClient(timeout=15) as made:
        yield made


@pytest.fixture
def company(http: httpx.AsyncClient, stack: Stack) -> Company:
    """The shared deployment, seen by those who use it."""
    return Company(http, stack)


def pytest_configure(config: pytest.Config) -> None:
    """Say what our own marker means."""
    config.addinivalue_line("markers", "last: leaves things behind that others would stumble over")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever leaves things behind comes last."""
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)
