"""Domain time. Leases, backoff and tokens use real time; deadlines and `ce_time` use this clock."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path


def real() -> datetime:
    """The machine's time, aware, UTC."""
    return datetime.now(UTC)


class Clock:
    """Tells domain time: real time, plus the seconds written in a file that only a local environment names."""

    def __init__(self, offset_file: Path | None = None, source: Callable[[], datetime] = real) -> None:
        self._file = offset_file
        self._source = source

    def now(self) -> datetime:
        """Aware, UTC."""
        return self._source() + self._offset()

    def _offset(self) -> timedelta:
        if self._file is None:
            return timedelta()
        try:
            return timedelta(seconds=int(self._file.read_text()))
        except (FileNotFoundError, ValueError):
            return timedelta()
