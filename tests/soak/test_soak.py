"""How rounds are dealt and how their results are told; what the rounds themselves find is in `docs/faults.md`."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from ..crash.plan import TIMES, matrix
from ..crash.watching import Seen, together
from . import results, rounds, table, timings
from .results import KILLS, ROUNDS, Round

ROUND = Round(
    number=3,
    seed=1003,
    revision="0123abcd",
    began="2026-11-26T05:00:00+00:00",
    seconds=200,
    dying_seconds=120,
    kills={"dsr-2": 20, "kafka": 5},
    points=[["dsr", "timers.before-commit"], ["dsr-2", "timers.before-commit"]],
    planned=2,
    deletions=10,
    unknown=40,
    repeated_mails=1,
    seen=Seen(inbox_skips=1).as_dict(),
)


def test_the_rounds_share_the_whole_matrix_and_a_thousand_kills() -> None:
    plans = [rounds.plan(number) for number in range(ROUNDS)]

    dealt = [death for _, deaths, _ in plans for death in deaths]
    assert sorted(dealt) == sorted(matrix(rounds.MATRIX_SEED))
    assert len(dealt) == TIMES * len({death[:2] for death in dealt})
    assert sum(len(kills) for _, _, kills in plans) == ROUNDS * KILLS == 1000
    assert {"kafka", "postgres", "orders", "marketing", "dsr", "dsr-2"} <= {
        name for _, _, kills in plans for name in kills
    }


def test_a_round_repeats_by_its_number() -> None:
    assert rounds.plan(7) == rounds.plan(7)
    assert len({rounds.plan(number)[0] for number in range(ROUNDS)}) == ROUNDS


def test_what_was_written_is_done_unless_it_was_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    results.write("1/2", ROUND)
    results.write("1/2", replace(ROUND, number=7, broken=["closed_once: twice"]))

    assert [each.number for _, each in results.rounds(tmp_path)] == [3, 7]
    assert results.done(tmp_path) == {3}


def test_the_page_counts_what_was_done_and_tells_what_was_broken() -> None:
    broken = replace(ROUND, number=7, broken=["closed_once: twice"])
    told = table.page([("1/2", ROUND), ("1/2", broken)], [], {"dsr-kill-idle": 4.2, "bad-deploy": 20})

    assert "| rounds done, with every invariant | 1 of 10 |" in told
    assert "| kills at random | 25 of 1000 |" in told
    assert "| `timers.before-commit` | 2 |" in told
    assert "closed_once: twice" in told
    assert "| dsr | SIGKILL | 4 |  |" in told
    assert "1 of 162 are played; further cases: bad-deploy (20 s)." in told


def test_the_page_is_that_of_the_results() -> None:
    """Given `make soak-table` was run and both were committed."""
    assert table.PAGE.read_text("utf-8") == table.page(results.rounds(), results.timings(), results.cells())


def test_each_shard_that_is_done_saw_what_the_second_instances_are_there_for() -> None:
    """A shard is the run: a round of its own may meet no timer in a dead hand."""
    done = [(shard, found) for shard, found in results.rounds() if not found.broken]
    for shard in {shard for shard, _ in done}:
        mine = [found for of, found in done if of == shard]
        if len(mine) == ROUNDS // int(shard.partition("/")[2]):
            assert together([Seen(**found.seen) for found in mine]).lacking() == []


def test_what_was_not_seen_is_named() -> None:
    assert Seen().lacking() == ["inbox_skips", "relay_repeats", "rebalances", "timer_takeovers"]
    assert Seen(inbox_skips=1, relay_repeats=1, rebalances=1, timer_takeovers=1).lacking() == []


def test_a_result_is_read_as_it_was_written() -> None:
    assert Round(**json.loads(json.dumps(asdict(ROUND)))) == ROUND


def test_an_effect_is_measured_and_no_effect_is_none() -> None:
    slower = timings.compare("x", [2.0 + n / 1000 for n in range(500)], [1.0 + n / 1000 for n in range(500)])
    alike = timings.compare("x", [n / 1000 for n in range(500)], [n / 1000 for n in range(500)])
    assert slower.delta == 1.0
    assert slower.p < 0.001
    assert alike.delta == 0.0
    assert alike.p == 1.0
