"""The company whose servers tests may end, stop or fill."""

import httpx
import pytest

from ..people import Company
from .place import Place


@pytest.fixture
def victims(http: httpx.AsyncClient, place: Place) -> Company:
    """The company there, seen by those who use it."""
    return Company(http, place.stack)
