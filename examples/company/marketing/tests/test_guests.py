"""Persons are found by their address too: those without an account, and those who stand on the list under another."""

import os
import shutil
from pathlib import Path

import pytest

from .conftest import SECRET, World

ODD = (
    "O'Hara@example.com",
    "100%s%n@example.com",
    '"a,b"@example.com',
    "$(exit)`exit`;@example.com",
    '{x}|"value":"y"*/~@example.com',
    "&amp;#?=+tag@example.com",
)


def outcomes(world: World) -> list[str]:
    return [answer["outcome"] for _, _, answer in world.answers]


@pytest.mark.promise(67)
def test_an_address_of_any_case_and_with_any_sign_is_found_and_leaves_no_copy(world: World) -> None:
    world.listed = {f"a{number}": email for number, email in enumerate(ODD)} | {"b1": "bob@example.com"}
    for email in ODD:
        world.task(None, email.swapcase())
    world.task(None, "100@example.com", "")
    output = world.once()
    assert outcomes(world) == ["done"] * len(ODD) + ["not_found"]
    assert world.subscribers == ["b1,bob@example.com"]
    assert "@" not in output
    kept = {file.name: file.read_text() for file in world.data.iterdir()}
    assert [name for name, text in kept.items() if "@" in text] == ["subscribers.csv"]
    world.listed["c1"] = "cleo@example.com"  # whom the list still names does not come back
    world.once()
    assert world.subscribers == ["b1,bob@example.com", "c1,cleo@example.com"]


def test_an_account_goes_with_every_line_of_its_address_and_no_other(world: World) -> None:
    world.listed = {
        "7": "ann@example.com",
        "007": "zoe@example.com",
        "a2": "ANN@example.com",
        "a3": "x.ann@example.com",
    }
    world.task("7", "Ann@Example.com")
    world.once()
    assert world.subscribers == ["007,zoe@example.com", "a3,x.ann@example.com"]
    assert outcomes(world) == ["done"]
    world.task("007", "zoe@example.com")
    world.once()
    assert world.subscribers == ["a3,x.ann@example.com"]


def test_a_repeat_answers_alike_and_asks_for_nobody(world: World) -> None:
    """It was killed after it had written down whom it forgets; dsr would tell no address any more."""
    world.listed = {"a1": "ann@example.com", "b1": "bob@example.com"}
    world.once()
    task = world.task(None, "ann@example.com")
    request = world.tasks[0]["request"]
    Path(world.data, "forgotten").write_text(f"a1,done\n{request},done\n")
    del world.people[request]
    world.once()
    world.tasks = [{"id": task, "request": request, "account": None, "attempt": 2}]
    world.once()
    assert world.subscribers == ["b1,bob@example.com"]
    assert world.answers == [(task, f"{task}-{attempt}", {"outcome": "done"}) for attempt in (1, 2)]
    assert world.asked == []


def test_killed_while_it_asks_it_has_changed_nothing_and_asks_again(world: World) -> None:
    world.listed, world.blocks_asking = {"a1": "ann@example.com"}, True
    world.task(None, "ann@example.com")
    with world.start("once") as process:
        assert world.blocked.wait(20)
        process.kill()
    assert world.subscribers == ["a1,ann@example.com"]
    assert Path(world.data, "forgotten").read_text() == ""
    world.blocks_asking = False
    world.once()
    assert len(world.asked) == 2
    assert (world.subscribers, outcomes(world)) == ([], ["done"])


def test_what_a_killed_round_left_of_a_list_is_gone_after_the_next(world: World) -> None:
    """Also where the list itself is unchanged, or cannot be had."""
    world.listed = {"a1": "ann@example.com"}
    world.once()
    for status in ({}, {"/accounts/v1/marketing-list": 503}):
        world.status = status
        for name in ("list", "lines", "head", "subscribers.csv.new"):
            Path(world.data, name).write_text("a1,ann@example.com\n")
        world.once()
        assert [file.name for file in world.data.iterdir() if "@" in file.read_text()] == ["subscribers.csv"]


def test_a_person_who_cannot_be_asked_for_waits_alone_and_is_not_answered_wrongly(world: World) -> None:
    """Dsr away for one; an answer that is not understood; an address that is gone, with and without an account."""
    world.listed = {"a1": "ann@example.com", "d1": "dora@example.com"}
    away, over, gone = world.task(None, "ann@example.com"), world.task(None), world.task("d1")
    first, second, third = (task["request"] for task in world.tasks)
    world.status[f"/dsr/v1/requests/{first}/identifiers"] = 503
    del world.people[second], world.people[third]
    output = world.once()
    assert f"task {away} has to wait" in output
    assert f"task {over} has to wait" in output
    assert world.answers == [(gone, f"{gone}-1", {"outcome": "done"})]
    world.status.clear()
    world.people[second] = ["é@example.com"]
    world.escapes = True
    world.once()
    assert world.answers[1:] == [(away, f"{away}-1", {"outcome": "done"})]
    world.escapes = False
    world.once()
    assert world.answers[2:] == [(over, f"{over}-1", {"outcome": "not_found"})]
    assert world.subscribers == []


NOT_ASKED, PAGE = '{"type":"/problems/not-asked","status":404}', "<p>There is no page /problems/ 200</p>"


@pytest.mark.parametrize(
    ("status", "said", "knows"),
    [
        (404, NOT_ASKED, True),
        (404, '{"type":"/problems/not-found","status":404}', True),  # release 1
        (404, PAGE, False),
        (410, PAGE, False),
        (403, NOT_ASKED, False),
    ],
)
def test_only_dsrs_own_word_is_taken_for_that_there_is_no_address(
    world: World, status: int, said: str, *, knows: bool
) -> None:
    """Whoever else answers, such as a server that is not dsr, knows nothing: the task waits."""
    world.listed = {"a1": "ann@example.com", "a2": "ann@example.com"}
    world.task("a1", "ann@example.com")
    guest = world.task(None, "ann@example.com")
    for task in world.tasks:
        world.said[f"/dsr/v1/requests/{task['request']}/identifiers"] = status, said, {}
    output = world.once()
    assert f"task {guest} has to wait" in output
    assert outcomes(world) == ["done"] * knows
    assert world.subscribers == ["a2,ann@example.com"] if knows else ["a1,ann@example.com", "a2,ann@example.com"]
    world.said.clear()
    world.once()
    assert world.subscribers == []


def test_no_program_is_started_with_an_address_or_a_secret(world: World, tmp_path: Path) -> None:
    """Arguments and environment are for others to see: each program is replaced by one that notes both."""
    seen = Path(tmp_path, "seen")
    for name in ("awk", "cat", "curl", "grep", "head", "mv", "rm", "sed", "tr"):
        shim = Path(tmp_path, "bin", name)
        shim.parent.mkdir(exist_ok=True)
        shim.write_text(
            f'#!/bin/sh\n{{ echo {name}; printf "%s\\n" "$@"; env -u CLIENT_SECRET; }} >>"{seen}"\n'
            f'exec {shutil.which(name)} "$@"\n'
        )
        shim.chmod(0o700)
    world.more = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    world.listed = {"a1": "ann@example.com", "b1": "bob@example.com"}
    world.task(None, "ann@example.com")
    world.task("b1", "bob@example.com")
    world.once()
    assert (world.subscribers, outcomes(world)) == ([], ["done", "done"])
    text = seen.read_text()
    assert {"awk", "curl", "sed"} <= set(text.split())
    assert "example.com" not in text
    assert SECRET not in text
    assert "for-dsr" not in text
