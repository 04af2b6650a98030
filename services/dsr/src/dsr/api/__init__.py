"""The HTTP edge for programs: website, notifier, systems without Kafka, staff, auditors. Pages are in `dsr.pages`.

Before verification an answer says only that something was received, for known and unknown addresses alike.
"""

from fastapi import APIRouter

from chassis.auth import Auth
from chassis.clock import Clock
from chassis.database import Pool
from dsr.api import findings, identifiers, messages, outstanding, requests, tasks
from dsr.settings import Desk


def routers(pool: Pool, clock: Clock, auth: Auth, desk: Desk) -> list[APIRouter]:
    """Every route."""
    return [
        requests.router(pool, clock, auth, desk),
        outstanding.router(pool, clock, auth, desk),
        messages.router(pool, clock, auth, desk),
        tasks.router(pool, clock, auth),
        identifiers.router(pool, clock, auth, desk),
        findings.router(pool, auth),
    ]
