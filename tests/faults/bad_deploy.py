"""A deploy whose handler fails at everything, while 200 events wait: what stops it, what it leaves, and the way back.

The bad code is laid over the good by a module that the interpreter imports at its start, so that nothing in the
product has a switch for it.
"""

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from ..people import Company, Customer, eventually
from .test_poison import operate

MANY = 200
OVERLAY = """import dsr.handlers
from chassis.consumer.records import Rejected

async def project(*_):
    raise {error}("a bad deploy")

dsr.handlers.project = project
"""


async def deploy_and_mend(company: Company, overlay: Path, error: str) -> Customer:
    """Deploy it, see it stopped, deploy the good one, replay; one of those whose event had been a dead letter.

    `error` is what the handler raises: `Rejected` is not tried again, anything else is.
    """
    stack = company.stack
    (overlay / "sitecustomize.py").write_text(OVERLAY.format(error=error))
    await company.off_loop(stack.stop, "dsr")
    customers = await _many(company)
    try:
        await company.off_loop(stack.start, "dsr", once={"PYTHONPATH": str(overlay)})
        await eventually("the breaker to stop the consumer", lambda: _stopped(company), 90)
        letters = await company.rows("dsr", "SELECT id, key, reason FROM chassis.dead_letters")
        dead = {row["key"].decode() for row in letters if row["reason"]}
        assert 0 < len(dead) < 20
        known = "SELECT count(*) FROM dsr.accounts WHERE id = ANY($1)"
        assert await company.value("dsr", known, list(customers)) == 0
    finally:
        await company.off_loop(stack.restart, "dsr")
        await company.off_loop(stack.wait, "dsr")

    first, *others = [str(row["id"]) for row in letters if row["reason"]]
    assert (await operate(company, "dsr", "replay", first, "--reason", "mended"))[0] == 0
    for letter in others:
        path, why = f"/v1/dead-letters/{letter}/replay", {"reason": "mended"}
        assert (await company.post("dsr", path, why, "operator-01", 200))["applied"] >= 1

    async def all_known() -> bool:
        return bool(await company.value("dsr", known, list(customers)) == MANY)

    await eventually("all of them to be known", all_known)
    assert await company.value("dsr", "SELECT count(*) FROM chassis.dead_letters") == 0
    return customers[sorted(dead & customers.keys())[0]]


async def _many(company: Company) -> dict[str, Customer]:
    """Customers, by account, while dsr is away."""
    at_a_time = asyncio.Semaphore(8)

    async def one() -> Customer:
        email, name = f"many-{uuid4().hex[:10]}@example.com", f"Many {uuid4().hex[:8]}"
        async with at_a_time:
            body = {"email": email, "name": name, "region": "US-CA"}
            told: dict[str, Any] = await company.post("accounts", "/v1/customers", body)
        return Customer(told["id"], email, name)

    return {each.account: each for each in await asyncio.gather(*(one() for _ in range(MANY)))}


async def _stopped(company: Company) -> bool:
    """Whether it says that it stopped, and why, and lives."""
    url = company.stack.url("dsr")
    try:
        ready = await company.http.get(f"{url}/readyz")
    except httpx.TransportError:
        return False
    why = ready.json()["missing"].get("consumer", "")
    return why.startswith("stopped: 20 of") and (await company.http.get(f"{url}/livez")).status_code == 200
