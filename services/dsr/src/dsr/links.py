"""Opening a request by its link. Wrong and unknown look alike and are counted; the right secret always opens."""

from datetime import datetime
from uuid import UUID

from chassis import telemetry, timers
from chassis.database import Connection
from dsr.domain import verification
from dsr.domain.requests import Request
from dsr.queries import links, requests
from dsr.settings import Desk

KIND = "wrong_secrets"
_WRONG = telemetry.counter("dsr_wrong_secrets", "links opened with a secret that opens nothing")
_FINDINGS = telemetry.counter("dsr_findings", "things that somebody must look at")


async def opened(
    tx: Connection, desk: Desk, request_id: str, secret: str, host: str | None, now: datetime, *, lock: bool = False
) -> Request | None:
    """The request that the link opens, its row locked if asked for. None, and counted, for any other link."""
    named = _uuid(request_id)
    if lock and named is not None:
        await requests.lock(tx, named)
    minted = await links.minted(tx, named)
    if verification.opens(secret, minted) and named is not None:
        telemetry.about(request_id=str(named))
        telemetry.link(minted[verification.hashed(secret)])
        return await requests.get(tx, named)
    _WRONG.add(1)
    network = desk.sealing.fingerprint("network", verification.network(host)).hex()
    await _count(tx, "link", str(named or "malformed"), now)
    await _count(tx, "network", network, now)
    await forget_later(tx, now)
    return None


async def forget_later(tx: Connection, now: datetime) -> None:
    """What is counted for an hour is forgotten after it, even when nobody comes again. One timer for each minute."""
    await timers.put(tx, "forget_counts", f"{now:%Y-%m-%dT%H:%M}", now + verification.HOUR + verification.MINUTE)


async def _count(tx: Connection, scope: str, about: str, now: datetime) -> None:
    count = await links.count_wrong_secret(tx, scope, about, now)
    if verification.is_finding(count) and await links.put_finding(tx, KIND, scope, about, count, now):
        _FINDINGS.add(1, {"kind": KIND, "scope": scope})


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
