"""The script against servers that play issuer, accounts and dsr: what it keeps, forgets and answers."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

import pytest

SCRIPT = Path(__file__).parents[1] / "marketing.sh"
Answer = tuple[int, str, dict[str, str]]
SECRET = 's3"cr\\et&more'


@dataclass
class World:
    """The services around marketing: whom the list names, which tasks are open, and what was answered."""

    data: Path
    url: str = ""
    listed: dict[str, str] = field(default_factory=dict)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    answers: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    status: dict[str, int] = field(default_factory=dict)
    lists_read: int = 0
    blocked: threading.Event = field(default_factory=threading.Event)
    blocks: bool = False
    cut_off: bool = False

    def task(self, account: str, attempt: int = 1) -> str:
        """A task as dsr gives it."""
        task = {"id": str(uuid4()), "request": str(uuid4()), "account": account, "action": "delete"}
        self.tasks.append(task | {"stage": "company", "attempt": attempt, "due_at": "2026-12-01T00:00:00Z"})
        return task["id"]

    def environment(self) -> dict[str, str]:
        return os.environ | {
            "ISSUER": f"{self.url}/issuer",
            "CLIENT_ID": "marketing",
            "CLIENT_SECRET": SECRET,
            "DSR_URL": f"{self.url}/dsr",
            "ACCOUNTS_URL": f"{self.url}/accounts",
            "DATA_DIR": str(self.data),
            "INTERVAL": "0.1",
        }

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        command = ["sh", str(SCRIPT), *arguments]
        return subprocess.Popen(command, env=self.environment(), stdout=subprocess.PIPE, text=True)

    def once(self) -> str:
        with self.start("once") as process:
            output, _ = process.communicate(timeout=30)
        assert process.returncode == 0
        return output

    @property
    def subscribers(self) -> list[str]:
        return Path(self.data, "subscribers.csv").read_text().splitlines()

    def answer(self, path: str, headers: dict[str, str], body: str) -> Answer:
        if path in self.status:
            return self.status[path], "{}", {}
        if path.startswith("/issuer/"):
            return self._token(path, body)
        if headers.get("authorization") != f"Bearer for-{path.split('/')[1]}":
            return 401, "{}", {}
        if path == "/accounts/v1/marketing-list":
            return self._list(headers)
        if path == "/dsr/v1/tasks":
            return 200, json.dumps({"tasks": self.tasks, "next": None}, separators=(",", ":")), {}
        return self._reply(path.split("/")[-2], headers["idempotency-key"], json.loads(body))

    def _token(self, path: str, body: str) -> Answer:
        if path == "/issuer/.well-known/openid-configuration":
            return 200, json.dumps({"issuer": "x", "token_endpoint": f"{self.url}/issuer/token"}), {}
        form = {name: values[0] for name, values in parse_qs(body).items()}
        if (form["client_id"], form["client_secret"]) != ("marketing", SECRET):
            return 401, "", {}
        return 200, json.dumps({"access_token": f"for-{form['audience']}", "expires_in": 60}), {}

    def _reply(self, task: str, key: str, outcome: dict[str, Any]) -> Answer:
        self.answers.append((task, key, outcome))
        if self.blocks:
            self.blocked.set()
            threading.Event().wait(5)
        self.tasks = [each for each in self.tasks if each["id"] != task]
        return 202, "{}", {}

    def _list(self, headers: dict[str, str]) -> Answer:
        tag = f'"{hash(tuple(self.listed.items()))}"'
        if headers.get("if-none-match") == tag:
            return 304, "", {"ETag": tag}
        self.lists_read += 1
        lines = "".join(f"{account},{email}\r\n" for account, email in self.listed.items())
        return 200, f"account,email\r\n{lines}", {"ETag": tag, "Content-Type": "text/csv"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "data")

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0"))).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, text, more = made.answer(self.path, headers, body)
            self.send_response(status)
            more.setdefault("Content-Type", "application/json")
            for name, value in more.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text) + 100 * made.cut_off))
            self.end_headers()
            self.wfile.write(text.encode())
            self.close_connection = True

        do_GET = do_POST = _answer

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


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
    world.tasks = [{"id": task, "account": "a1", "attempt": 2}]
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
