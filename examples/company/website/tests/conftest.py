"""The website as its own process, and a server that plays issuer, accounts, consent and dsr."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

COMPANY = Path(__file__).parents[2] / "company.toml"
NOTICE: dict[str, Any] = {
    "version": 2,
    "revised_on": "2026-03-01",
    "headline": "Our privacy policy was revised.",
    "url": "https://www.example.com/policy/2",
    "until": "2999-01-01T00:00:00Z",
}


@dataclass
class Upstream:
    """What the services were asked, and what they answer: (status, body) by path."""

    url: str = ""
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any], dict[str, str]]] = field(default_factory=list)

    def reset(self) -> None:
        self.asked.clear()
        self.answers = {
            "/issuer/.well-known/openid-configuration": (200, {"token_endpoint": f"{self.url}/issuer/token"}),
            "/issuer/token": (200, {"access_token": "a-token", "expires_in": 600}),
            "/accounts/v1/customers": (201, {"id": "a1"}),
            "/accounts/v1/customers/find": (200, {"id": "a1"}),
            "/accounts/v1/customers/a1": (200, {"id": "a1", "version": 2}),
            "/consent/v1/choices": (201, {}),
            "/consent/v1/notice": (200, NOTICE),
            "/dsr/v1/requests": (202, {"id": "r1", "status": "received"}),
        }

    def bodies(self, path: str) -> list[dict[str, Any]]:
        return [body for asked, body, _ in self.asked if asked == path]


@pytest.fixture(scope="session")
def upstream_server() -> Iterator[Upstream]:
    upstream = Upstream()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            text = self.rfile.read(int(self.headers.get("content-length", "0"))).decode()
            body = json.loads(text) if "json" in self.headers.get("content-type", "") else {"form": text}
            upstream.asked.append((self.path, body, {k.lower(): v for k, v in self.headers.items()}))
            status, told = upstream.answers.get(self.path, (404, {}))
            answer = b"" if status == 204 else json.dumps(told).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PATCH = _answer

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    upstream.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield upstream
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def upstream(upstream_server: Upstream) -> Upstream:
    upstream_server.reset()
    return upstream_server


def environment(upstream: Upstream, port: int) -> dict[str, str]:
    urls = {name: f"{upstream.url}/{name}" for name in ("accounts", "consent", "dsr")}
    return os.environ | {
        "PORT": str(port),
        "ISSUER": f"{upstream.url}/issuer",
        "CLIENT_ID": "website",
        "CLIENT_SECRET": "s3cret",
        "SERVICE_URLS": json.dumps(urls),
        "COMPANY": str(COMPANY),
        "NOTICE_SECONDS": "0",
    }


@contextmanager
def serving(upstream: Upstream) -> Iterator[str]:
    """A running website: its base address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as probe:
        port = probe.server_port
    with subprocess.Popen([sys.executable, "-m", "website"], env=environment(upstream, port)) as process:
        url = f"http://127.0.0.1:{port}"
        for _ in range(400):
            try:
                httpx.get(f"{url}/readyz")
                break
            except httpx.ConnectError:
                assert process.poll() is None
                time.sleep(0.05)
        yield url
        process.terminate()
        assert process.wait(10) in {0, -15}


@pytest.fixture(scope="session")
def site(upstream_server: Upstream) -> Iterator[str]:
    """The base address of a running website, for tests that may share one."""
    with serving(upstream_server) as url:
        yield url
