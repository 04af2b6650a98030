"""Given, when, then: an account's life."""

from datetime import timedelta
from uuid import uuid4

import pytest

from accounts.domain import (
    Account,
    Decision,
    Deletion,
    Delivery,
    Feed,
    Held,
    address,
    delete,
    delivery,
    disclose,
    rectify,
    stated,
)
from chassis.testing import START
from privacy_contracts.accounts import AccountDeleted
from privacy_contracts.disclosures import DisclosureRefused, PersonalDataDisclosed
from privacy_contracts.replies import ReplyDone, ReplyNotFound
from privacy_contracts.requests import DeletionRequested

ANN = Account("a1", 3, "ann@example.com", "Ann", "US-CA", True, START)
NOW = START + timedelta(days=1)
ASKED = DeletionRequested(
    request=uuid4(),
    account="a1",
    stage="accounts",
    systems=["accounts"],
    attempt=1,
    requested_at=START,
    due_at=START + timedelta(days=5),
)


@pytest.mark.parametrize(
    ("typed", "is_one"),
    [
        ("ann@example.com", True),
        (" o'hara+tag@mail.example.com\t", True),
        ("ann@localhost", False),
        ("ann@example.123", False),  # nor does dsr take it
        ("ann@example.com,bob@example.com", False),
        ("ann@example.com\r\nbcc: bob@example.com", False),
        ("a" * 65 + "@example.com", False),
        ("", False),
        ("änn@example.com", False),
    ],
)
def test_an_address_is_one_address_and_nothing_else(typed: str, is_one: bool) -> None:
    assert (address(typed) is not None) is is_one


@pytest.mark.promise(65)
def test_a_correction_is_the_next_version_and_leaves_the_rest() -> None:
    corrected = rectify(ANN, email="ann@example.org", name=None, region=None, offers=None)
    assert (corrected.version, corrected.email, corrected.name) == (4, "ann@example.org", "Ann")
    assert stated(corrected).email.get_secret_value() == "ann@example.org"
    assert rectify(ANN, email=None, name=None, region=None, offers=False).offers is False


def test_a_deletion_ends_the_account_with_its_next_version_and_answers_done() -> None:
    gone, reply = delete(Held("a1", 3), None, ASKED, NOW)
    assert gone == AccountDeleted(id="a1", version=4, deleted_at=NOW)
    assert isinstance(reply, ReplyDone)
    assert (reply.request, reply.records, reply.answered_by) == (ASKED.request, 1, "system/accounts")


def test_a_reminder_gets_the_answer_that_was_given_before() -> None:
    [reply] = delete(None, Deletion("a1", 4, ASKED.request, START), ASKED, NOW)
    assert isinstance(reply, ReplyDone)
    assert reply.answered_at == START


def test_an_account_that_its_customer_closed_meanwhile_was_deleted_then() -> None:
    [reply] = delete(None, Deletion("a1", 4, None, START), ASKED, NOW)
    assert isinstance(reply, ReplyDone)
    assert reply.answered_at == START


@pytest.mark.parametrize("left", [None, Deletion("a1", 4, uuid4(), START)])
def test_nobody_there_is_not_found(left: Deletion | None) -> None:
    [reply] = delete(None, left, ASKED, NOW)
    assert isinstance(reply, ReplyNotFound)


@pytest.mark.promise(50)
def test_the_answer_of_consent_decides_and_is_named() -> None:
    feed = Feed(uuid4(), "adco", "third_party_marketing")
    yes, no = Decision(uuid4(), True, "granted", 2, 1), Decision(uuid4(), False, "withdrawn", 3, 1)
    told, kept = disclose(feed, "a1", yes, NOW), disclose(feed, "a1", no, NOW)
    assert isinstance(told, PersonalDataDisclosed)
    assert (told.decision, told.consent_version, told.case, told.basis) == (yes.decision, 2, feed.id, "consent")
    assert isinstance(kept, DisclosureRefused)
    assert (kept.decision, kept.reason) == (no.decision, "withdrawn")
    assert told.disclosure == disclose(feed, "a1", yes, NOW).disclosure


@pytest.mark.promise(50)
def test_without_an_answer_the_file_may_not_name_the_account() -> None:
    yes = Decision(uuid4(), True, "granted", 2, 1)
    assert delivery(yes) == Delivery(True, "granted", yes.decision)
    assert delivery(None) == Delivery(False, "unanswered", None)
