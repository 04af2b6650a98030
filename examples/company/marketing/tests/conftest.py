"""Servers that play issuer, accounts and dsr around the script."""

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

ROOT = Path(__file__).parents[4]
SCRIPT = Path(__file__).parents[1] / "marketing.sh"
Answer = tuple[int, str, dict[str, str]]
SECRET = 's3"cr\\et&more'


@dataclass
class World:
    """The services around marketing: whom the list names, which tasks are open, and what was answered.

    `people` are the addresses that a request's person proved, `asked` the requests whose people were asked for.
    """

    data: Path
    url: str = ""
    listed: dict[str, str] = field(default_factory=dict)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    given: list[str] = field(default_factory=list)
    page: int = 50
    people: dict[str, list[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    answers: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    status: dict[str, int] = field(default_factory=dict)
    said: dict[str, Answer] = field(default_factory=dict)
    lists_read: int = 0
    blocked: threading.Event = field(default_factory=threading.Event)
    blocks: bool = False
    blocks_asking: bool = False
    escapes: bool = False
    secret: str = SECRET
    more: dict[str, str] = field(default_factory=dict)
    cut_off: bool = False

    def task(self, account: str | None, *emails: str, attempt: int = 1) -> str:
        """A task as dsr gives it, about a person who proved these addresses."""
        task: dict[str, Any] = {"id": str(uuid4()), "request": str(uuid4()), "account": account, "action": "delete"}
        self.people[task["request"]] = list(emails)
        self.given.append(task["id"])
        self.tasks.append(task | {"stage": "company", "attempt": attempt, "due_at": "2026-12-01T00:00:00Z"})
        return str(task["id"])

    def environment(self) -> dict[str, str]:
        return (
            os.environ
            | self.more
            | {
                "ISSUER": f"{self.url}/issuer",
                "CLIENT_ID": "marketing",
                "CLIENT_SECRET": self.secret,
                "DSR_URL": f"{self.url}/dsr",
                "ACCOUNTS_URL": f"{self.url}/accounts",
                "DATA_DIR": str(self.data),
                "INTERVAL": "0.1",
            }
        )

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
        if path in self.said or path in self.status:
            return self.said.get(path) or (self.status[path], "{}", {})
        if path.startswith("/issuer/"):
            return self._token(path, body)
        if headers.get("authorization") != f"Bearer for-{path.split('/')[1]}":
            return 401, "{}", {}
        if path == "/accounts/v1/marketing-list":
            return self._list(headers)
        if path.startswith("/dsr/v1/tasks") and not body:
            return self._page(path.partition("?cursor=")[2])
        which, last = path.split("/")[-2:]
        key = headers.get("idempotency-key", "")
        return self._identifiers(which) if last == "identifiers" else self._reply(which, key, json.loads(body))

    def _token(self, path: str, body: str) -> Answer:
        if path == "/issuer/.well-known/openid-configuration":
            return 200, json.dumps({"issuer": "x", "token_endpoint": f"{self.url}/issuer/token"}), {}
        form = {name: values[0] for name, values in parse_qs(body).items()}
        if (form["client_id"], form["client_secret"]) != ("marketing", self.secret):
            return 401, "", {}
        return 200, json.dumps({"access_token": f"for-{form['audience']}", "expires_in": 60}), {}

    def _identifiers(self, request: str) -> Answer:
        self.asked.append(request)
        if request not in self.people:
            return 410, '{"type":"/problems/identifiers-gone","title":"Gone","value":"gone"}', {}
        if self.blocks_asking:
            self.blocked.set()
            threading.Event().wait(5)
        known = [{"kind": "email", "value": email} for email in self.people[request]]
        return 200, json.dumps({"identifiers": known}, ensure_ascii=self.escapes), {}

    def _page(self, after: str) -> Answer:
        """The tasks that were given later than the one whose id is the cursor, as many as a page holds."""
        later = self.given[self.given.index(after) + 1 :] if after else self.given
        left = [each for each in self.tasks if each["id"] in later]
        following = left[self.page - 1]["id"] if len(left) > self.page else None
        return 200, json.dumps({"tasks": left[: self.page], "next": following}, separators=(",", ":")), {}

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
