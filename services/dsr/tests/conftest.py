"""The service with its neighbours played by the test: accounts and systems on Kafka, the notifier, the person."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import wraps
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import httpx
import pytest
from uuid_utils.compat import uuid7

from chassis.app import App, Runtime
from chassis.consumer.records import Record
from chassis.database import Pool, open_pool
from chassis.sealing import Sealing
from chassis.testing import (
    START,
    Emitted,
    FixedClock,
    _template,
    client,
    deliver,
    deliver_records,
    outbox,
    record,
    run_timers,
)
from dsr.app import build
from dsr.settings import Settings
from local_stack import databases
from local_stack.servers import Servers
from privacy_contracts import EVENTS, Event
from privacy_contracts.accounts import AccountStated
from privacy_contracts.fields import Personal
from privacy_contracts.notices import NoticeFailed, NoticeSent
from privacy_contracts.replies import ReplyDone, ReplyFailed, ReplyNotFound, ReplyRetained, RetainedItem
from privacy_contracts.topology import read_by

READ = {topic.name for topic in read_by("dsr")}
ITEMS = [{"category": "invoices", "legal_basis": "us.irc.6001", "until": "2034-04-15"}]


@dataclass
class Service:
    """dsr, and what its neighbours do to it."""

    runtime: Runtime[Settings]
    app: App
    http: httpx.AsyncClient
    bearer: Callable[..., dict[str, str]]
    published: list[Emitted] = field(default_factory=list)

    @property
    def pool(self) -> Pool:
        return self.runtime.pool

    @property
    def clock(self) -> FixedClock:
        assert isinstance(self.runtime.clock, FixedClock)
        return self.runtime.clock

    def headers(self, sub: str, scope: str) -> dict[str, str]:
        return self.bearer(sub, scope, audience="dsr")

    async def deliver(self, *events: Event, **options: Any) -> None:
        await deliver(self.app, self.runtime, *events, **options)

    async def customer(self, account: str = "a1", email: str = "ann@example.com", version: int = 1) -> None:
        await self.deliver(
            AccountStated(id=account, version=version, email=Personal(email), name=Personal("Ann"), registered_at=START)
        )

    async def ask(self, email: str = "ann@example.com") -> UUID:
        """What the website does."""
        answer = await self.http.post(
            "/v1/requests", json={"type": "delete", "email": email}, headers=self.headers("website", "website")
        )
        assert answer.status_code == 202, answer.text
        return UUID(answer.json()["id"])

    async def message(self, request: UUID, template: str = "verification") -> httpx.Response:
        """What the notifier does before it writes."""
        return await self.http.post(
            f"/v1/requests/{request}/messages",
            json={"template": template},
            headers=self.headers("notifier", "service"),
        )

    async def link(self, request: UUID, template: str = "verification") -> str:
        """The path of the link in the mail."""
        answer = await self.message(request, template)
        assert answer.status_code == 200, answer.text
        return str(urlsplit(answer.json()["link"]).path)

    async def press(self, link: str, action: str) -> httpx.Response:
        return await self.http.post(f"{link}/{action}")

    async def confirmed(self, email: str = "ann@example.com") -> tuple[UUID, str]:
        """A request up to the second word of its person."""
        request = await self.ask(email)
        link = await self.link(request)
        for action in ("verify", "confirm"):
            assert (await self.press(link, action)).status_code == 303
        return request, link

    async def deleting(self, email: str = "ann@example.com") -> tuple[UUID, str]:
        """A request behind the point of no return."""
        request, link = await self.confirmed(email)
        await self.pass_time(timedelta(days=3))
        assert await self.status(request) == "deleting"
        return request, link

    async def closed(self, email: str = "ann@example.com", account: str | None = "a1") -> tuple[UUID, str]:
        """A request that every system has answered."""
        request, link = await self.deleting(email)
        await self.answered_by_all(request, account)
        return request, link

    async def answered_by_all(self, request: UUID, account: str | None = "a1") -> None:
        """Every system but our own says that it has deleted, and so the request is closed."""
        for system in ("orders", "marketing", "support", "consent", "notifier", "audit", "accounts"):
            await self.reply(request, system, account=account)
            await self.relay()
        assert await self.status(request) == "closed"

    async def pass_time(self, by: timedelta) -> None:
        """Move the clock and fire what is due then."""
        self.clock.advance(by)
        while await run_timers(self.app, self.runtime):
            pass

    async def relay(self) -> list[Emitted]:
        """Publish the outbox, and read back what this service reads itself. Returns what was published."""
        emitted = await outbox(self.pool)
        await self.pool.execute("DELETE FROM chassis.outbox")
        self.published += emitted
        await deliver_records(self.app, self.runtime, *(_record(each) for each in emitted if each.topic in READ))
        return emitted

    async def everything(self) -> list[Emitted]:
        """All events so far, published or not."""
        return [*self.published, *await outbox(self.pool)]

    async def events(self, type_: str) -> list[dict[str, Any]]:
        """The bodies of all events of a type so far."""
        return [each.body for each in await self.everything() if each.type == type_]

    async def reply(self, request: UUID, system: str, outcome: str = "done", account: str | None = "a1") -> None:
        """What a system on Kafka does."""
        await self.deliver(made(request, system, outcome, self.clock.now(), account))

    async def mail_ended(self, template: str, request: UUID, unanswered: int | None = None) -> None:
        """What the notifier says: sent; or failed for good, after so many attempts without an answer."""
        about: dict[str, Any] = {"notice": uuid7(), "template": template, "request": request}
        if unanswered is None:
            return await self.deliver(NoticeSent(**about, sent_at=self.clock.now()))
        about |= {"reason": "expired", "unanswered": unanswered, "failed_at": self.clock.now()}
        return await self.deliver(NoticeFailed(**about))

    async def held(self, request: UUID) -> set[str]:
        """What is held of the person beside the account: sealed addresses, hashes of them, and the key."""
        row = await self.pool.fetchrow(
            "SELECT typed_address, fingerprint, mailbox, final_address FROM dsr.requests WHERE id = $1", request
        )
        key = await self.pool.fetchval("SELECT EXISTS (SELECT FROM keys.owners WHERE owner = $1)", f"request/{request}")
        assert row is not None
        return {name for name, value in row.items() if value is not None} | ({"key"} if key else set())

    async def status(self, request: UUID) -> str:
        return str(await self.pool.fetchval("SELECT status FROM dsr.requests WHERE id = $1", request))

    async def tasks(self, request: UUID) -> dict[str, str]:
        rows = await self.pool.fetch("SELECT system, status FROM dsr.tasks WHERE request_id = $1", request)
        return {row["system"]: row["status"] for row in rows}


def made(request: UUID, system: str, outcome: str, at: datetime, account: str | None = "a1") -> Event:
    common = {
        "request": request,
        "account": account,
        "system": system,
        "answered_by": f"system/{system}",
        "answered_at": at,
    }
    match outcome:
        case "retained":
            items = [RetainedItem.model_validate(item) for item in ITEMS]
            return ReplyRetained.model_validate(common | {"items": items})
        case "not_found":
            return ReplyNotFound.model_validate(common)
        case "failed":
            return ReplyFailed.model_validate(common | {"reason": "unavailable"})
    return ReplyDone.model_validate(common)


def _record(emitted: Emitted) -> Record:
    event = EVENTS[emitted.type].model_validate(emitted.body)
    headers = {"traceparent": emitted.traceparent.encode()} if emitted.traceparent else {}
    return record(event, source="dsr", event_id=str(emitted.id), headers=headers)


@pytest.fixture(scope="session")
def kept_database(servers: Servers) -> Iterator[str]:
    """One database for all tests here: emptying it takes a hundredth of the time that cloning another does."""

    async def create() -> str:
        template = await _template(servers, "dsr", True)
        name = f"test_dsr_{uuid7().hex[-12:]}"
        admin = await asyncpg.connect(servers.postgres.url)
        try:
            await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" OWNER "dsr_owner"')
            await admin.execute(f'GRANT CONNECT ON DATABASE "{name}" TO "dsr"')
            await admin.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')  # nothing here needs the disk
        finally:
            await admin.close()
        return name

    name = asyncio.run(create())
    yield name
    asyncio.run(databases.drop_database(servers.postgres.url, name))


@pytest.fixture
async def pool(servers: Servers, kept_database: str) -> AsyncIterator[Pool]:
    """The emptied database, as the runtime role."""
    admin = await asyncpg.connect(servers.postgres.url, database=kept_database)
    try:
        names = await admin.fetch(
            "SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_class AS c"
            " JOIN pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE n.nspname IN ('dsr', 'chassis', 'keys') AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
            " ORDER BY c.relname = 'requests'"  # last, for others refer to it
        )
        await admin.execute("; ".join(f"DELETE FROM {row['name']}" for row in names))  # noqa: S608 - from the catalogue
    finally:
        await admin.close()
    url = databases.url(servers.postgres.port, "dsr", servers.postgres.roles["dsr"], kept_database)
    pool = await open_pool(url, "dsr", 8)
    yield pool
    await pool.close()


@pytest.fixture
async def dsr(
    pool: Pool,
    runtime: Callable[..., Runtime[Settings]],
    bearer: Callable[..., dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Service]:
    """The service with its default settings: three days of cooling off, an hour before asking again.

    At the end of every test, whatever it did: each sealed value that was opened has its record of access.
    """
    opened, honest = 0, Sealing.open

    @wraps(honest)
    async def counted(*args: Any) -> str:
        nonlocal opened
        text = await honest(*args)
        opened += 1
        return text

    monkeypatch.setattr(Sealing, "open", counted)
    given = runtime("dsr", pool, Settings, call=object())  # this service calls nobody
    app = build(given)
    async with client(given, app) as http:
        service = Service(given, app, http, bearer)
        yield service
        accesses = [each for each in await service.everything() if each.type == "personal_data.accessed"]
        assert len([each for each in accesses if "contact" in each.body["categories"]]) == opened


def visible(html: str) -> str:
    """A page's text, for people."""
    text = re.sub(r"<(head|style|script).*?</\1>", " ", html, flags=re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


@pytest.fixture
def text_of() -> Callable[[str], str]:
    return visible


@pytest.fixture
def reply_event() -> Callable[..., Event]:
    return made
