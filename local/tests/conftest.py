"""Servers that the tests of this folder share."""

import pytest

from local_stack import DEFAULT_DIRECTORY, servers
from local_stack.servers import Servers


@pytest.fixture(scope="session")
def shared() -> Servers:
    """The two servers that all tests of the project use."""
    return servers.start(DEFAULT_DIRECTORY / "test")
