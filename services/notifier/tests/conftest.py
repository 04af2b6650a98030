"""A notifier on a real database, with a real SMTP server and real HTTP peers on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any
from uuid import UUID

import httpx
import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from uuid_utils.compat import uuid7

from chassis.app import App, Runtime
from chassis.auth import Caller, Issuer
from chassis.database import Pool
from notifier.app import build
from notifier.letters import Letters
from notifier.settings import Settings
from privacy_contracts.accounts import AccountStated
from privacy_contracts.fields import Personal
from privacy_contracts.policy import PolicyRevised

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@dataclass
class MailServer:
    """Takes mail. `at_mail`, `at_rcpt` and `at_data` hold answers to give before it says yes.

    An answer at DATA may be `drop`: the message is taken, and the connection goes before the answer is given.
    """

    port: int = 0
    connections: int = 0
    taken: list[tuple[str, EmailMessage]] = field(default_factory=list)
    at_mail: list[str] = field(default_factory=list)
    at_rcpt: list[str] = field(default_factory=list)
    at_data: list[str] = field(default_factory=list)
    before_answer: Callable[[], Awaitable[None]] | None = None
    listening: Any = None
    open: list[SMTP] = field(default_factory=list)

    async def handle_MAIL(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        if self.at_mail:
            return self.at_mail.pop(0)
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        if self.at_rcpt:
            return self.at_rcpt.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.before_answer is not None:
            await self.before_answer()
        answer = self.at_data.pop(0) if self.at_data else "250 OK"
        if answer == "drop" or answer.startswith("250"):
            content = envelope.content
            assert isinstance(content, bytes)
            self.taken.append((envelope.rcpt_tos[0], message_from_bytes(content, policy=default)))
        if answer == "drop":
            _abort(server)
            await asyncio.sleep(3600)
        return answer

    def hang_up(self) -> None:
        """End every connection, as a server does with clients that idle."""
        for each in self.open:
            if each.transport is not None:
                each.transport.close()
        self.open.clear()

    @property
    def ids(self) -> list[str]:
        return [mail["Message-ID"] for _, mail in self.taken]


def _abort(server: SMTP) -> None:
    if isinstance(server.transport, asyncio.WriteTransport):
        server.transport.abort()


@pytest.fixture
async def mail_server() -> AsyncIterator[MailServer]:
    made = MailServer()

    def connected() -> SMTP:
        made.connections += 1
        made.open.append(SMTP(made, hostname="mail.example.com", enable_SMTPUTF8=True, loop=asyncio.get_running_loop()))
        return made.open[-1]

    made.listening = await asyncio.get_running_loop().create_server(connected, "127.0.0.1", 0)
    made.port = made.listening.sockets[0].getsockname()[1]
    yield made
    made.listening.close()
    for each in made.open:
        if each._handler_coroutine is not None:
            each._handler_coroutine.cancel()
        _abort(each)
    await asyncio.sleep(0)


@dataclass
class Peers:
    """Answers for dsr and consent, by method and path, and what was asked of them, in which trace."""

    url: str = ""
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[tuple[str, Any, str]] = field(default_factory=list)
    traceparents: list[str | None] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                method, path, _ = line.decode().split(" ")
                headers: dict[str, str] = {}
                while (raw := (await reader.readline()).decode().strip()) != "":
                    name, _, value = raw.partition(": ")
                    headers[name.lower()] = value
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                status, answer = self._answer(f"{method} {path}", body, headers)
                content = json.dumps(answer).encode()
                head = (
                    f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
                )
                writer.write(head.encode() + content)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _answer(self, what: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        if what == "GET /.well-known/openid-configuration":
            return 200, {"token_endpoint": f"{self.url}/token"}
        if what == "POST /token":
            return 200, {"access_token": "a-token", "expires_in": 300}
        self.asked.append((what, json.loads(body) if body else None, headers.get("authorization", "")))
        self.traceparents.append(headers.get("traceparent"))
        return self.answers.get(what, (503, {}))

    def message(self, request: UUID, status: int = 200, **answer: Any) -> None:
        """What dsr says when it is asked about a request."""
        self.answers[f"POST /v1/requests/{request}/messages"] = (status, answer)

    def policy(self, version: int, summary: str = "We say more about couriers.") -> None:
        """What consent says about a version."""
        said = {
            "version": version,
            "summary": summary,
            "url": "http://consent.example.com/policy",
            "text_hash": "0" * 64,
        }
        self.answers[f"GET /v1/policies/{version}"] = (200, said)


@pytest.fixture
async def peers() -> AsyncIterator[Peers]:
    made = Peers()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    yield made
    listening.close()


@pytest.fixture
async def pool(database: Any) -> AsyncIterator[Pool]:
    async with database("notifier", size=12) as made:
        yield made


@pytest.fixture
async def notifier(
    pool: Pool, runtime: Any, peers: Peers, mail_server: MailServer
) -> AsyncIterator[tuple[App, Runtime[Settings]]]:
    """The service as it is put together, and what it is put together of."""
    async with httpx.AsyncClient() as http:
        call = Caller(http, Issuer(http, peers.url, ("notifier", "secret")), {"dsr": peers.url, "consent": peers.url})
        made = runtime(
            "notifier", pool, Settings, call=call, smtp_host="127.0.0.1", smtp_port=mail_server.port, smtp_tls="none"
        )
        made.clock.at = NOW
        yield build(made), made
    assert await pool.fetch("SELECT topic, reason FROM chassis.dead_letters") == []


@pytest.fixture
def letters() -> Letters:
    from chassis.testing import COMPANY

    return Letters(COMPANY)


@pytest.fixture
def stated() -> Callable[..., AccountStated]:
    """`stated("a1", "one@example.com", version=2)`."""

    def make(
        account: str, email: str | None = None, version: int = 1, registered_at: datetime | None = None
    ) -> AccountStated:
        return AccountStated(
            id=account,
            version=version,
            email=Personal(email or f"{account}@example.com"),
            name=Personal("Sam Sample"),
            region="US-CA",
            registered_at=registered_at or datetime(2026, 1, 5, tzinfo=UTC),
        )

    return make


@pytest.fixture
def revised() -> Callable[..., PolicyRevised]:
    """`revised(2)` is a material revision, `revised(2, material=False)` is not."""

    def make(version: int, *, material: bool = True, published_at: datetime = NOW) -> PolicyRevised:
        return PolicyRevised(
            policy="privacy",
            version=version,
            supersedes=version - 1 or None,
            text_hash="0" * 64,
            revised_on=date(2026, 11, 20),
            published_at=published_at,
            effective_at=datetime(2026, 12, 20, 8, 0, tzinfo=UTC),
            material=material,
            reasons=["new_recipient"] if material else ["typo"],
            decided_by="staff/officer-01",
        )

    return make


@pytest.fixture
def request_id() -> UUID:
    return uuid7()
