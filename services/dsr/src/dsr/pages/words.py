"""What states, systems, categories and laws are called in plain words, and how dates and durations are written.

The mails call systems, categories, laws and reasons by the same words.
"""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

SYSTEMS = {
    "accounts": "customer accounts",
    "audit": "audit record",
    "consent": "privacy choices",
    "dsr": "request desk",
    "notifier": "notices by mail",
    "support": "support desk",
}

CATEGORIES = {
    "contact": "mail address",
    "identity": "name and sign-in",
    "orders": "orders",
    "invoices": "invoices",
    "marketing": "marketing lists",
    "correspondence": "letters and calls with our support",
    "choices": "privacy choices",
    "requests": "the record of privacy requests",
    "notices": "the record of mails sent",
}

LAWS = {
    "us.irc.6001": "tax law asks for it (26 U.S.C. § 6001)",
    "us.ca.11ccr7101": "privacy law asks us to be able to show what we did (11 CCR § 7101)",
    "us.ca.civ1798.105d8": "another law asks for it (Cal. Civ. Code § 1798.105(d)(8))",
}

REASONS = {
    "no_answer": "it has not answered us",
    "system_retired": "it is not in use any more and could not be asked",
    "technical_fault": "a technical fault keeps it from answering",
}
"""Why an officer went on without a system's answer."""

STATES = {
    "waiting": "Its turn comes later",
    "asked": "Working on it",
    "failed": "Could not do it yet, will be asked again",
    "done": "Deleted",
    "retained": "Deleted, but for what is named here",
    "not_found": "Held nothing about you",
}


def system(name: str) -> str:
    """A system's name for people."""
    return SYSTEMS.get(name, name.replace("-", " ")).capitalize()


def category(code: str) -> str:
    """A kind of data; an unknown code stands for itself."""
    return CATEGORIES.get(code, code.replace("_", " "))


def law(code: str) -> str:
    """Why something is kept; an unknown code stands for itself."""
    return LAWS.get(code, f"a law asks for it ({code})")


def reason(code: str) -> str:
    """Why a system is outstanding; an unknown code stands for itself."""
    return REASONS.get(code, code.replace("_", " "))


def day(value: date | datetime, zone: ZoneInfo) -> str:
    """`20 November 2026`, in the company's time zone."""
    local = value.astimezone(zone) if isinstance(value, datetime) else value
    return f"{local.day} {local:%B %Y}"


def short_day(value: datetime, zone: ZoneInfo) -> str:
    """`20 Nov 2026`, where there is little room."""
    local = value.astimezone(zone)
    return f"{local.day} {local:%b %Y}"


def moment(value: datetime, zone: ZoneInfo) -> str:
    """`20 November 2026, 23:30 PST`."""
    local = value.astimezone(zone)
    return f"{local.day} {local:%B %Y, %H:%M %Z}"


def duration(value: timedelta) -> str:
    """The largest unit that fits without a rest: `3 days`, `36 hours`, `2 seconds`."""
    seconds = int(value.total_seconds())
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds and seconds % size == 0:
            return f"{seconds // size} {unit}{'' if seconds == size else 's'}"
    return f"{seconds} second{'' if seconds == 1 else 's'}"
