"""A server that plays the token issuer and dsr, as the order system sees them."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs
from uuid import UUID

SECRET = "s3cr&t+more"
TOKEN = "for-orders-at-dsr"


@dataclass
class Platform:
    """Whom each request is about (None: gone), what was asked, and how many tokens were refused.

    `status` is given for a path's last part, whatever is known; `problem` is the type of an answer without addresses.
    """

    url: str = ""
    people: dict[UUID, list[str] | None] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)
    problem: str = "identifiers-gone"
    asked: list[UUID] = field(default_factory=list)
    refused: int = 0
    blocks: bool = False
    released: threading.Event = field(default_factory=threading.Event)

    def environment(self) -> dict[str, str]:
        """What the order system is told of it."""
        return {
            "ISSUER": f"{self.url}/issuer",
            "CLIENT_ID": "orders",
            "CLIENT_SECRET": SECRET,
            "DSR_URL": f"{self.url}/dsr",
        }

    def answer(self, path: str, bearer: str, body: str) -> tuple[int, object]:
        """The status and body for a call."""
        last = path.rpartition("/")[2]
        if last == "openid-configuration":
            return self.status.get(last, 200), {"token_endpoint": f"{self.url}/issuer/token"}
        if last == "token":
            form = {name: values[0] for name, values in parse_qs(body).items()}
            wanted = {"grant_type": "client_credentials", "audience": "dsr"}
            granted = form == wanted | {"client_id": "orders", "client_secret": SECRET}
            status = self.status.get(last, 200 if granted else 401)
            self.refused += status != 200
            return status, {"access_token": TOKEN if granted else ""}
        request = UUID(path.removeprefix("/dsr/v1/requests/").removesuffix("/identifiers"))
        self.asked.append(request)
        if self.blocks:
            self.released.wait(30)
        if bearer != f"Bearer {TOKEN}":
            return 401, {}
        emails = self.people.get(request, ["ann@example.com"])
        status = self.status.get(last, 410 if emails is None else 200)
        if status != 200:
            return status, {"type": f"/problems/{self.problem}", "title": "No address", "status": status}
        return status, {"identifiers": [{"kind": "email", "value": email} for email in emails or []]}


@contextmanager
def playing() -> Iterator[Platform]:
    """A running one."""
    made = Platform()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0"))).decode()
            status, told = made.answer(self.path, self.headers.get("authorization", ""), body)
            text = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)
            self.close_connection = True

        do_GET = do_POST = _answer

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
