"""Release 1 of the code beside today's: on the newest schema, as readers of newer writers and the reverse, and back.

Those who write requests and accounts go forward first, and back first; so each of today's readers meets a writer of
release 1, and the reverse, while deletions are under way. `ROLL=one-by-one` moves each process by itself.

A request waits for the systems that the code of its verification lists. So both run on a list that both know: a system
that staff answer for is added when release 1, which asks no staff, will not run again.
"""

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path

import pytest

from local_stack import ROOT
from local_stack.layout import MARKETING
from privacy_contracts.topology import Systems, systems

from .. import invariants
from ..invariants import CHECKS, Evidence, assert_all_hold, repeats_are_equal
from ..people import Company, Customer
from .archive import module_path, unpacked

STEPS: tuple[tuple[str, ...], ...] = (("dsr", "accounts"), ("consent", "notifier", "audit", "orders"))
"""Who is moved together: after the first step, one release writes what the other one reads."""
EVERY = tuple(name for names in STEPS for name in names)
if os.environ.get("ROLL") == "one-by-one":
    STEPS = tuple((name,) for name in EVERY)

STAFF = "support"
"""The system that staff answer for."""


class Releases:
    """Which code each process runs; `old` are the files of release 1, `today` a package of contracts for today's."""

    def __init__(self, company: Company, old: Path, today: Path) -> None:
        self._company, self._stack, self._old, self._today = company, company.stack, old, today
        self._marketing: asyncio.subprocess.Process | None = None
        self._kept = {name: dict(self._stack.overrides.get(name, {})) for name in EVERY}

    async def go_back(self, *names: str) -> None:
        """These run release 1, on the schema as it is."""
        for name in names:
            more = {"PYTHONPATH": module_path(self._old)}
            more |= {"SCHEMAS": str(self._old / "contracts/schemas")} if name == "orders" else {}
            self._stack.overrides[name] = self._kept[name] | more
        await self._restarted(names)

    async def go_forward(self, *names: str) -> None:
        """These run today's code."""
        for name in names:
            self._stack.overrides[name] = self._kept[name] | {"PYTHONPATH": str(self._today)}
        await self._restarted(names)

    async def leave(self) -> None:
        """All run what they ran before."""
        self._stack.overrides.update(self._kept)
        await self._restarted(EVERY)

    async def _restarted(self, names: Iterable[str]) -> None:
        off_loop, stack = self._company.off_loop, self._stack
        await asyncio.gather(*(off_loop(stack.restart, name) for name in names))
        await off_loop(stack.wait, *names, seconds=90)

    async def sources(self, name: str) -> list[str]:
        """The files from which a process of this name takes its own package and the contracts."""
        ask = f"import {name}, privacy_contracts; print({name}.__file__, privacy_contracts.__file__)"
        line, env = (sys.executable, "-c", ask), self._stack.env(name)
        asked = await asyncio.create_subprocess_exec(*line, env=env, stdout=asyncio.subprocess.PIPE)
        return (await asked.communicate())[0].decode().split()

    @contextlib.asynccontextmanager
    async def old_marketing(self) -> AsyncIterator[None]:
        """Release 1's shell script in the place of today's."""
        await self._company.off_loop(self._stack.stop, "marketing")
        script = self._old / MARKETING.relative_to(MARKETING.parents[3])
        nowhere = asyncio.subprocess.DEVNULL
        env = self._stack.env("marketing")
        process = await asyncio.create_subprocess_exec("sh", str(script), env=env, stdout=nowhere, stderr=nowhere)
        try:
            yield
        finally:
            process.terminate()
            await process.wait()
            await self._company.off_loop(self._stack.start, "marketing")


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of release 1."""
    return unpacked(1, tmp_path_factory.mktemp("release"))


@pytest.fixture
def today(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Today's contracts, without the system that staff answer for."""
    shutil.copytree(ROOT / "contracts" / "src", tmp_path, dirs_exist_ok=True, symlinks=False)
    for name, head in (("systems", f"[systems.{STAFF}]"), ("topics", f'[topics."replies.{STAFF}"]')):
        file = tmp_path / "privacy_contracts" / f"{name}.toml"
        parts = file.read_text("utf-8").split("\n\n")
        file.write_text("\n\n".join(part for part in parts if not part.startswith(head)), "utf-8")
    known = systems()
    fewer = Systems(known.stages, {name: each for name, each in known.by_name.items() if name != STAFF})
    monkeypatch.setattr(invariants, "systems", lambda: fewer)
    return tmp_path


def _but_for_orders(seen: Evidence) -> Iterable[str]:
    """Release 1 of orders has the fields of a repeated answer in another order; everybody else repeats to the byte."""
    return (fault for fault in repeats_are_equal(seen) if not fault.startswith("replies.orders:"))


async def test_a_roll_there_and_back_while_deletions_are_under_way(company: Company, old: Path, today: Path) -> None:
    """At each step one deletion begins while processes are moved, and one goes all the way once they are."""
    releases, deleted = Releases(company, old, today), dict[str, Customer]()
    try:
        await releases.go_back(*EVERY)
        for name in EVERY:
            assert all(source.startswith(str(old)) for source in await releases.sources(name))
        async with releases.old_marketing():
            await _roll(company, releases.go_forward, deleted)
        await _roll(company, releases.go_back, deleted)
        await releases.go_forward(*EVERY)
        checks = [_but_for_orders if each is repeats_are_equal else each for each in CHECKS]
        await assert_all_hold(company, deleted, checks=checks)
    finally:
        await releases.leave()


async def _roll(company: Company, move: Callable[..., Awaitable[None]], deleted: dict[str, Customer]) -> None:
    for names in STEPS:
        begun, _ = await asyncio.gather(_begin(company), move(*names))
        deleted.update([begun, await _begin(company)])
        for request, customer in deleted.items():
            await company.closed(customer.email, request, 90)


async def _begin(company: Company) -> tuple[str, Customer]:
    customer = await company.register("rolled", order=True)
    request, _ = await company.begin(customer.email)
    return request, customer
