"""The movable clock's file."""

from datetime import timedelta
from pathlib import Path

import pytest

from local_stack import LocalStackError, clock


def test_it_moves_ahead_from_where_it_stands_and_back_to_real_time(tmp_path: Path) -> None:
    file = tmp_path / "clock"

    assert clock.read(file) == timedelta()
    assert clock.move(file, "+45d") == timedelta(days=45)
    assert clock.move(file, "+1d12h") == timedelta(days=46, hours=12)
    assert file.read_text() == str(46 * 86_400 + 12 * 3600)
    assert clock.move(file, "0") == timedelta()


@pytest.mark.parametrize("text", ["45d", "-1d", "+d", "+1y", "+1d ", "", "+9999999d"])
def test_anything_else_is_refused_with_examples(tmp_path: Path, text: str) -> None:
    with pytest.raises(LocalStackError, match=r"\+45d"):
        clock.move(tmp_path / "clock", text)
