"""How the demo begins and ends: what it refuses at once, one at a time, and that it stops what it started."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_stack import Misuse
from local_stack.demo import story
from local_stack.processes import wait_for

# The demo itself in a folder of its own, with a stack and a story that only note what is asked of them.
PROGRAM = """
import asyncio, fcntl, os, pathlib, signal, sys, termios, time
import local_stack
folder, stuck_at = pathlib.Path(sys.argv[1]), sys.argv[2]
local_stack.DEFAULT_DIRECTORY = folder
from local_stack.demo import __main__ as demo
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGHUP, signal.SIG_IGN if "DEAF" in os.environ else signal.SIG_DFL)

def note(what):
    with (folder / "noted").open("a") as file:
        print(what, file=file)

class Stack:
    def __init__(self, *_, **__): pass
    def reset(self): note("reset")
    def up(self):
        note("starting")
        time.sleep(600 if stuck_at == "starting" else 0)
    def url(self, name): return "http://" + name
    def down(self):
        for number in demo.ENDINGS:
            os.kill(os.getpid(), number)
        note("stopped")

async def step(*_):
    note("telling")
    await asyncio.sleep(600 if stuck_at == "telling" else 0)

def say(text, **where):
    print(text, **where)
    if "Ctrl-C ends it" in str(text):
        note("told")

demo.Stack, demo.print = Stack, say
for each in "introduce publish register feed revise ask search_before confirm delete prove staff".split():
    setattr(demo.story, each, step)
sys.exit(demo.main())
"""


RUNNING: list[subprocess.Popen[str]] = []


class Demo:
    """A demo on a terminal of its own, which gets stuck `starting`, `telling`, or when all is `told`."""

    def __init__(self, folder: Path, stuck_at: str, **env: str) -> None:
        self.noted, (self.terminal, its) = folder / "noted", pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder), stuck_at],
            env={**os.environ, **env},
            stdin=its,
            stdout=its,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        os.close(its)
        RUNNING.append(self.process)
        wait_for(lambda: stuck_at in self.notes() or self.process.poll() is not None, 30)

    def notes(self) -> list[str]:
        return self.noted.read_text().split() if self.noted.exists() else []

    def end(self) -> tuple[int, str]:
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said


@pytest.fixture(autouse=True)
def _no_demo_outlives_its_test() -> Iterator[None]:
    yield
    while RUNNING:
        process = RUNNING.pop()
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("stuck_at", "number", "status"),
    [
        ("starting", signal.SIGINT, 130),
        ("starting", signal.SIGTERM, 143),
        ("telling", signal.SIGINT, 130),
        ("telling", signal.SIGTERM, 143),
        ("told", signal.SIGTERM, 143),
        ("told", signal.SIGINT, 0),
    ],
)
def test_whatever_ends_it_it_stops_what_it_started_and_only_ctrl_c_at_the_end_is_success(
    tmp_path: Path, stuck_at: str, number: signal.Signals, status: int
) -> None:
    demo = Demo(tmp_path, stuck_at)

    demo.process.send_signal(number)

    assert demo.end()[0] == status
    assert demo.notes()[-1] == "stopped"


@pytest.mark.parametrize(("stuck_at", "env"), [("telling", {}), ("told", {}), ("told", {"DEAF": "1"})])
def test_a_closed_terminal_ends_it(tmp_path: Path, stuck_at: str, env: dict[str, str]) -> None:
    demo = Demo(tmp_path, stuck_at, **env)

    os.close(demo.terminal)

    assert demo.end()[0] == 129
    assert demo.notes()[-1] == "stopped"


def test_a_second_one_is_refused_until_the_first_is_gone_however_it_went(tmp_path: Path) -> None:
    first = Demo(tmp_path, "telling")
    notes = first.notes()

    status, said = Demo(tmp_path, "second").end()

    assert (status, first.process.poll(), first.notes()) == (1, None, notes)
    assert f"process {first.process.pid}" in said
    assert "make down" in said
    first.process.kill()
    first.end()
    again = Demo(tmp_path, "told")
    again.process.send_signal(signal.SIGINT)
    assert again.end()[0] == 0


@pytest.mark.parametrize(
    "env", [{"BASE_PORT": "abc"}, {"BASE_PORT": "65530"}, {"POLICY": "/no/such"}, {"BREAK": "all"}]
)
def test_what_it_cannot_do_is_said_before_anything_is_touched(tmp_path: Path, env: dict[str, str]) -> None:
    demo = Demo(tmp_path, "starting", **env)

    status, said = demo.end()

    assert (status, said.count("\n"), demo.notes()) == (2, 1, [])
    assert next(iter(env)) in said


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe", b"a\0b", b"x" * 50_000, None])
def test_a_policy_that_cannot_be_served_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "policy.md"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(Misuse, match=str(path)):
        story.revisions(str(path))
    with pytest.raises(Misuse, match="Is a directory"):
        story.revisions(str(tmp_path))


def test_a_given_policy_is_served_as_it_is_and_what_is_appended_says_so(tmp_path: Path) -> None:
    text = "# Ours\r\n\r\nWe keep nothing.  "
    (tmp_path / "policy.md").write_bytes(text.encode())

    first, correction, material = story.revisions(str(tmp_path / "policy.md"))

    assert first.text == text
    for later in (correction, material):
        appended = later.text.removeprefix(text).strip()
        assert "appended by the demo" in appended
        assert later.summary == appended
        assert "appended a sample sentence" in later.note
