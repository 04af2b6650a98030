"""The clock of a request. It starts on the day of receipt, in the company's own time zone, and nothing stops it."""

from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

RESPOND_WITHIN = 45
"""Calendar days to answer, from receipt and whatever verification takes (11 CCR 7021(b); Civ. Code 1798.130(a)(2))."""

KEEP_RECORDS = 24
"""Months for which the record of a request is kept at least (11 CCR 7101(a))."""

KEEP_FINAL_ADDRESS = timedelta(days=7)
"""How long after closing the address for the last mail may live, should no mail server ever answer."""

KEEP_FOR_OUTSTANDING = timedelta(days=45)
"""How long after closing the address may live for systems that an officer went on without, and which look for it when
they are back: as long again as the answer may take at most (11 CCR 7021(b))."""


def due_date(received_at: datetime, zone: ZoneInfo) -> date:
    """The last day to answer. Counted strictly: the day of receipt is the first of the 45."""
    return received_at.astimezone(zone).date() + timedelta(days=RESPOND_WITHIN - 1)


def due_at(received_at: datetime, zone: ZoneInfo) -> datetime:
    """The last second of the due date, as UTC."""
    return datetime.combine(due_date(received_at, zone), time(23, 59, 59), zone).astimezone(UTC)


def is_due(due: datetime, now: datetime, zone: ZoneInfo) -> bool:
    """Whether the due date has come: from the first moment of that day in the company's time zone."""
    return now.astimezone(zone).date() >= due.astimezone(zone).date()


def record_kept_until(due: datetime, now: datetime, zone: ZoneInfo) -> date:
    """The day until which the record of a request is kept.

    The request closes by its due date, or is closed about now when that has passed; the later of the two is counted
    from, so that the months of 11 CCR 7101(a) are never cut short. Audit counts its own record from the same day.
    """
    start = max(due, now).astimezone(zone).date()
    year, month = divmod(start.year * 12 + start.month - 1 + KEEP_RECORDS, 12)
    return date(year, month + 1, min(start.day, monthrange(year, month + 1)[1]))
