"""One mail: given its state, when a server answers or it ends, then this is said."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from notifier.domain.notices import (
    Notice,
    Step,
    Verdict,
    cancelled,
    disclosed,
    failed,
    late,
    living,
    message_id,
    needs_completion,
    verdict,
    why,
)
from privacy_contracts.requests import RequestClosed

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ONE, TWO, THREE = (UUID(int=number) for number in (1, 2, 3))


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
    assert verdict(step, code) is expected


@pytest.mark.parametrize(
    ("template", "account", "expected"),
    [
        ("verification", "a1", "a1"),
        ("policy_revised", "a1", "a1"),
        ("completion", "a1", None),
        ("unknown_address", None, None),
        ("escalation", None, None),
        ("verification", None, None),
    ],
)
def test_a_mail_needs_a_living_account_where_it_goes_to_its_present_address(
    template: str, account: str | None, expected: str | None
) -> None:
    assert living(Notice(ONE, "verification", template, request=TWO, account=account)) == expected


def test_a_message_id_is_the_same_every_time() -> None:
    notice = Notice(ONE, "verification", "verification")
    assert message_id(notice, "privacy@example.com") == f"<{ONE}@example.com>"


def test_an_escalation_is_what_was_asked_for_whichever_system_is_late() -> None:
    notice = Notice(ONE, late("orders"), "escalation", request=TWO)
    assert message_id(notice, "privacy@example.com") == f"<{ONE}@example.com>"


def test_another_mail_than_was_asked_for_has_a_message_id_of_its_own() -> None:
    notice = Notice(ONE, "verification", "unknown_address")
    assert message_id(notice, "Privacy <privacy@example.com>") == f"<{ONE}@unknown_address.example.com>"


def test_a_deletion_ends_the_mails_that_have_not_left_and_no_other() -> None:
    waits, left = due(ONE, 2), due(TWO, 3, unanswered=1)
    assert cancelled([waits, left]) == [waits]


@pytest.mark.parametrize("reason", ["expired", "no_address", "account_deleted"])
def test_what_may_have_arrived_is_not_said_to_have_failed(reason: str) -> None:
    assert why(due(ONE, 2), reason) == reason
    assert why(due(ONE, 2, unanswered=1), reason) == "unanswered"
    assert why(due(ONE, 2, unanswered=1), "rejected") == "rejected"


@pytest.mark.parametrize("account", ["a1", None])
def test_a_completion_mail_needs_a_deletion_of_an_account_or_of_somebody_without_one(account: str | None) -> None:
    closed = RequestClosed(request=ONE, account=account, outcome="completed", closed_at=NOW)
    assert needs_completion(closed)
    assert not needs_completion(closed.model_copy(update={"outcome": "not_verified"}))
    assert not needs_completion(closed.model_copy(update={"outcome": "not_confirmed"}))


def test_a_notice_is_about_the_account_once_it_is_known() -> None:
    assert Notice(ONE, "verification", "unknown_address", request=TWO).subject == f"request/{TWO}"
    assert Notice(ONE, "verification", "verification", request=TWO, account="a1").subject == "account/a1"


@pytest.mark.promise(83)
def test_a_notice_records_its_recipient_as_the_subject_and_not_as_a_third_party() -> None:
    about_policy = Notice(ONE, "policy_revised", "policy_revised", account="a1", policy_version=2)
    event = disclosed(about_policy, TWO, NOW)
    assert event
    assert (event.subject_id, event.recipient_class, event.basis, event.case) == (
        "account/a1",
        "subject",
        "legal_notice",
        ONE,
    )
    about_request = Notice(ONE, "completion", "completion", request=THREE, account="a1")
    event = disclosed(about_request, TWO, NOW)
    assert event
    assert event.basis == "request_of_subject"


def test_an_owner_is_told_nothing_about_the_person() -> None:
    assert disclosed(Notice(ONE, late("orders"), "escalation", request=TWO), THREE, NOW) is None


@pytest.mark.parametrize(("code", "kept"), [(550, 550), (421, 421), (None, None), (250, None), (0, None)])
def test_a_failure_keeps_the_servers_refusal(code: int | None, kept: int | None) -> None:
    notice = Notice(ONE, "completion", "completion", request=THREE, account="a1")
    assert failed(notice, "rejected", code, NOW).smtp_status == kept
