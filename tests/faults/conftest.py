"""A deployment with servers of its own, for tests that end, stop or fill them."""

from collections.abc import Iterator

import httpx
import pytest

from ..deployment import remove_stale
from ..people import Company
from .place import Place, placed


@pytest.fixture(scope="session")
def place() -> Iterator[Place]:
    """Where everything may be made to fail; whoever does so mends it."""
    remove_stale()
    with placed("faults") as made:
        yield made


@pytest.fixture
def victims(http: httpx.AsyncClient, place: Place) -> Company:
    """The company there, seen by those who use it."""
    return Company(http, place.stack)
