"""Processes die at named points while deletions run; then everything is counted from outside.

Each service runs twice. Points and order are drawn from `SEED`, which is printed; give it again to repeat a run. The
run fails when a point was not reached, and when it saw nothing of what the other instance is there for. The whole
matrix, each service at each of its points five times, is dealt to the rounds of `make soak`.
"""

import os
import time
from collections.abc import Callable, Iterator
from random import Random

import httpx
import pytest

from chassis.crash import POINTS
from local_stack.layout import SECONDS
from local_stack.stack import Stack

from ..deployment import deployed
from ..invariants import assert_all_hold, repeated_mails
from .plan import REACHED, SHORT, TIMES, matrix, named_points, short
from .run import AT_RANDOM, SETTINGS, SMTP_CONNECTIONS, Doubled, Run

DELETIONS = 8
RANDOM_KILLS = 3
LAST_MAIL = 180
"""Seconds after which every mail has been tried again, each try twice as long after the one before."""


def test_every_point_in_the_code_has_its_turn() -> None:
    assert set(POINTS) <= named_points()
    assert named_points() == {point for points in SHORT.values() for point in points}
    assert named_points() == {point for points in REACHED.values() for point in points}


def test_the_matrix_has_each_service_at_each_of_its_points_five_times() -> None:
    deaths = matrix(1)
    for service, points in REACHED.items():
        for point in points:
            instances = [number for who, where, number in deaths if (who, where) == (service, point)]
            assert len(instances) == TIMES
            assert set(instances) == {0, 1}


@pytest.fixture(scope="module")
def victim() -> Iterator[Stack]:
    """A deployment for this test alone."""
    with deployed("crash", without=("website",), also=tuple(SECONDS), more=SETTINGS) as made:
        yield made


@pytest.fixture
def company(http: httpx.AsyncClient, victim: Stack) -> Doubled:
    """The deployment that is killed, seen by those who use it."""
    return Doubled(http, victim)


async def test_nothing_is_lost_or_done_twice_whoever_dies(
    company: Doubled, record_property: Callable[[str, object], None]
) -> None:
    seed = int(os.environ.get("SEED", time.time_ns() % 2**32))
    record_property("crash: SEED", seed)
    run, deaths = Run(company, seed), short(seed)
    kills = Random(seed).sample(AT_RANDOM, k=RANDOM_KILLS)  # noqa: S311 - repeatable, and nothing is secret here
    await run.go(deaths, kills, deletions=DELETIONS, at_once=2)
    record_property("crash: deaths", ", ".join(f"{name} {point}" for name, point in run.deaths))
    record_property("crash: killed at random", ", ".join(run.kills.elements()))

    assert len(run.deaths) == len(deaths)
    evidence = await assert_all_hold(company, run.deleted, run.unknown, seconds=LAST_MAIL)
    assert repeated_mails(evidence) <= run.mailers_ended * SMTP_CONNECTIONS
    seen = run.watcher.count(evidence)
    record_property("crash: seen", ", ".join(f"{count} {name}" for name, count in seen.as_dict().items()))
    assert not seen.lacking()
