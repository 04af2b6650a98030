"""The script against servers that play issuer, accounts and dsr: what it keeps, forgets and answers."""

from pathlib import Path

import pytest

from .conftest import SECRET, World


def test_it_keeps_the_list_and_reads_it_again_only_when_it_changed(world: World) -> None:
    world.listed = {"a1": "ann@example.com", "b1": "bob@example.com"}
    world.once()
    world.once()
    assert world.subscribers == ["a1,ann@example.com", "b1,bob@example.com"]
    assert world.lists_read == 1
    world.listed = {"b1": "bob@example.org"}
    world.once()
    assert world.subscribers == ["b1,bob@example.org"]


@pytest.mark.promise(67)
def test_a_person_is_removed_before_the_answer_and_no_later_list_brings_them_back(world: World) -> None:
    world.listed = {"a1": "ann@example.com", "a12": "zoe@example.com", "b1": "bob@example.com"}
    known, unknown = world.task("a1"), world.task("nobody")
    output = world.once()
    assert world.subscribers == ["a12,zoe@example.com", "b1,bob@example.com"]
    assert world.answers == [
        (known, f"{known}-1", {"outcome": "done"}),
        (unknown, f"{unknown}-1", {"outcome": "not_found"}),
    ]
    assert "example.com" not in output
    world.listed["c1"] = "cleo@example.com"  # the accounts system deletes last: a1 is still on its list
    world.once()
    assert world.subscribers == ["a12,zoe@example.com", "b1,bob@example.com", "c1,cleo@example.com"]
    assert len(world.answers) == 2


def test_tasks_that_wait_hide_none_on_a_later_page(world: World) -> None:
    world.page = 2
    world.listed = {"z1": "zoe@example.com"}
    waiting = [world.task(None) for _ in range(4)]
    world.people.clear()  # a task without an account waits as long as there is no address
    last = world.task("z1", "zoe@example.com")
    world.once()
    assert [task for task, _, _ in world.answers] == [last]
    assert [task["id"] for task in world.tasks] == waiting


def test_killed_before_its_answer_arrived_it_sends_the_same_one_again(world: World) -> None:
    world.listed, world.blocks = {"a1": "ann@example.com"}, True
    task = world.task("a1")
    with world.start("once") as process:
        assert world.blocked.wait(20)
        process.kill()
    assert world.subscribers == []
    world.blocks = False
    world.once()
    assert world.answers == [(task, f"{task}-1", {"outcome": "done"})] * 2


def test_a_reminder_gets_the_same_answer_under_a_key_of_its_own(world: World) -> None:
    world.listed = {"a1": "ann@example.com"}
    task = world.task("a1")
    world.once()
    world.tasks = [{"id": task, "request": "r1", "account": "a1", "attempt": 2}]
    world.once()
    assert world.answers[1] == (task, f"{task}-2", {"outcome": "done"})


@pytest.mark.parametrize(
    "path",
    [
        "/issuer/.well-known/openid-configuration",
        "/issuer/token",
        "/accounts/v1/marketing-list",
        "/dsr/v1/tasks",
    ],
)
def test_whatever_is_away_is_tried_again_and_nothing_is_lost(world: World, path: str) -> None:
    world.listed = {"a1": "ann@example.com", "b1": "bob@example.com"}
    world.once()
    world.task("a1")
    world.status[path] = 503
    assert "to wait" in world.once()
    assert "b1,bob@example.com" in world.subscribers
    world.status.clear()
    world.once()
    assert world.subscribers == ["b1,bob@example.com"]
    assert [answer["outcome"] for _, _, answer in world.answers] == ["done"]


def test_a_list_that_breaks_off_or_is_none_does_not_replace_the_one_we_have(world: World) -> None:
    world.listed = {"a1": "ann@example.com"}
    world.once()
    world.listed["b1"] = "bob@example.com"
    world.cut_off = True
    world.once()
    assert world.subscribers == ["a1,ann@example.com"]


def test_the_secret_is_in_no_process_list_and_the_file_is_its_owners_alone(world: World) -> None:
    world.blocks = True
    world.task("a1")
    with world.start("once") as process:
        assert world.blocked.wait(20)
        seen = b""
        for command in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen += command.read_bytes()
            except OSError:
                continue  # it has just ended
        process.kill()
    assert b"/reply" in seen
    assert SECRET.encode() not in seen
    assert b"for-dsr" not in seen
    assert (world.data / "subscribers.csv").stat().st_mode & 0o777 == 0o600


def test_it_runs_on_and_ends_when_told(world: World) -> None:
    world.listed = {"a1": "ann@example.com"}
    process = world.start()
    assert process.stdout is not None
    task = world.task("a1")
    assert process.stdout.readline().strip() == f"marketing: task {task}: done"
    process.terminate()
    assert process.wait(10) == 0
    process.stdout.close()
