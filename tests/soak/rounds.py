"""One round: a deployment of its own on the shard's own servers, its share of the matrix, kills at random, a count."""

import random
import subprocess
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx

from local_stack import ROOT
from local_stack.layout import SECONDS

from ..crash.plan import Death, matrix
from ..crash.run import AT_RANDOM, SETTINGS, SMTP_CONNECTIONS, Doubled, Run
from ..deployment import deployed
from ..invariants import assert_all_hold, repeated_mails
from .results import KILLS, ROUNDS, Round

MATRIX_SEED = 4
FIRST_SEED = 1000
DELETIONS = 10
LAST_MAIL = 300
"""Seconds for everything to come to its end once nobody dies any more."""


def plan(number: int) -> tuple[int, list[Death], list[str]]:
    """The seed of a round, its part of the matrix, and who is killed at random; a server in every fourth round."""
    seed = FIRST_SEED + number
    drawn = random.Random(seed)  # noqa: S311 - repeatable, and nothing is secret here
    kills = drawn.choices(AT_RANDOM, k=KILLS)
    if number % 4 == 3:
        kills[drawn.randrange(KILLS // 2)] = "kafka" if number % 8 == 3 else "postgres"
    return seed, matrix(MATRIX_SEED)[number::ROUNDS], kills


def revision() -> str:
    """The code's commit, with a plus where the tree differs from it in more than results."""
    commit = _git("rev-parse", "--short=8", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs/faults*")
    return commit + ("+" if changed else "")


def _git(*line: str) -> str:
    return subprocess.run(["git", *line], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


async def run(number: int, servers: Path) -> Round:
    """Do it. Whatever goes wrong stands in the result as broken."""
    seed, deaths, kills = plan(number)
    began, clock = datetime.now(UTC), time.monotonic()
    result = Round(
        number=number,
        seed=seed,
        revision=revision(),
        began=began.isoformat(timespec="seconds"),
        seconds=0,
        dying_seconds=0,
        kills={},
        points=[],
        planned=len(deaths),
        deletions=0,
        unknown=0,
        repeated_mails=0,
        seen={},
    )
    also = tuple(SECONDS)
    with deployed(f"soak{number}", without=("website",), also=also, more=SETTINGS, servers=servers) as stack:
        limits = httpx.Limits(keepalive_expiry=2)
        async with httpx.AsyncClient(timeout=15, limits=limits) as http:
            company = Doubled(http, stack)
            work, dying, broken = Run(company, seed, patient=True), time.monotonic(), list[str]()
            try:
                await work.go(deaths, kills, deletions=DELETIONS)
                died = time.monotonic() - dying
                evidence = await assert_all_hold(company, work.deleted, work.unknown, seconds=LAST_MAIL)
                again = repeated_mails(evidence)
                if again > work.mailers_ended * SMTP_CONNECTIONS:
                    broken.append(f"{again} mails were repeated, and {work.mailers_ended} mailers ended")
                work.watcher.count(evidence)
            except* Exception as errors:
                died, again = time.monotonic() - dying, 0
                broken += [f"{type(error).__name__}: {error}" for error in leaves(errors)]
    return replace(
        result,
        seconds=round(time.monotonic() - clock),
        dying_seconds=round(died),
        kills=dict(sorted(work.kills.items())),
        points=[list(each) for each in work.deaths],
        deletions=len(work.deleted),
        unknown=len(work.unknown),
        repeated_mails=again,
        seen=work.watcher.seen.as_dict(),
        broken=broken,
    )


def leaves(errors: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The single errors of a group of groups."""
    found: list[BaseException] = []
    for error in errors.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
