"""Dates as people read them, in the company's time zone."""

from datetime import date, datetime
from zoneinfo import ZoneInfo


def day(at: date | datetime, time_zone: str) -> str:
    """A date such as `10 July 2026`."""
    if isinstance(at, datetime):
        at = at.astimezone(ZoneInfo(time_zone))
    return f"{at.day} {at:%B} {at.year}"
