import hashlib
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from consent.domain import Refusal
from consent.domain.policies import (
    CHANGES_TREATMENT,
    Announcement,
    Present,
    Publish,
    Version,
    announce,
    publish,
    sha256,
    show,
)
from privacy_contracts.policy import PolicyRevised

NOW = datetime(2026, 11, 12, 9, 0, tzinfo=UTC)
TODAY = date(2026, 11, 12)
PRESENT = Present(4, sha256("before"), date(2026, 3, 1), datetime(2026, 4, 1, tzinfo=UTC))
MONTH = timedelta(days=30)
FIRST = Publish("# Privacy\n", False, ("first_version",), "staff/officer-01", MONTH)


def version(number: int, *, effective_at: datetime = NOW, material: bool = False) -> Version:
    return Version(
        version=number,
        supersedes=number - 1 or None,
        text="# Privacy\n",
        text_hash=sha256("# Privacy\n"),
        summary="New words.",
        material=material,
        reasons=("clarified",),
        revised_on=TODAY,
        published_at=NOW,
        effective_at=effective_at,
        announced_until=NOW + MONTH,
    )


def published(result: PolicyRevised | Refusal) -> PolicyRevised:
    assert isinstance(result, PolicyRevised)
    return result


@pytest.mark.promise(4)
def test_the_first_version_is_1_and_supersedes_nothing() -> None:
    revised = published(publish(None, FIRST, NOW, TODAY))
    assert (revised.policy, revised.version, revised.supersedes) == ("privacy", 1, None)
    assert (revised.revised_on, revised.published_at, revised.effective_at) == (TODAY, NOW, NOW)
    assert revised.text_hash == hashlib.sha256(b"# Privacy\n").hexdigest()


@pytest.mark.promise(4)
@pytest.mark.promise(83)
def test_the_next_version_names_what_it_replaces_and_who_held_it_material_and_why() -> None:
    command = replace(FIRST, material=True, reasons=("new_recipient", "clarified"))
    revised = published(publish(PRESENT, command, NOW, TODAY))
    assert (revised.version, revised.supersedes, revised.material) == (5, 4, True)
    assert revised.reasons == ["new_recipient", "clarified"]
    assert revised.decided_by == "staff/officer-01"


def test_the_same_text_again_is_no_revision() -> None:
    assert publish(PRESENT, replace(FIRST, text="before"), NOW, TODAY) == Refusal("same-text")


def test_the_hash_is_of_the_exact_bytes() -> None:
    for text in ("a\r\nb", "a\nb", "a\nb\n", "é", "e\u0301"):
        assert published(publish(None, replace(FIRST, text=text), NOW, TODAY)).text_hash == (
            hashlib.sha256(text.encode("utf-8")).hexdigest()
        )


def test_effective_not_before_publication() -> None:
    before = replace(FIRST, effective_at=NOW - timedelta(seconds=1))
    assert publish(None, before, NOW, TODAY) == Refusal("effective-before-publication")
    at_once = replace(FIRST, effective_at=NOW)
    assert published(publish(None, at_once, NOW, TODAY)).effective_at == NOW


def test_effective_in_the_order_of_versions() -> None:
    waiting = replace(PRESENT, effective_at=NOW + timedelta(days=30))
    sooner = replace(FIRST, effective_at=NOW + timedelta(days=29))
    assert publish(waiting, sooner, NOW, TODAY) == Refusal("effective-out-of-order")
    together = replace(FIRST, effective_at=NOW + timedelta(days=30))
    assert published(publish(waiting, together, NOW, TODAY)).effective_at == NOW + timedelta(days=30)


def test_without_a_date_it_is_effective_at_once_but_not_before_what_it_replaces() -> None:
    waiting = replace(PRESENT, effective_at=NOW + timedelta(days=30))
    assert published(publish(waiting, FIRST, NOW, TODAY)).effective_at == NOW + timedelta(days=30)


@pytest.mark.promise(84)
def test_the_date_of_revision_may_lie_back_but_not_ahead_and_not_before_the_last() -> None:
    assert published(publish(None, replace(FIRST, revised_on=date(2020, 7, 10)), NOW, TODAY)).revised_on == date(
        2020, 7, 10
    )
    tomorrow = replace(FIRST, revised_on=TODAY + timedelta(days=1))
    assert publish(None, tomorrow, NOW, TODAY) == Refusal("revised-in-future")
    older = replace(FIRST, revised_on=date(2026, 2, 28))
    assert publish(PRESENT, older, NOW, TODAY) == Refusal("revised-out-of-order")


@pytest.mark.promise(83)
@pytest.mark.parametrize("reason", sorted(CHANGES_TREATMENT))
def test_a_change_of_treatment_cannot_pass_for_a_small_one(reason: str) -> None:
    quiet = replace(FIRST, reasons=("typo", reason))
    assert publish(PRESENT, quiet, NOW, TODAY) == Refusal("material-by-reason")
    assert published(publish(PRESENT, replace(quiet, material=True), NOW, TODAY)).material


@pytest.mark.promise(82)
@pytest.mark.parametrize("material", [True, False])
def test_the_home_page_announces_the_newest_version_until_the_time_on_record(material: bool) -> None:
    second = version(2, material=material)
    told = Announcement(second, "updated")
    assert announce(second, NOW) == told
    assert announce(second, second.announced_until - timedelta(microseconds=1)) == told
    assert announce(second, second.announced_until) is None


@pytest.mark.promise(82)
def test_the_first_version_is_announced_as_published_and_before_it_there_is_nothing() -> None:
    assert announce(version(1), NOW) == Announcement(version(1), "published")
    assert announce(None, NOW) is None


@pytest.mark.promise(82)
def test_an_announcement_counts_from_publication_and_not_from_effect() -> None:
    later = replace(FIRST, effective_at=NOW + 2 * MONTH, announced_for=timedelta(days=7))
    assert published(publish(None, later, NOW, TODAY)).announced_until == NOW + timedelta(days=7)


def test_without_a_number_the_version_published_last_is_shown_in_effect_or_not() -> None:
    second, first = version(2, effective_at=NOW + MONTH), version(1)
    found = show([second, first], None, NOW)
    assert found is not None
    assert (found.version, found.newest, found.in_force, found.applies_until) == (second, second, 1, None)


def test_a_version_applies_until_the_next_one_takes_effect() -> None:
    versions = [version(3, effective_at=NOW + 2 * MONTH), version(2, effective_at=NOW + MONTH), version(1)]
    first, second = show(versions, 1, NOW), show(versions, 2, NOW)
    assert first is not None
    assert second is not None
    assert (first.in_force, first.applies_until) == (1, NOW + MONTH)
    assert (second.in_force, second.applies_until) == (1, None)
    first, second = show(versions, 1, NOW + MONTH), show(versions, 2, NOW + MONTH)
    assert first is not None
    assert second is not None
    assert (first.in_force, first.applies_until) == (2, None)
    assert (second.in_force, second.applies_until) == (2, NOW + 2 * MONTH)


@pytest.mark.parametrize("number", [None, 0, 2])
def test_what_was_never_published_is_not_shown(number: int | None) -> None:
    assert show([] if number is None else [version(1)], number, NOW) is None
