"""Revisions: given what waits, when one comes or a mail is due, then this is shown, sent and said."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest

from notifier.domain.notices import Notice
from notifier.domain.revisions import Mailing, Merged, Revision, completed, has_text, merged, needs_mail, posted
from privacy_contracts.policy import PolicyRevised

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ONE, TWO, THREE = (UUID(int=number) for number in (1, 2, 3))


def revision(
    *, material: bool = True, supersedes: int | None = 1, announced_until: datetime | None = None
) -> PolicyRevised:
    return PolicyRevised(
        policy="privacy",
        version=2,
        supersedes=supersedes,
        text_hash="0" * 64,
        revised_on=date(2026, 11, 20),
        published_at=NOW,
        effective_at=NOW,
        announced_until=announced_until,
        material=material,
        reasons=["clarified"],
        decided_by="staff/officer-01",
    )


def due(number: UUID, version: int, unanswered: int = 0) -> Notice:
    return Notice(number, "policy_revised", "policy_revised", None, "a1", version, unanswered)


@pytest.mark.promise(83)
def test_a_material_revision_is_mailed() -> None:
    assert needs_mail(revision())


@pytest.mark.promise(81)
@pytest.mark.promise(82)
@pytest.mark.parametrize("material", [True, False])
def test_every_revision_is_shown_on_the_home_page_until_the_time_that_it_names(material: bool) -> None:
    until = NOW + timedelta(days=7)
    notice = posted(revision(material=material, announced_until=until), ONE)
    assert (notice.place, notice.posted_at, notice.until) == ("home_page", NOW, until)


@pytest.mark.promise(82)
def test_a_revision_that_names_no_time_is_shown_for_30_days() -> None:
    assert posted(revision(), ONE).until == NOW + timedelta(days=30)


def test_a_typo_and_the_first_version_are_mailed_to_nobody() -> None:
    assert not needs_mail(revision(material=False))
    assert not needs_mail(revision(supersedes=None))


def test_a_single_policy_mail_is_sent() -> None:
    only = due(ONE, 2)
    assert merged([only], ONE) == Merged(sends=only)


def test_a_settled_policy_mail_is_not_sent_again() -> None:
    assert merged([], ONE) == Merged()


@pytest.mark.promise(83)
def test_the_later_of_two_mails_tells_of_both_whichever_job_runs_first() -> None:
    early, late = due(ONE, 2), due(TWO, 3)
    assert merged([early, late], ONE) == Merged(superseded=(early,), by=3)
    assert merged([early, late], TWO) == Merged(sends=late, superseded=(early,), by=3)


def test_a_mail_that_may_have_arrived_is_finished_by_itself() -> None:
    early, late = due(ONE, 2, unanswered=1), due(TWO, 3)
    assert merged([early, late], ONE) == Merged(sends=early)
    assert merged([early, late], TWO) == Merged(sends=late)


@pytest.mark.parametrize(
    ("summaries", "ready"),
    [
        (["A second courier."], True),
        ([None], False),
        ([""], False),
        (["A second courier.", None], False),
        ([None, "A new purpose."], False),
        (["", "A new purpose."], True),
        (["A second courier.", ""], False),
    ],
)
def test_a_policy_mail_waits_until_consent_was_asked_about_each_and_answered_about_the_latest(
    summaries: list[str | None], ready: bool
) -> None:
    told = [Revision(number, NOW.date(), NOW, NOW, each, each) for number, each in enumerate(summaries, 2)]
    assert has_text(told) is ready


def test_three_revisions_make_one_mail() -> None:
    mails = [due(ONE, 2), due(TWO, 3), due(THREE, 4)]
    assert merged(mails, TWO) == Merged(superseded=(mails[1],), by=4)
    assert merged(mails, THREE) == Merged(sends=mails[2], superseded=(mails[0], mails[1]), by=4)


def test_a_mailing_is_complete_when_nobody_waits_and_says_so_once() -> None:
    assert completed(Mailing(ONE, 2, waiting=1, sent=4, failed=1, completed=False), NOW) is None
    assert completed(Mailing(ONE, 2, waiting=0, sent=4, failed=1, completed=True), NOW) is None
    said = completed(Mailing(ONE, 2, waiting=0, sent=4, failed=1, completed=False), NOW)
    assert said is not None
    assert (said.notice, said.total, said.sent, said.failed) == (ONE, 5, 4, 1)
