"""The clock of the domain jumps: a year ahead, a day back. Each timer fires once, at or after its time.

Leases, backoff and tokens use other clocks (`chassis/tests/test_clock.py`), and notice nothing.
"""

from collections import Counter
from typing import Any
from uuid import uuid4

import pytest

from local_stack import clock

from ..invariants import CHECKS, asked_once, assert_all_hold
from ..log import read, unique
from ..people import Company, Customer, eventually

DAY = 86_400
YEAR = 365 * DAY
STORED = ("received_at", "due_at", "verified_at", "confirmed_at", "irrevocable_at", "started_at")


@pytest.mark.last
async def test_a_year_ahead_and_a_day_back_every_timer_fires_once(company: Company) -> None:
    stack, file = company.stack, company.stack.directory / "clock"
    ahead = int(clock.read(file).total_seconds())
    late, slow = await company.register("late", order=True), await company.register("slow", order=True)
    never = f"never-{uuid4().hex[:10]}@example.com"
    await company.off_loop(stack.stop, "orders")
    forgotten, unknown = await company.ask(late.email), await company.ask(never)
    request, _ = await company.begin(slow.email)
    await company.status(request, "deleting")
    before = await _state(company, request)
    epochs = await _epochs(company)

    file.write_text(str(ahead + YEAR))
    await eventually("the request that nobody confirmed to end", lambda: _ended(company, forgotten), 90)
    await eventually("orders to be reminded of and told about", lambda: _overdue(company, request), 90)
    file.write_text(str(ahead + YEAR - DAY))
    await company.off_loop(stack.start, "orders")
    await company.off_loop(stack.wait, "orders")
    await company.closed(slow.email, request, 120)
    quick = await company.register("quick")
    deleted: dict[str, Customer] = {request: slow, await company.delete(quick, 120): quick}
    file.write_text(str(ahead))

    assert await _epochs(company) == epochs
    after = await _state(company, request)
    assert {name: after[name] for name in STORED} == {name: before[name] for name in STORED}
    twice_asked = [each for each in CHECKS if each is not asked_once]  # who was reminded answers both
    seen = await assert_all_hold(company, deleted, {unknown: never}, checks=twice_asked)
    ends = Counter(event.body["request"] for event in seen.events("request.closed"))
    assert ends[forgotten] == 1
    asked = [each.body for each in seen.events("deletion.requested") if each.body["request"] == request]
    assert sum(body.get("reminder", False) and "orders" in body["systems"] for body in asked) == 1


async def _state(company: Company, request: str) -> dict[str, Any]:
    return await company.get("dsr", f"/v1/requests/{request}", "website")


async def _epochs(company: Company) -> list[int]:
    """The leases, as they would not be if the jump had ended one."""
    return [await company.value(each, "SELECT epoch FROM chassis.leases") for each in ("dsr", "notifier", "consent")]


async def _ended(company: Company, request: str) -> bool:
    ends = unique(await read(company.stack, "requests"), "request.closed")
    return any(each.body["request"] == request for each in ends)


async def _overdue(company: Company, request: str) -> bool:
    """Whether orders was reminded, and its owner told."""
    events = unique(await read(company.stack, "requests"), "deletion.requested")
    reminded = any(each.body["request"] == request and each.body.get("reminder") for each in events)
    return reminded and any(request in mail["text"] for mail in await company.mails() if "orders" in mail["subject"])
