"""The launcher: what each process is told, and who is started again after what."""

import json
import os
import socket
import uuid
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import httpx
import psutil
import pytest

from local_stack import DEFAULT_DIRECTORY, LocalStackError
from local_stack.layout import CLIENTS, EVERY, PROCESSES, SECONDS
from local_stack.ports import LOOPBACK
from local_stack.processes import Identity, Part, identify, wait_for, write_pidfile
from local_stack.stack import STARTER, SUPERVISOR, Stack
from local_stack.state import variable
from local_stack.supervisor import LONGEST_PAUSE, Watch, read_plan, watch_once

SMALL = ("sink", "issuer")  # the two that are this folder's own


def make(directory: Path) -> Stack:
    name = f"t{uuid.uuid4().hex[:8]}"
    return Stack(directory, prefix=f"{name}.", suffix=f"_{name}", servers_directory=DEFAULT_DIRECTORY / "test")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    stack = make(tmp_path / "stack")
    yield stack
    stack.down()


def test_it_starts_answers_and_stops(stack: Stack) -> None:
    stack.start(*SMALL)
    stack.wait(*SMALL)
    assert httpx.get(f"{stack.url('sink')}/messages").json() == {"messages": []}
    assert stack.token("officer-01", "consent").count(".") == 2
    parts = {part.name: part for part in stack.parts()}
    assert parts["sink"] == Part("sink", stack.pid("sink"), stack.url("sink"), None)
    assert parts["marketing"] == Part("marketing", None, "", "it does not run")

    stack.down()

    assert [stack.pid(name) for name in SMALL] == [None, None]


def test_whoever_starts_programs_is_replaced_when_it_died(stack: Stack) -> None:
    stack.warm = True
    stack.start("issuer")
    stack.kill(STARTER)

    stack.start("sink")

    stack.wait(*SMALL)
    assert stack.pid(STARTER)
    stack.down()
    assert [stack.pid(name) for name in (*SMALL, STARTER)] == [None] * 3


def test_why_it_does_not_start_is_told(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    stack.warm = True
    monkeypatch.setattr("local_stack.state.inherited", lambda: {"PYTHONPATH": "/nowhere", "PYTHONHOME": "/nowhere"})
    with pytest.raises(LocalStackError, match=r"what starts programs did not start(.|\n)*nowhere"):
        stack.start("issuer")


@pytest.mark.parametrize("quickly", [False, True])
def test_a_services_own_command_tells_its_end_and_what_it_said(stack: Stack, quickly: bool) -> None:
    stack.warm = quickly
    status, said = stack.run("dsr", "dead-letters", "lost")
    assert status == 2
    assert "invalid choice: 'lost'" in said


def test_who_could_not_migrate_is_named_with_what_was_said(stack: Stack) -> None:
    with pytest.raises(LocalStackError, match=r"dsr could not migrate:(?s:.*)does not exist"):
        stack.migrate()


def test_a_second_start_uses_what_runs(stack: Stack) -> None:
    stack.start("issuer")
    stack.wait("issuer")
    before = stack.pid("issuer"), stack.url("issuer")

    again = read_plan(stack.directory)
    again.start("issuer")

    assert (again.pid("issuer"), again.url("issuer")) == before


def test_a_crashed_run_does_not_block_the_next(stack: Stack) -> None:
    stack.start(*SMALL)
    stack.wait(*SMALL)
    for name in SMALL:
        stack.kill(name)
    (stack.directory / "pids" / "sink").write_text("{torn")
    (stack.directory / "ports.json.draft").write_text("{")
    bystander = identify(os.getpid())
    assert bystander is not None
    write_pidfile(stack.directory / "pids" / "issuer", Identity(bystander.pid, bystander.started - 60))

    again = read_plan(stack.directory)
    again.start(*SMALL)
    again.wait(*SMALL)

    assert again.url("sink") == stack.url("sink")


def test_the_supervisor_starts_again_what_died_and_leaves_alone_what_was_stopped(stack: Stack) -> None:
    stack.start(*SMALL)
    stack.wait(*SMALL)
    stack.supervise()
    died = stack.pid("sink")
    stack.stop("issuer")

    stack.kill("sink")

    assert wait_for(lambda: stack.pid("sink") not in (None, died), 60), stack.tail(SUPERVISOR)
    stack.wait("sink")
    assert stack.pid("issuer") is None


def test_an_override_holds_until_it_is_changed_and_one_for_once_does_not(stack: Stack) -> None:
    stack.overrides["issuer"] = {"SEEN": "always"}
    stack.start("issuer", once={"CRASH_POINT": "once"})
    stack.supervise()
    first = stack.pid("issuer")
    assert {"SEEN=always", "CRASH_POINT=once"} <= environ(first)

    stack.wait("issuer")
    stack.kill("issuer")

    assert wait_for(lambda: stack.pid("issuer") not in (None, first), 60), stack.tail(SUPERVISOR)
    assert "SEEN=always" in environ(stack.pid("issuer"))
    assert "CRASH_POINT=once" not in environ(stack.pid("issuer"))


def environ(pid: int | None) -> set[str]:
    process = psutil.Process(pid)
    assert wait_for(lambda: bool(process.environ()), 10)  # it is empty while the program is being loaded
    return {f"{name}={value}" for name, value in process.environ().items()}


def test_a_busy_port_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        monkeypatch.setenv("ISSUER_PORT", str(other.getsockname()[1]))
        stack = make(tmp_path)

        with pytest.raises(LocalStackError, match=r"for issuer is in use .* ISSUER_PORT"):
            stack.start("issuer")
        stack.down()


def test_a_busy_port_is_named_before_anything_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        monkeypatch.setenv("SINK_PORT", str(other.getsockname()[1]))
        stack = Stack(tmp_path, base_port=20_000)

        with pytest.raises(LocalStackError, match="SINK_PORT, or BASE_PORT for all"):
            stack.up()

    assert not any(part.pid for part in stack.parts())


def test_what_does_not_get_ready_is_named_with_its_log(stack: Stack) -> None:
    stack.overrides["sink"] = {"PYTHONPATH": "", "PYTHONHOME": "/nowhere"}
    stack.start("sink")

    with pytest.raises(LocalStackError, match=r"(?s)sink is not ready: it does not run.*"):
        stack.wait("sink", seconds=2)


def test_each_process_gets_its_own_secrets_and_nobody_elses(stack: Stack) -> None:
    secrets = {**stack.deployment.secrets}
    kafka, roles = stack.deployment.servers.kafka, stack.deployment.servers.postgres.roles
    for name, process in EVERY.items():
        told, service = json.dumps(stack.env(name)), process.service
        foreign = [secret for client, secret in secrets.items() if client != service]
        foreign += [password for user, password in kafka.users.items() if user != service]
        foreign += [password for role, password in roles.items() if role != service]
        assert not [secret for secret in [*foreign, kafka.admin_password] if secret in told], name


def test_every_process_has_a_port_with_a_variable_and_every_caller_a_client(stack: Stack) -> None:
    assert {variable(name) for name in ("dsr", "smtp", "dsr-2")} == {"DSR_PORT", "SMTP_PORT", "DSR_2_PORT"}
    assert len(set(stack.deployment.ports.values())) == len(EVERY) + 1
    assert set(PROCESSES) - set(CLIENTS) == {"sink", "issuer"}


def test_a_second_instance_differs_by_its_name_and_port_alone(stack: Stack) -> None:
    stack.overrides["dsr"] = {"COOLING_OFF": "5"}
    for name, process in SECONDS.items():
        first, second = stack.env(process.service), stack.env(name)
        assert {key for key in first if first[key] != second[key]} == {"INSTANCE", "PORT"}, name
    assert stack.env("dsr-2")["COOLING_OFF"] == "5"


def test_a_second_instance_is_seen_and_stopped_once_it_runs(stack: Stack) -> None:
    assert "consent-2" not in [part.name for part in stack.parts()]

    stack.start("consent-2")
    assert "consent-2" in [part.name for part in stack.parts()]
    assert stack.wanted() == ["consent-2"]

    stack.down()
    assert stack.pid("consent-2") is None


def test_what_is_not_watched_stays_dead(stack: Stack) -> None:
    stack.start("sink", watched=False)
    stack.kill("sink")
    stack.revive("sink")

    assert stack.wanted() == []
    assert stack.pid("sink") is None


def test_reset_leaves_nothing(tmp_path: Path) -> None:
    stack = make(tmp_path / "stack")
    stack.start("issuer")

    stack.reset()

    assert not (tmp_path / "stack").exists()


class Falling:
    """A stack in which one process dies as soon as it is started."""

    def __init__(self) -> None:
        self.starts: list[float] = []
        self.now = 0.0

    def wanted(self) -> list[str]:
        return ["dsr"]

    def pid(self, name: str) -> int | None:
        return None

    def revive(self, name: str) -> None:
        self.starts.append(self.now)


def test_the_pause_before_a_new_start_grows_to_its_limit() -> None:
    falling, watches = Falling(), dict[str, Watch]()
    while falling.now < 120:
        watch_once(falling, watches, falling.now)
        falling.now = round(falling.now + 0.1, 1)

    pauses = [b - a for a, b in pairwise(falling.starts)]
    assert pauses[0] < 1.0
    assert all(late > early - 0.15 for early, late in pairwise(pauses))
    assert LONGEST_PAUSE <= pauses[-1] < LONGEST_PAUSE + 0.5
