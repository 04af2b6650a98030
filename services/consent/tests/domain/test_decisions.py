from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent.domain import Refusal
from consent.domain.choices import InForce, Standing
from consent.domain.decisions import Ask, Record, decide
from privacy_contracts.consent import DisclosureDecided

NOW = datetime(2026, 11, 12, 9, 0, tzinfo=UTC)
ASK = Ask(UUID(int=1), "account/7", "adco", "third_party_marketing", "accounts", 3)
IN_TIME = Record(timedelta(seconds=5), timedelta(seconds=60))


def held(choice: str) -> Standing:
    return Standing(6, InForce(4, choice, NOW - timedelta(days=1)))


@pytest.mark.promise(44)
@pytest.mark.promise(50)
@pytest.mark.promise(53)
def test_a_grant_in_force_allows_and_is_named() -> None:
    decided = decide(held("granted"), IN_TIME, ASK, NOW)
    assert isinstance(decided, DisclosureDecided)
    assert (decided.allowed, decided.reason, decided.consent_version) == (True, "granted", 4)
    assert (decided.subject_id, decided.recipient, decided.purpose) == ("account/7", "adco", "third_party_marketing")
    assert (decided.asked_by, decided.policy_version, decided.decided_at) == ("accounts", 3, NOW)


@pytest.mark.promise(3)
@pytest.mark.promise(44)
@pytest.mark.promise(50)
def test_silence_is_no_consent() -> None:
    decided = decide(Standing(), IN_TIME, ASK, NOW)
    assert isinstance(decided, DisclosureDecided)
    assert (decided.allowed, decided.reason, decided.consent_version) == (False, "no_choice", None)


@pytest.mark.promise(50)
@pytest.mark.parametrize("choice", ["refused", "withdrawn"])
def test_an_opt_out_refuses_and_says_which(choice: str) -> None:
    decided = decide(held(choice), IN_TIME, ASK, NOW)
    assert isinstance(decided, DisclosureDecided)
    assert (decided.allowed, decided.reason, decided.consent_version) == (False, choice, 4)


def test_nothing_about_a_deleted_subject_is_disclosed_even_with_a_grant_left_over() -> None:
    left_over = Standing(6, InForce(4, "granted", NOW), deleted=True)
    decided = decide(left_over, IN_TIME, ASK, NOW)
    assert isinstance(decided, DisclosureDecided)
    assert (decided.allowed, decided.reason, decided.consent_version) == (False, "deleted", None)


def test_no_decision_while_the_record_is_delayed() -> None:
    late = Record(timedelta(seconds=61), timedelta(seconds=60))
    assert decide(held("granted"), late, ASK, NOW) == Refusal("record-delayed")


@pytest.mark.promise(53)
@given(
    choice=st.sampled_from([None, "granted", "refused", "withdrawn"]), deleted=st.booleans(), delay=st.integers(0, 120)
)
def test_allowed_only_with_a_grant_in_force_and_a_record_in_time(choice: str | None, deleted: bool, delay: int) -> None:
    standing = Standing(1, InForce(1, choice, NOW) if choice else None, deleted)
    decided = decide(standing, Record(timedelta(seconds=delay), timedelta(seconds=60)), ASK, NOW)
    allowed = isinstance(decided, DisclosureDecided) and decided.allowed
    assert allowed == (choice == "granted" and not deleted and delay <= 60)
