"""Accounts: given what is held, when a state or a deletion comes, then this."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from notifier.domain.accounts import Held, answer, named, supersedes
from privacy_contracts.replies import ReplyDone, ReplyNotFound
from privacy_contracts.requests import DeletionRequested

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ONE = UUID(int=1)


def deletion(*systems: str) -> DeletionRequested:
    return DeletionRequested(
        request=ONE, account="a1", stage="own", systems=list(systems), attempt=1, requested_at=NOW, due_at=NOW
    )


@pytest.mark.parametrize(
    ("held", "version", "news"),
    [
        (Held(0, deleted=False), 1, True),
        (Held(3, deleted=False), 4, True),
        (Held(3, deleted=False), 3, False),
        (Held(3, deleted=False), 2, False),
        (Held(0, deleted=True), 9, False),
    ],
)
def test_only_a_newer_state_of_an_account_that_was_not_deleted_is_kept(held: Held, version: int, news: bool) -> None:
    assert supersedes(held, version) is news


def test_only_a_named_system_acts() -> None:
    assert named(deletion("dsr", "notifier"))
    assert not named(deletion("dsr", "audit"))


def test_the_answer_to_a_deletion_says_whether_anything_was_held() -> None:
    done = answer(deletion("notifier"), 2, NOW)
    assert isinstance(done, ReplyDone)
    assert (done.request, done.account, done.system, done.records) == (ONE, "a1", "notifier", 2)
    assert isinstance(answer(deletion("notifier"), 0, NOW), ReplyNotFound)
