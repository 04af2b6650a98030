"""Whether it can be told from the time of an answer that an address has an account.

Known and unknown addresses ask in an order drawn at random, each address once, so that whatever slows the machine down
meets both. The effect size is Cliff's delta: the chance that a known address takes longer than an unknown one, less
the chance of the reverse. 0 is no difference, 1 and -1 are complete ones; below 0.147 it is called negligible
(Romano et al., 2006). p is that of the test of Mann and Whitney, two-sided, by the normal approximation.
"""

import asyncio
import math
import random
import statistics
import time
from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import httpx

from local_stack.stack import Stack

from ..deployment import deployed
from ..people import Company, eventually
from .results import Timing
from .rounds import revision

EACH = 500
AT_ONCE = 8
SEED = 500

Ask = Callable[[Company, str], Awaitable[httpx.Response]]


async def _request(company: Company, email: str) -> httpx.Response:
    return await company.send("POST", "dsr", "/v1/requests", "website", json={"type": "delete", "email": email})


async def _form(company: Company, email: str) -> httpx.Response:
    return await company.http.post(f"{company.stack.url('dsr')}/delete", data={"email": email})


async def _website(company: Company, email: str) -> httpx.Response:
    return await company.http.post(f"{company.stack.url('website')}/privacy", data={"email": email})


async def _choices(company: Company, email: str) -> httpx.Response:
    ticked = {"third_party_marketing": "on", "own_marketing": "on"}
    return await company.http.post(f"{company.stack.url('website')}/choices", data={"email": email, **ticked})


WAYS: dict[str, tuple[Ask, int]] = {
    "dsr: POST /v1/requests": (_request, 1),
    "dsr: the form": (_form, 1),
    "website: /privacy": (_website, 1),
    "website: /choices, 2 at a time": (_choices, 2),
    f"dsr: POST /v1/requests, {AT_ONCE} at a time": (_request, AT_ONCE),
    f"website: /choices, {AT_ONCE} at a time": (_choices, AT_ONCE),
}
"""Each way to say an address, and how many say one at a time."""


def measure(servers: Path) -> list[Timing]:
    """Measure every way, on a deployment in which nobody dies."""
    with deployed("timings", servers=servers) as stack:
        return asyncio.run(_measure(stack))


async def _measure(stack: Stack) -> list[Timing]:
    drawn, found = random.Random(SEED), []  # noqa: S311 - repeatable, and nothing is secret here
    async with httpx.AsyncClient(timeout=30, limits=httpx.Limits(keepalive_expiry=2)) as http:
        company = Company(http, stack)
        for way, (ask, at_once) in WAYS.items():
            known = await _customers(company)
            unknown = [f"nobody-{uuid4().hex[:10]}@example.com" for _ in range(EACH)]
            timing = compare(way, *await _interleaved(company, ask, at_once, known, unknown, drawn))
            found.append(timing)
            print(f"{way}: delta {timing.delta:+.3f}, p {timing.p:.3f}", flush=True)
    return found


async def _customers(company: Company) -> list[str]:
    """New customers, each known to dsr."""
    emails = [f"known-{uuid4().hex[:11]}@example.com" for _ in range(EACH)]
    for email in emails:
        body = {"email": email, "name": "Known Person", "region": "US-CA"}
        last = (await company.post("accounts", "/v1/customers", body))["id"]

    async def known() -> bool:
        return bool(await company.value("dsr", "SELECT true FROM dsr.accounts WHERE id = $1", last))

    await eventually("dsr to know the customers", known, 120)
    return emails


async def _interleaved(
    company: Company, ask: Ask, at_once: int, known: list[str], unknown: list[str], drawn: random.Random
) -> tuple[list[float], list[float]]:
    """Seconds of the answers, of known and of unknown addresses; the first twenty are to warm up."""
    order = [*((email, True) for email in known), *((email, False) for email in unknown)]
    drawn.shuffle(order)
    times: dict[bool, list[float]] = {True: [], False: []}
    first: list[tuple[str, bool | None]] = [(f"first-{uuid4().hex[:10]}@example.com", None) for _ in range(20)]
    waiting = iter([*first, *order])

    async def one_after_the_other() -> None:
        for email, is_known in waiting:
            began = time.perf_counter()
            answer = await ask(company, email)
            took = time.perf_counter() - began
            assert answer.status_code < 400, f"{answer.status_code}: {answer.text[:300]}"
            if is_known is not None:
                times[is_known].append(took)

    await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))
    return times[True], times[False]


def compare(way: str, known: list[float], unknown: list[float]) -> Timing:
    """Medians, Cliff's delta and p."""
    n, m, ordered = len(known), len(unknown), sorted(unknown)
    longer = sum(bisect_left(ordered, each) for each in known)
    shorter = sum(m - bisect_right(ordered, each) for each in known)
    delta = (longer - shorter) / (n * m)
    z = delta / math.sqrt((n + m + 1) / (3 * n * m))
    return Timing(
        way=way,
        known=n,
        unknown=m,
        median_known=statistics.median(known),
        median_unknown=statistics.median(unknown),
        delta=delta,
        p=math.erfc(abs(z) / math.sqrt(2)),
        revision=revision(),
    )
