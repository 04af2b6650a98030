"""Given what is known of an account, when a state of it comes, then it is held or not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsr.domain.accounts import Held, supersedes


@pytest.mark.parametrize(
    ("held", "stated", "expected"),
    [
        (Held(), 1, True),
        (Held(), 7, True),  # the log may have been compacted: the first state seen need not be the first there was
        (Held(1), 2, True),
        (Held(2), 2, False),
        (Held(3), 2, False),
        (Held(deleted=True), 1, False),
        (Held(2, deleted=True), 9, False),
    ],
    ids=["first", "late first", "newer", "repeat", "older", "deleted", "deleted, newer"],
)
def test_a_higher_version_wins_unless_the_account_is_gone(held: Held, stated: int, expected: bool) -> None:
    assert supersedes(held, stated) is expected


@given(st.lists(st.integers(1, 9), min_size=1))
def test_in_whatever_order_states_come_the_highest_is_held_at_the_end(versions: list[int]) -> None:
    held = Held()
    for version in versions:
        if supersedes(held, version):
            held = Held(version)
    assert held == Held(max(versions))
