from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from dsr.domain.deadlines import due_at, due_date, record_kept_until

LOS_ANGELES = ZoneInfo("America/Los_Angeles")


@pytest.mark.promise(67)
@pytest.mark.parametrize(
    ("received", "due"),
    [
        ((2026, 11, 20, 23, 30), (2027, 1, 3)),  # a Friday evening; Saturday in UTC
        ((2026, 11, 20, 0, 0), (2027, 1, 3)),
        ((2026, 11, 21, 0, 0), (2027, 1, 4)),
        ((2026, 12, 31, 23, 59), (2027, 2, 13)),
        ((2027, 1, 1, 0, 0), (2027, 2, 14)),
        ((2028, 1, 20, 12, 0), (2028, 3, 4)),  # over a leap day
        ((2027, 2, 28, 12, 0), (2027, 4, 13)),  # over the start of summer time
    ],
)
def test_the_day_of_receipt_in_the_companys_time_zone_is_the_first_of_45(
    received: tuple[int, ...], due: tuple[int, int, int]
) -> None:
    at = datetime(*received, tzinfo=LOS_ANGELES)  # type: ignore[misc, arg-type]  # a tuple of date and time parts
    assert due_date(at.astimezone(UTC), LOS_ANGELES) == date(*due)


def test_the_due_time_is_the_end_of_the_due_date_where_the_company_is() -> None:
    received = datetime(2026, 11, 20, 23, 30, tzinfo=LOS_ANGELES)
    assert due_at(received, LOS_ANGELES) == datetime(2027, 1, 4, 7, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("due", "now", "until"),
    [
        ((2027, 1, 4, 7, 59, 59), (2026, 11, 24), date(2029, 1, 3)),  # answered in time: from the due date
        ((2027, 1, 4, 7, 59, 59), (2027, 3, 1, 20), date(2029, 3, 1)),  # answered late: from the answer
        ((2028, 3, 1, 7, 59, 59), (2028, 2, 1), date(2030, 2, 28)),  # from a leap day
        ((2027, 1, 1, 7, 59, 59), (2026, 12, 1), date(2028, 12, 31)),
    ],
)
def test_a_record_is_kept_24_months_from_the_later_of_due_date_and_answer(
    due: tuple[int, ...], now: tuple[int, ...], until: date
) -> None:
    due_time, now_time = datetime(*due, tzinfo=UTC), datetime(*now, tzinfo=UTC)  # type: ignore[misc, arg-type]  # tuples of parts
    assert record_kept_until(due_time, now_time, LOS_ANGELES) == until
