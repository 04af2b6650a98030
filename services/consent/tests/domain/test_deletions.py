from datetime import UTC, datetime, timedelta
from uuid import UUID

from consent.domain.deletions import answer, names_us
from privacy_contracts.replies import ReplyDone, ReplyNotFound
from privacy_contracts.requests import DeletionRequested

NOW = datetime(2026, 11, 12, 9, 0, tzinfo=UTC)


def requested(*systems: str, attempt: int = 1) -> DeletionRequested:
    return DeletionRequested(
        request=UUID(int=9),
        account="7",
        stage="own",
        systems=list(systems),
        attempt=attempt,
        reminder=attempt > 1,
        requested_at=NOW,
        due_at=NOW + timedelta(days=5),
    )


def test_we_act_only_when_named() -> None:
    assert names_us(requested("notifier", "consent"))
    assert not names_us(requested("notifier", "dsr"))


def test_done_with_the_number_of_records_or_not_found() -> None:
    reply = answer(3, requested("consent"), NOW)
    assert isinstance(reply, ReplyDone)
    assert (reply.request, reply.account, reply.system) == (UUID(int=9), "7", "consent")
    assert (reply.records, reply.answered_by, reply.topic) == (3, "service/consent", "replies.consent")
    assert isinstance(answer(0, requested("consent"), NOW), ReplyNotFound)


def test_a_reminder_is_answered_like_the_first_asking() -> None:
    assert answer(3, requested("consent", attempt=4), NOW) == answer(3, requested("consent"), NOW)
