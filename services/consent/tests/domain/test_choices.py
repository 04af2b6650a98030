from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent.domain import Refusal
from consent.domain.choices import Choose, Chosen, InForce, Standing, choose, restored

NOW = datetime(2026, 11, 12, 9, 0, tzinfo=UTC)
EARLIER = NOW - timedelta(hours=1)
OPT_OUTS = ["refused", "withdrawn"]


def command(choice: str = "granted", received_at: datetime | None = None) -> Choose:
    return Choose("account/7", "third_party_marketing", choice, "0" * 64, "profile", received_at, 3)


def standing(choice: str, received_at: datetime, version: int = 4, last: int = 4) -> Standing:
    return Standing(last, InForce(version, choice, received_at))


def recorded(result: Chosen | Refusal) -> Chosen:
    assert isinstance(result, Chosen)
    return result


@pytest.mark.promise(41)
@pytest.mark.promise(60)
@pytest.mark.promise(61)
@pytest.mark.parametrize("choice", ["granted", "refused", "withdrawn"])
def test_first_choice_is_version_1_whatever_it_says(choice: str) -> None:
    # given nothing; when a person chooses
    chosen = recorded(choose(Standing(), command(choice), NOW))
    # then it is recorded, and published with all that proves it
    assert (chosen.version, chosen.received_at, chosen.took_effect) == (1, NOW, True)
    assert chosen.event is not None
    assert chosen.event.model_dump() == {
        "subject_id": "account/7",
        "purpose": "third_party_marketing",
        "choice": choice,
        "version": 1,
        "text_hash": "0" * 64,
        "channel": "profile",
        "received_at": NOW,
        "policy_version": 3,
    }


@pytest.mark.promise(43)
def test_later_choice_replaces_an_earlier_one() -> None:
    chosen = recorded(choose(standing("granted", EARLIER), command("withdrawn"), NOW))
    assert (chosen.version, chosen.took_effect) == (5, True)
    chosen = recorded(choose(standing("withdrawn", EARLIER), command("granted"), NOW))
    assert (chosen.version, chosen.took_effect) == (5, True)


@pytest.mark.promise(43)
@pytest.mark.parametrize("opt_out", OPT_OUTS)
def test_older_grant_is_history_and_does_not_undo_an_opt_out(opt_out: str) -> None:
    # given an opt-out; when a grant received before it comes in late
    chosen = recorded(choose(standing(opt_out, NOW), command("granted", EARLIER), NOW))
    # then it gets a version of its own and nothing is published
    assert chosen == Chosen(5, EARLIER, None)


def test_an_older_opt_out_does_not_undo_a_newer_grant() -> None:
    assert not recorded(choose(standing("granted", NOW), command("withdrawn", EARLIER), NOW)).took_effect


@pytest.mark.promise(43)
@pytest.mark.parametrize("opt_out", OPT_OUTS)
def test_opt_out_wins_ties(opt_out: str) -> None:
    assert recorded(choose(standing("granted", NOW), command(opt_out, NOW), NOW)).took_effect
    assert not recorded(choose(standing(opt_out, NOW), command("granted", NOW), NOW)).took_effect


def test_clock_slightly_ahead_is_read_as_now_so_that_an_opt_out_right_after_still_wins() -> None:
    ahead = NOW + timedelta(seconds=40)
    chosen = recorded(choose(Standing(), command("granted", ahead), NOW))
    assert chosen.received_at == NOW
    held = standing("granted", chosen.received_at)
    assert recorded(choose(held, command("withdrawn"), NOW + timedelta(seconds=1))).took_effect


def test_choice_from_the_future_is_refused() -> None:
    assert choose(Standing(), command("granted", NOW + timedelta(minutes=2)), NOW) == Refusal("received-in-future")


def test_nothing_is_recorded_about_a_deleted_subject() -> None:
    assert choose(Standing(deleted=True), command("granted"), NOW) == Refusal("deleted")


ARRIVALS = st.lists(
    st.tuples(st.sampled_from(["granted", "refused", "withdrawn"]), st.integers(min_value=0, max_value=6)), min_size=1
)


def arrive(held: Standing, choice: str, minute: int) -> tuple[Standing, Chosen]:
    """One more choice comes in."""
    chosen = recorded(choose(held, command(choice, EARLIER + timedelta(minutes=minute)), NOW))
    in_force = InForce(chosen.version, choice, chosen.received_at) if chosen.took_effect else held.in_force
    return Standing(chosen.version, in_force), chosen


@pytest.mark.promise(43)
@given(ARRIVALS, st.randoms(use_true_random=False))
def test_whether_consent_is_given_does_not_depend_on_the_order_of_arrival(
    arrivals: list[tuple[str, int]], random: Random
) -> None:
    last = max(minute for _, minute in arrivals)
    expected = all(choice == "granted" for choice, minute in arrivals if minute == last)
    random.shuffle(arrivals)
    held = Standing()
    for choice, minute in arrivals:
        held, _ = arrive(held, choice, minute)
    assert held.in_force is not None
    assert (held.in_force.choice == "granted") is expected
    assert held.in_force.received_at == EARLIER + timedelta(minutes=last)


@given(ARRIVALS)
def test_versions_count_every_choice_and_published_ones_only_grow(arrivals: list[tuple[str, int]]) -> None:
    held, versions, published = Standing(), [], []
    for choice, minute in arrivals:
        held, chosen = arrive(held, choice, minute)
        versions.append(chosen.version)
        if chosen.event:
            published.append((chosen.event.version, chosen.event.received_at))
    assert versions == list(range(1, len(arrivals) + 1))
    assert published == sorted(published)


@pytest.mark.promise(43)
@given(ARRIVALS, ARRIVALS)
def test_replaying_what_came_before_an_opt_out_never_brings_consent_back(
    before: list[tuple[str, int]], replayed: list[tuple[str, int]]
) -> None:
    held = Standing()
    for choice, minute in before:
        held, _ = arrive(held, choice, minute)
    held, _ = arrive(held, "withdrawn", 6)
    for choice, minute in [*before, *replayed]:
        held, _ = arrive(held, choice, minute)
        assert held.in_force is not None
        assert held.in_force.choice != "granted"


@pytest.mark.parametrize("choice", ["granted", *OPT_OUTS])
@pytest.mark.parametrize("words_are_known", [True, False])
def test_after_a_restore_all_holds_but_a_grant_to_words_that_are_lost(choice: str, words_are_known: bool) -> None:
    said = recorded(choose(Standing(), command(choice), NOW)).event
    assert said
    back = restored(said, words_are_known=words_are_known)
    assert (back.version, back.received_at) == (said.version, said.received_at)
    assert back.took_effect == (words_are_known or choice in OPT_OUTS)
