"""Fixtures for the tests of everything that stands on chassis: real Postgres and Kafka, time as an argument.

A test's database is cloned from a template that was migrated once; its pool runs as the service's runtime role.
"""

import asyncio
import hashlib
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from pydantic import SecretStr
from uuid_utils.compat import uuid7

from chassis import jobs, migrate, timers
from chassis.app.runtime import App, Runtime
from chassis.app.service import http
from chassis.auth import Auth, Caller, Issuer
from chassis.clock import Clock
from chassis.consumer.batches import Batches
from chassis.consumer.records import Record, decode
from chassis.database import Pool, open_pool, transaction
from chassis.sealing import Sealing
from chassis.settings import Company, Settings
from local_stack import DEFAULT_DIRECTORY, databases
from local_stack import servers as local_servers
from local_stack.servers import Servers
from privacy_contracts import Event
from privacy_contracts.topology import topics

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ISSUER = "http://issuer.example.com"
Database = Callable[..., AbstractAsyncContextManager[Pool]]


class FixedClock(Clock):
    """A clock that stands still until it is moved."""

    def __init__(self, at: datetime = START) -> None:
        super().__init__()
        self.at = at

    def now(self) -> datetime:
        """The time it was set to."""
        return self.at

    def advance(self, by: timedelta) -> datetime:
        """Move it; returns the new time."""
        self.at += by
        return self.at


@pytest.fixture(scope="session")
def servers() -> Servers:
    """One Postgres and one Kafka for all tests of this checkout; started if need be, and left running."""
    return local_servers.start(DEFAULT_DIRECTORY / "test", durable=False)


async def _template(servers: Servers, service: str, with_own: bool) -> str:
    """A migrated database to clone, named after the SQL that made it."""
    folder = files(f"{service}.migrations") if with_own else files("chassis.migrations")
    wanted = migrate.all_of(service, folder) if with_own else migrate.found("chassis", folder)
    digest = hashlib.sha256("".join(each.sql for each in wanted).encode()).hexdigest()[:12]
    name = f"template_{service}_{digest}"
    url = servers.postgres.url
    guard = await asyncpg.connect(url)
    try:
        await guard.execute("SELECT pg_advisory_lock(hashtext($1))", name)
        if not await guard.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
            await databases.create_database(url, service, f"{name}_new")
            owner = await asyncpg.connect(
                databases.url(
                    servers.postgres.port, f"{service}_owner", servers.postgres.roles[f"{service}_owner"], f"{name}_new"
                )
            )
            try:
                await migrate.apply(owner, service, wanted)
            finally:
                await owner.close()
            await guard.execute(f'ALTER DATABASE "{name}_new" RENAME TO "{name}"')
    finally:
        await guard.close()
    return name


@pytest.fixture
def database(servers: Servers) -> Database:
    """`database("dsr")` gives the pool of a fresh database; `own=False` leaves the service's own tables out."""

    @asynccontextmanager
    async def clone(service: str, *, own: bool = True, size: int = 8) -> AsyncIterator[Pool]:
        name, url = f"test_{service}_{uuid7().hex[-12:]}", servers.postgres.url
        template = await _template(servers, service, own)
        admin = await asyncpg.connect(url)
        try:
            await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" OWNER "{service}_owner"')
            await admin.execute(f'REVOKE ALL ON DATABASE "{name}" FROM PUBLIC')
            await admin.execute(f'GRANT CONNECT ON DATABASE "{name}" TO "{service}"')
        finally:
            await admin.close()
        pool = await open_pool(
            databases.url(servers.postgres.port, service, servers.postgres.roles[service], name), service, size
        )
        try:
            await pool.execute("SELECT chassis.roll_inbox()")  # the template may be days old
            yield pool
        finally:
            await pool.close()
            await databases.drop_database(url, name)

    return clone


@pytest.fixture(scope="session")
def signing_key() -> RSAKey:
    """The key of the tests' token issuer."""
    return RSAKey.generate_key(2048, {"kid": "test", "use": "sig"})


@pytest.fixture
def token(signing_key: RSAKey) -> Callable[..., str]:
    """`token("website", "website", audience="dsr")` mints a token; `lifetime` in seconds, `claims` overrides."""

    def mint(sub: str, *scopes: str, audience: str, lifetime: float = 300, **claims: Any) -> str:
        now = int(time.time())
        body = {"iss": ISSUER, "sub": sub, "aud": audience, "iat": now, "exp": now + int(lifetime)}
        return jwt.encode({"alg": "RS256", "kid": "test"}, body | {"scope": " ".join(scopes)} | claims, signing_key)

    return mint


@pytest.fixture
def bearer(token: Callable[..., str]) -> Callable[..., dict[str, str]]:
    """The same as `token`, as headers."""
    return lambda *args, **kwargs: {"Authorization": f"Bearer {token(*args, **kwargs)}"}


COMPANY = Company(
    name="Sample Express",
    legal_name="Sample Express, Inc.",
    website="https://www.example.com",
    time_zone="America/Los_Angeles",
    brand_color="#0b5cad",
    sender="privacy@example.com",
    privacy_mailbox="privacy@example.com",
    product_mailbox="product@example.com",
    postal_address=("Sample Express", "1 Sample Street", "City of Industry, CA 91748"),
)


@pytest.fixture
def runtime(tmp_path: Path, signing_key: RSAKey, servers: Servers) -> Callable[..., Runtime[Any]]:
    """`runtime("dsr", pool, DsrSettings, cooling_off=2)` gives a `Runtime` with a `FixedClock` and throw-away keys."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("openid-configuration"):
            return httpx.Response(200, json={"jwks_uri": f"{ISSUER}/jwks", "token_endpoint": f"{ISSUER}/token"})
        return httpx.Response(200, json={"keys": [signing_key.as_dict(private=False)]})

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    issuer = Issuer(http, ISSUER, ("unused", "unused"))

    def make(
        name: str,
        pool: Pool,
        settings: type[Settings] = Settings,
        *,
        clock: Clock | None = None,
        call: Any = None,
        company: Company = COMPANY,
        **given: Any,
    ) -> Runtime[Any]:
        values: dict[str, Any] = {
            "environment": "local",
            "port": 1,
            "public_url": f"http://{name}.example.com",
            "database_url": SecretStr("postgresql://unused"),
            "kafka_bootstrap": servers.kafka.bootstrap,
            "kafka_username": servers.kafka.admin_username,
            "kafka_password": SecretStr(servers.kafka.admin_password),
            "kafka_tls": False,
            "issuer": ISSUER,
            "client_id": name,
            "client_secret": SecretStr("unused"),
            "master_keys": {1: os.urandom(32)},
            "erasure_ledger": tmp_path / "erasures",
            "company": company,
        }
        chosen = settings(**(values | given))
        return Runtime(
            name=name,
            settings=chosen,
            pool=pool,
            clock=clock or FixedClock(),
            sealing=Sealing(chosen.master_keys, chosen.erasure_ledger),
            auth=Auth(issuer, name),
            call=call or Caller(http, issuer, {}),
        )

    return make


@asynccontextmanager
async def client(runtime: Runtime[Any], app: App) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client on the service's application; nothing runs beside it."""
    transport = httpx.ASGITransport(http(runtime, app, None), client=("192.0.2.7", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://service.example.com") as made:
        yield made


@dataclass(frozen=True)
class Emitted:
    """A row of the outbox."""

    id: UUID
    type: str
    topic: str
    key: str
    subject: str
    time: datetime
    traceparent: str | None
    body: dict[str, Any]


async def outbox(pool: Pool) -> list[Emitted]:
    """What was emitted and not yet published, in order."""
    rows = await pool.fetch("SELECT event_id, topic, key, headers, body FROM chassis.outbox ORDER BY id")
    return [
        Emitted(
            row["event_id"],
            row["headers"]["ce_type"],
            row["topic"],
            row["key"],
            row["headers"]["ce_subject"],
            datetime.fromisoformat(row["headers"]["ce_time"]),
            row["headers"].get("traceparent"),
            json.loads(row["body"]),
        )
        for row in rows
    ]


def record(
    event: Event,
    *,
    offset: int = 0,
    source: str | None = None,
    event_id: str | None = None,
    at: datetime = START,
    sequence: int | None = None,
    headers: Mapping[str, bytes | None] | None = None,
    **changes: Any,
) -> Record:
    """An event as the broker hands it out. `headers` overrides single ones; `changes` fields of the record."""
    given: dict[str, bytes | None] = {
        "ce_specversion": b"1.0",
        "ce_id": (event_id or str(uuid7())).encode(),
        "ce_type": event.type.encode(),
        "ce_source": (source or topics()[event.topic].writer).encode(),
        "ce_subject": event.subject.encode(),
        "ce_time": at.isoformat().encode(),
        "ce_sequence": str(sequence or offset + 1).encode(),
        "content-type": b"application/json",
    }
    made = Record(
        event.topic, 0, offset, event.key.encode(), event.to_bytes(), tuple((given | dict(headers or {})).items()), at
    )
    return replace(made, **changes)


async def deliver_records(app: App, runtime: Runtime[Any], *records: Record) -> Batches:
    """Put records through the real batch path, each at the next offset of its topic."""
    batches = Batches(runtime.pool, app.handlers, runtime.sealing, backoff=(0.0, 0.0))
    positions = await batches.assigned({each.place: 0 for each in records})
    placed = []
    for each in records:
        placed.append(replace(each, offset=positions[each.place]))
        positions[each.place] += 1
    await batches.handle(placed)
    return batches


async def deliver(app: App, runtime: Runtime[Any], *events: Event, **options: Any) -> Batches:
    """Put events through the real batch path; `options` as for `record`."""
    return await deliver_records(app, runtime, *(record(event, **options) for event in events))


async def restate(app: App, runtime: Runtime[Any], *events: Event) -> list[bool]:
    """Tell a service what it once said itself, as `recover` does; for each, whether all of it is there again."""
    known = []
    async with transaction(runtime.pool) as tx:
        for event in events:
            received = decode(record(event), topics()[event.topic], {event.type: type(event)})
            known.append(bool(received and app.restate and await app.restate(received, tx)))
    return known


async def run_timers(app: App, runtime: Runtime[Any], now: datetime | None = None) -> int:
    """Fire what is due; returns how many."""
    return await timers.fire_due(runtime.pool, app.timers, now or runtime.clock.now())


async def run_jobs(app: App, runtime: Runtime[Any], *, at_once: bool = True) -> int:
    """Try every job that waits, once each round until none is due. `at_once` ignores backoff for one round."""
    if at_once:
        async with transaction(runtime.pool) as tx:
            await tx.execute("UPDATE chassis.jobs SET run_at = now()")
    ran = 0
    for kind, how in app.jobs.items():
        while await jobs.run_one(runtime.pool, kind, how):
            ran += 1
    return ran


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = 20) -> Any:
    """The condition's first true value; fails when `seconds` have passed without one."""
    deadline = time.monotonic() + seconds
    while True:
        if value := await condition():
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {condition}")
        await asyncio.sleep(0.05)


@pytest.fixture
def topic_prefix(servers: Servers) -> Iterator[str]:
    """A prefix of this test's own, with every topic and its ACLs; removed afterwards."""
    prefix = f"t{uuid7().hex[-10:]}."
    local_servers.converge(servers, prefix)
    yield prefix
    local_servers.remove_topics(servers, prefix)
