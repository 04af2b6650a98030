"""A program that is started by a process that forks behaves as one that is started by its command line."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_stack import warm
from local_stack.processes import alive, identify, kill, spawn, wait_for

TELL = """
import json, os, random, signal, sys
from uuid_utils.compat import uuid7
print(json.dumps({
    "argv": sys.argv[1:], "line": sys.orig_argv, "name": __name__, "env": dict(os.environ), "path": sys.path,
    "cwd": os.getcwd(),
    "alone": os.getsid(0) == os.getpid(), "files": sorted(os.listdir("/proc/self/fd")),
    "signals": [str(signal.getsignal(n)) for n in (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT)],
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())), "umask": os.umask(0o022),
    "drawn": [random.random(), str(uuid7()), os.urandom(8).hex()], "overlay": "laid_over" in sys.modules,
}))
print("said", file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""
USUAL = {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", "LC_ALL": "C.UTF-8"}
SLEEP = "import time; print('here', flush=True); time.sleep(600)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Modules to start, in a folder with a name that is too long for a socket."""
    folder = tmp_path_factory.mktemp("a" * 120)
    (folder / "tell.py").write_text(TELL)
    (folder / "sleep.py").write_text(SLEEP)
    (folder / "sitecustomize.py").write_text("import sys; sys.modules['laid_over'] = sys")
    return folder


@pytest.fixture(scope="module")
def starter(folder: Path) -> Iterator[Path]:
    at = folder / "at" / "socket"
    at.parent.mkdir()
    line = [sys.executable, "-m", "local_stack.warm", str(at)]
    identity = spawn(line, env=USUAL, log=folder / "log", pidfile=folder / "pid")
    try:
        assert wait_for(lambda: at.exists() or not alive(identity), 60)
        yield at
    finally:
        kill(identity)


def environment(folder: Path) -> dict[str, str]:
    return USUAL | {"PYTHONPATH": str(folder), "GIVEN": "a\nb=c"}


@pytest.mark.parametrize("status", [0, 3])
def test_it_is_told_what_a_command_line_tells_it(
    starter: Path, folder: Path, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = [sys.executable, "-m", "tell", str(status), "two words"]
    plain = spawn(line, env=environment(folder), log=tmp_path / "plain", pidfile=tmp_path / "pid")
    assert wait_for(lambda: not alive(plain), 30)
    outcome = warm.start(starter, line, environment(folder), tmp_path / "log", wait=True)

    told, usual = ((tmp_path / name).read_text().splitlines() for name in ("log", "plain"))
    assert (outcome, told.pop(), usual.pop()) == (status, "said", "said")
    told, usual = json.loads(told[0]), json.loads(usual[0])
    assert not set(told.pop("drawn")) & set(usual.pop("drawn"))
    assert told == usual
    assert told["alone"]
    assert told["overlay"]


def test_no_two_draw_the_same(starter: Path, folder: Path, tmp_path: Path) -> None:
    for _ in range(3):
        warm.start(starter, [sys.executable, "-m", "tell", "0"], environment(folder), tmp_path / "log", wait=True)

    lines = (tmp_path / "log").read_text().splitlines()
    drawn = [each for line in lines if line != "said" for each in json.loads(line)["drawn"]]
    assert len(set(drawn)) == len(drawn) == 9


def test_it_outlives_whoever_asked_and_ends_as_it_is_ended(starter: Path, folder: Path, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "sleep"]
    identity = spawn(line, env=environment(folder), log=tmp_path / "log", pidfile=tmp_path / "pid", by=starter)
    assert wait_for(lambda: "here" in (tmp_path / "log").read_text(), 10)
    assert identify(identity.pid) == identity

    os.kill(identity.pid, signal.SIGTERM)

    assert wait_for(lambda: not alive(identity), 10)


def test_what_fails_says_why_and_one_that_is_killed_says_by_what(starter: Path, folder: Path, tmp_path: Path) -> None:
    (folder / "dies.py").write_text("import os; os.kill(os.getpid(), 9)")
    (folder / "fails.py").write_text("raise ValueError('as told')")

    for module, status in (("dies", -9), ("fails", 1), ("nowhere", 1)):
        line = [sys.executable, "-m", module]
        assert warm.start(starter, line, environment(folder), tmp_path / module, wait=True) == status
    assert "ValueError: as told" in (tmp_path / "fails").read_text()
    assert "No module named nowhere" in (tmp_path / "nowhere").read_text()


def test_other_programs_and_other_interpreters_are_started_by_themselves() -> None:
    line = [sys.executable, "-m", "tell"]
    assert warm.can_start(line, {"PYTHONPATH": "/nowhere", "PYTHONUNBUFFERED": "1"})
    assert not warm.can_start(line, {"PYTHONHOME": "/nowhere", "PYTHONUNBUFFERED": "1"})
    assert not warm.can_start(line, {})
    assert not warm.can_start([sys.executable, "-c", "pass"], {"PYTHONUNBUFFERED": "1"})
    assert not warm.can_start(["sh", "-m", "tell"], {"PYTHONUNBUFFERED": "1"})


def test_nobody_else_can_ask(starter: Path) -> None:
    assert starter.parent.stat().st_mode & 0o077 == 0


def test_one_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r".+"):
        warm.start(tmp_path / "socket", [sys.executable, "-m", "tell"], {}, tmp_path / "log")
