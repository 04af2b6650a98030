"""Decisions: given a state, when something happens, then this is said."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier import domain
from notifier.domain import Mailing, Merged, Notice, Step, Verdict
from privacy_contracts.policy import PolicyRevised
from privacy_contracts.replies import ReplyDone, ReplyNotFound
from privacy_contracts.requests import DeletionRequested, RequestClosed

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ONE, TWO, THREE = (UUID(int=number) for number in (1, 2, 3))


def revision(*, material: bool = True, supersedes: int | None = 1) -> PolicyRevised:
    return PolicyRevised(
        policy="privacy",
        version=2,
        supersedes=supersedes,
        text_hash="0" * 64,
        revised_on=date(2026, 11, 20),
        published_at=NOW,
        effective_at=NOW,
        material=material,
        reasons=["clarified"],
        decided_by="staff/officer-01",
    )


def deletion(*systems: str) -> DeletionRequested:
    return DeletionRequested(
        request=ONE, account="a1", stage="own", systems=list(systems), attempt=1, requested_at=NOW, due_at=NOW
    )


def due(number: UUID, version: int, unanswered: int = 0) -> Notice:
    return Notice(number, "policy_revised", "policy_revised", None, "a1", version, unanswered)


@pytest.mark.parametrize(
    ("step", "code", "expected"),
    [
        ("data", 250, Verdict.ACCEPTED),
        ("recipient", 550, Verdict.REJECTED),
        ("recipient", 450, Verdict.AGAIN),
        ("data", 554, Verdict.REJECTED),
        ("data", 451, Verdict.AGAIN),
        ("data", 421, Verdict.AGAIN),
        # A refusal of ourselves ends nobody's mail.
        ("sender", 550, Verdict.AGAIN),
        ("sender", 530, Verdict.AGAIN),
        ("connect", 554, Verdict.AGAIN),
    ],
)
def test_a_5xx_ends_a_mail_only_where_it_is_about_that_mail(step: Step, code: int, expected: Verdict) -> None:
    assert domain.verdict(step, code) is expected


@pytest.mark.parametrize(
    "address", ["one@example.com", "o.n-e+tag@sub.example.com", "päl@example.com", " one@example.com "]
)
def test_an_address_can_be_written_to(address: str) -> None:
    assert domain.mailbox(address) == address.strip()


def test_a_domain_in_another_script_is_written_in_ascii() -> None:
    assert domain.mailbox("one@bücher.example.com") == "one@xn--bcher-kva.example.com"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "one",
        "@example.com",
        "one@",
        "one two@example.com",
        "one@example.com\r\nBcc: two@example.com",
        "one@example.com>, <two@example.com",
        "one@two@example.com",
        "one@.example.com",
        "one@exa..mple.com",
        "o" * 65 + "@example.com",
        "one@" + "e" * 64 + ".com",
        "one@" + "example." * 40 + "com",
        "\u2028one@example.com\u2028x",
    ],
)
def test_no_mail_goes_to_what_is_no_mailbox(address: str) -> None:
    assert domain.mailbox(address) is None


@given(st.text(max_size=300))
def test_a_mailbox_never_breaks_out_of_its_line(text: str) -> None:
    found = domain.mailbox(text)
    if found is not None:
        assert found.count("@") == 1
        assert len(found) <= 254
        assert found.isprintable()
        assert not set(found) & set('<>, ;"\r\n')


def test_a_message_id_is_the_same_every_time() -> None:
    notice = Notice(ONE, "verification", "verification")
    assert domain.message_id(notice, "privacy@example.com") == f"<{ONE}@example.com>"


def test_another_mail_than_was_asked_for_has_a_message_id_of_its_own() -> None:
    notice = Notice(ONE, "verification", "unknown_address")
    assert domain.message_id(notice, "Privacy <privacy@example.com>") == f"<{ONE}@unknown_address.example.com>"


@pytest.mark.promise(83)
def test_a_material_revision_is_mailed() -> None:
    assert domain.needs_mail(revision())


@pytest.mark.promise(81)
@pytest.mark.promise(82)
@pytest.mark.parametrize("material", [True, False])
def test_every_revision_is_shown_on_the_home_page_for_30_days(material: bool) -> None:
    posted = domain.posted(revision(material=material), ONE)
    assert (posted.place, posted.posted_at, posted.until) == ("home_page", NOW, NOW + timedelta(days=30))


def test_a_typo_and_the_first_version_are_mailed_to_nobody() -> None:
    assert not domain.needs_mail(revision(material=False))
    assert not domain.needs_mail(revision(supersedes=None))


def test_a_single_policy_mail_is_sent() -> None:
    only = due(ONE, 2)
    assert domain.merged([only], ONE) == Merged(sends=only)


def test_a_settled_policy_mail_is_not_sent_again() -> None:
    assert domain.merged([], ONE) == Merged()


@pytest.mark.promise(83)
def test_the_later_of_two_mails_tells_of_both_whichever_job_runs_first() -> None:
    early, late = due(ONE, 2), due(TWO, 3)
    assert domain.merged([early, late], ONE) == Merged(superseded=(early,), by=3)
    assert domain.merged([early, late], TWO) == Merged(sends=late, superseded=(early,), by=3)


def test_a_mail_that_may_have_arrived_is_finished_by_itself() -> None:
    early, late = due(ONE, 2, unanswered=1), due(TWO, 3)
    assert domain.merged([early, late], ONE) == Merged(sends=early)
    assert domain.merged([early, late], TWO) == Merged(sends=late)


@pytest.mark.parametrize("reason", ["expired", "no_address", "account_deleted"])
def test_what_may_have_arrived_is_not_said_to_have_failed(reason: str) -> None:
    assert domain.why(due(ONE, 2), reason) == reason
    assert domain.why(due(ONE, 2, unanswered=1), reason) == "unanswered"
    assert domain.why(due(ONE, 2, unanswered=1), "rejected") == "rejected"


def test_three_revisions_make_one_mail() -> None:
    mails = [due(ONE, 2), due(TWO, 3), due(THREE, 4)]
    assert domain.merged(mails, TWO) == Merged(superseded=(mails[1],), by=4)
    assert domain.merged(mails, THREE) == Merged(sends=mails[2], superseded=(mails[0], mails[1]), by=4)


def test_a_mailing_is_complete_when_nobody_waits_and_says_so_once() -> None:
    assert domain.completed(Mailing(ONE, 2, waiting=1, sent=4, failed=1, completed=False), NOW) is None
    assert domain.completed(Mailing(ONE, 2, waiting=0, sent=4, failed=1, completed=True), NOW) is None
    said = domain.completed(Mailing(ONE, 2, waiting=0, sent=4, failed=1, completed=False), NOW)
    assert said is not None
    assert (said.notice, said.total, said.sent, said.failed) == (ONE, 5, 4, 1)


def test_a_completion_mail_needs_a_deleted_account() -> None:
    closed = RequestClosed(request=ONE, account="a1", outcome="completed", closed_at=NOW)
    assert domain.needs_completion(closed)
    assert not domain.needs_completion(closed.model_copy(update={"outcome": "not_verified"}))
    assert not domain.needs_completion(closed.model_copy(update={"account": None}))


def test_only_a_named_system_acts() -> None:
    assert domain.named(deletion("dsr", "notifier"))
    assert not domain.named(deletion("dsr", "audit"))


def test_the_answer_to_a_deletion_says_whether_anything_was_held() -> None:
    done = domain.answer(deletion("notifier"), 2, NOW)
    assert isinstance(done, ReplyDone)
    assert (done.request, done.account, done.system, done.records) == (ONE, "a1", "notifier", 2)
    assert isinstance(domain.answer(deletion("notifier"), 0, NOW), ReplyNotFound)


def test_a_notice_is_about_the_account_once_it_is_known() -> None:
    assert Notice(ONE, "verification", "unknown_address", request=TWO).subject == f"request/{TWO}"
    assert Notice(ONE, "verification", "verification", request=TWO, account="a1").subject == "account/a1"


@pytest.mark.promise(83)
def test_a_notice_records_its_recipient_as_the_subject_and_not_as_a_third_party() -> None:
    about_policy = Notice(ONE, "policy_revised", "policy_revised", account="a1", policy_version=2)
    event = domain.disclosed(about_policy, TWO, NOW)
    assert (event.subject_id, event.recipient_class, event.basis, event.case) == (
        "account/a1",
        "subject",
        "legal_notice",
        ONE,
    )
    about_request = Notice(ONE, "completion", "completion", request=THREE, account="a1")
    assert domain.disclosed(about_request, TWO, NOW).basis == "request_of_subject"


@pytest.mark.parametrize(("code", "kept"), [(550, 550), (421, 421), (None, None), (250, None), (0, None)])
def test_a_failure_keeps_the_servers_refusal(code: int | None, kept: int | None) -> None:
    notice = Notice(ONE, "completion", "completion", request=THREE, account="a1")
    assert domain.failed(notice, "rejected", code, NOW).smtp_status == kept
