"""One round: a deployment of its own on the shard's own servers, its share of the matrix, kills at random, a count."""

import asyncio
import random
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx

from local_stack import ROOT
from local_stack.layout import SECONDS
from local_stack.stack import Stack

from ..crash.plan import Death, matrix
from ..crash.run import AT_RANDOM, SERVERS, SETTINGS, SMTP_CONNECTIONS, Doubled, Run
from ..deployment import deployed
from ..invariants import assert_all_hold, repeated_mails
from .results import KILLS, ROUNDS, Round

MATRIX_SEED = 4
FIRST_SEED = 1000
DELETIONS = 40
LAST_MAIL = 300
"""Seconds for everything to come to its end once nobody dies any more."""


def plan(number: int) -> tuple[int, list[Death], list[str]]:
    """The seed of a round, its part of the matrix, and who is killed at random, Kafka and Postgres once each."""
    seed = FIRST_SEED + number
    drawn = random.Random(seed)  # noqa: S311 - repeatable, and nothing is secret here
    kills = drawn.choices(AT_RANDOM, k=KILLS)
    for server, at in zip(SERVERS, drawn.sample(range(KILLS), k=len(SERVERS)), strict=True):
        kills[at] = server
    return seed, matrix(MATRIX_SEED)[number::ROUNDS], kills


def revision() -> str:
    """The code's commit, with a plus where the tree differs from it in more than results."""
    commit = _git("rev-parse", "--short=8", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs/faults*")
    return commit + ("+" if changed else "")


def _git(*line: str) -> str:
    return subprocess.run(["git", *line], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def run(number: int, servers: Path) -> Round:
    """Do it. Whatever goes wrong stands in the result as broken."""
    seed, deaths, kills = plan(number)
    began, clock, also = datetime.now(UTC), time.monotonic(), tuple(SECONDS)
    with deployed(f"soak{number}", without=("website",), also=also, more=SETTINGS, servers=servers) as stack:
        work, dying, repeated, broken = asyncio.run(_die(stack, seed, deaths, kills))
    return Round(
        number=number,
        seed=seed,
        revision=revision(),
        began=began.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock),
        dying_seconds=round(dying),
        kills=dict(sorted(work.kills.items())),
        points=[list(each) for each in work.deaths],
        planned=len(deaths),
        deletions=len(work.deleted),
        unknown=len(work.unknown),
        repeated_mails=repeated,
        seen=work.watcher.seen.as_dict(),
        broken=broken,
    )


async def _die(stack: Stack, seed: int, deaths: list[Death], kills: list[str]) -> tuple[Run, float, int, list[str]]:
    """What was done, for how many seconds processes died, how many mails came again, and what does not hold."""
    began, repeated, broken = time.monotonic(), 0, list[str]()
    async with httpx.AsyncClient(timeout=15, limits=httpx.Limits(keepalive_expiry=2)) as http:
        company = Doubled(http, stack)
        work = Run(company, seed, patient=True)
        try:
            await work.go(deaths, kills, deletions=DELETIONS)
            died = time.monotonic() - began
            evidence = await assert_all_hold(company, work.deleted, work.unknown, seconds=LAST_MAIL)
            work.watcher.count(evidence)
            repeated = repeated_mails(evidence)
            if repeated > work.mailers_ended * SMTP_CONNECTIONS:
                broken.append(f"{repeated} mails were repeated, and {work.mailers_ended} mailers ended")
        except* Exception as errors:
            died = time.monotonic() - began
            broken += [f"{type(error).__name__}: {error}" for error in leaves(errors)]
    return work, died, repeated, broken


def leaves(errors: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The single errors of a group of groups."""
    found: list[BaseException] = []
    for error in errors.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
