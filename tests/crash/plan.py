"""Who can die where: every service that runs twice, with every named point that it passes in its daily work."""

import random
import re
from pathlib import Path

import chassis
from chassis.crash import POINTS
from local_stack import ROOT
from local_stack.layout import EVERY, SECONDS

_RELAY = ("relay.after-numbering", "relay.in-transaction", "relay.after-produce", "relay.after-delete")
_CONSUMER = ("consumer.after-inbox", "consumer.before-commit", "consumer.after-commit")
_TIMERS = ("timers.before-commit", "timers.after-commit")
_JOBS = ("jobs.after-claim", "jobs.before-effect", "jobs.after-effect")
_MAIL = ("notifier.before-data", "notifier.after-data")
_SEALING = ("sealing.after-ledger",)

REACHED = {
    "dsr": (*_CONSUMER, *_RELAY, *_TIMERS, *_SEALING),
    "consent": (*_CONSUMER, *_RELAY),
    "notifier": (*_CONSUMER, *_RELAY, *_JOBS, *_MAIL, *_SEALING),
    "audit": (*_CONSUMER[1:], *_RELAY, *_TIMERS),
    "accounts": (*_CONSUMER, *_RELAY, *_TIMERS, *_JOBS),
}
"""Audit takes raw records and keeps no inbox of its own. Accounts and audit seal nothing, and consent has a key to
erase only after a dead letter."""
SHORT = {
    "dsr": ("timers.before-commit", "relay.after-produce"),
    "notifier": (
        *("jobs.after-claim", "notifier.before-data", "notifier.after-data", "jobs.after-effect"),
        "sealing.after-ledger",
    ),
    "consent": ("relay.in-transaction", "consumer.after-inbox", "relay.after-numbering"),
    "audit": ("consumer.after-commit", "consumer.before-commit", "timers.before-commit"),
    "accounts": ("timers.after-commit", "jobs.before-effect", "relay.after-delete"),
}
"""Every point once, each the turn of one of the services that pass it."""
NEEDED = {"dsr": ("timers.before-commit", "relay.after-produce")}
"""What is seen of a takeover and of repeats; what dsr publishes has the most readers with an inbox."""
TWICE = tuple(REACHED)
INSTANCES = {service: (service, *(name for name in SECONDS if EVERY[name].service == service)) for service in TWICE}
TIMES = 5

Death = tuple[str, str, int]
"""A service, a point, and which of the service's two instances (0 or 1)."""


def named_points() -> set[str]:
    """Every point in the code of chassis and of the services."""
    sources = [Path(chassis.__path__[0]), *(ROOT / "services").glob("*/src"), ROOT / "examples" / "company"]
    code = "".join(file.read_text("utf-8") for source in sources for file in source.rglob("*.py"))
    return set(re.findall(r'\bpoint\("([a-z.-]+)"\)', code)) | set(POINTS)


def matrix(seed: int) -> list[Death]:
    """Every service at every point that it passes, five times, in an order of its own; the instances take turns."""
    deaths = [
        (s, point, (n + i) % 2) for s, points in REACHED.items() for i, point in enumerate(points) for n in range(TIMES)
    ]
    random.Random(seed).shuffle(deaths)  # noqa: S311 - repeatable, and nothing is secret here
    return deaths


def short(seed: int) -> list[Death]:
    """For a test that has a minute: what is needed, and a point of each other service, drawn."""
    drawn = random.Random(seed)  # noqa: S311 - repeatable, and nothing is secret here
    points = [(service, point) for service in SHORT for point in NEEDED.get(service) or (drawn.choice(SHORT[service]),)]
    return [(service, point, drawn.randrange(2)) for service, point in points]
