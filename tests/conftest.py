"""One deployment for most tests, one that is killed at will, and the people who use them."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # xdist ships no types

from local_stack.stack import Stack
from local_stack.supervisor import read_plan

from .deployment import deployed, remove_stale
from .faults.place import Place, placed
from .people import Company

PARTS: tuple[tuple[str, ...], ...] = (
    ("browser/", "faults/", "http/", "journeys/", "reads/"),
    ("releases/", "journeys/test_restarts.py", "faults/test_clock.py", "faults/test_deploy.py"),
    ("faults/test_matrix.py", "restores/"),
    ("residue/",),
    ("crash/",),
)
"""What a worker does on one deployment, the longest first; a test belongs to the last that fits. The first two share
`stack` where one worker does both; the others have deployments that they may kill or lose. None uses another's."""
AT_ONCE = 2
"""So many deployments run at once, on as many cores."""
HELD = pytest.StashKey[ExitStack]()
"""What ends the deployment that runs."""


@pytest.fixture(scope="package")
def stack(pytestconfig: pytest.Config) -> Iterator[Stack]:
    """The deployment that journeys, pages and HTTP tests share. Whoever stops a part of it starts it again."""
    if kept := os.environ.get("DEPLOYMENT"):
        yield read_plan(Path(kept))
        return
    remove_stale()
    with ExitStack() as held:
        pytestconfig.stash[HELD] = held
        yield held.enter_context(deployed("whole"))


@pytest.fixture(scope="package")
def place(pytestconfig: pytest.Config) -> Iterator[Place]:
    """A deployment with servers of its own, which may be made to fail, lost and restored; whoever does so mends it."""
    remove_stale()
    with ExitStack() as held:
        pytestconfig.stash[HELD] = held
        yield held.enter_context(placed("faults"))


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """A plain HTTP client; it lets idle connections go before the servers do (after 5 s)."""
    async with httpx.AsyncClient(timeout=15, limits=httpx.Limits(keepalive_expiry=2)) as made:
        yield made


@pytest.fixture
def company(http: httpx.AsyncClient, stack: Stack) -> Company:
    """The shared deployment, seen by those who use it."""
    return Company(http, stack)


def pytest_configure(config: pytest.Config) -> None:
    """Say what our own marker means."""
    config.addinivalue_line("markers", "last: leaves things behind that others would stumble over")


def _part(nodeid: str) -> int:
    """Which part a test belongs to; the number of parts when it needs no deployment."""
    name = nodeid.removeprefix("tests/")
    fitting = (n for n, begin in enumerate(PARTS) if name != nodeid and name.startswith(begin))
    return max(fitting, default=len(PARTS))


class ByDeployment(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
    """Some workers, each with one deployment at a time; those beside them do, file by file, what needs none.

    When no such file is left they take what needs one, too.
    """

    def _split_scope(self, nodeid: str) -> str:
        part = _part(nodeid)
        return str(part) if part < len(PARTS) else nodeid.partition("::")[0]

    def _assign_work_unit(self, node: object) -> None:
        if node not in self.nodes[:AT_ONCE]:
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByDeployment | None:
    """Have a worker do one part after the other."""
    return ByDeployment(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One deployment after the other; on each, whatever leaves things behind comes last."""
    items.sort(key=lambda item: (max(_part(item.nodeid), 1), bool(item.get_closest_marker("last")), _part(item.nodeid)))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End a deployment when the tests on it are done: one that idles takes a quarter of a core from the others."""
    if nextitem and HELD in item.config.stash and _part(nextitem.nodeid) > max(_part(item.nodeid), 1):
        item.config.stash[HELD].close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what a test noted of its run, such as the seed that repeats it."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()) if getattr(report, "when", "") == "call" else ():
                terminalreporter.write_line(f"{name}: {value}")
