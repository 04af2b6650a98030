"""The accounts system on a fresh database, with a consent service that answers as it is told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from accounts.app import build
from accounts.settings import Settings
from chassis.app import App, Runtime
from chassis.testing import Database, Emitted, client, outbox


@dataclass
class Consent:
    """Stands for the consent service: what it was asked, and by subject what it answers (status, reason).

    `takes` are the seconds that an answer takes.
    """

    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    takes: float = 0

    async def post(self, service: str, path: str, json: dict[str, Any]) -> httpx.Response:
        assert (service, path) == ("consent", "/v1/decisions")
        self.asked.append(json)
        await asyncio.sleep(self.takes)
        status, reason = self.answers.get(json["subject"], (200, "no_choice"))
        allowed = reason == "granted"
        body = {
            "decision": str(uuid4()),
            "allowed": allowed,
            "reason": reason,
            "consent_version": 1 if allowed else None,
        }
        return httpx.Response(status, json=body | {"policy_version": 1})


@dataclass(frozen=True)
class Accounts:
    """The system under test, with a hand for each caller."""

    runtime: Runtime[Settings]
    app: App
    http: httpx.AsyncClient
    bearer: Callable[..., dict[str, str]]
    consent: Consent

    def token(self, sub: str, *scopes: str) -> dict[str, str]:
        return self.bearer(sub, *scopes, audience="accounts")

    def advance(self, by: timedelta) -> None:
        self.runtime.clock.advance(by)  # type: ignore[attr-defined]  # the tests' clock

    async def register(self, email: str = "ann@example.com", key: str | None = None, **given: Any) -> httpx.Response:
        headers = self.token("website", "website") | ({"Idempotency-Key": key} if key else {})
        body = {"email": email, "name": "Ann", "region": "US-CA"} | given
        return await self.http.post("/v1/customers", json=body, headers=headers)

    async def registered(self, email: str = "ann@example.com", **given: Any) -> str:
        return str((await self.register(email, **given)).json()["id"])

    async def correct(self, account: str, **given: Any) -> httpx.Response:
        headers = self.token("website", "website")
        return await self.http.patch(f"/v1/customers/{account}", json=given, headers=headers)

    async def close(self, account: str, key: str | None = None) -> httpx.Response:
        headers = self.token("website", "website") | ({"Idempotency-Key": key} if key else {})
        return await self.http.delete(f"/v1/customers/{account}", headers=headers)

    async def find(self, email: str) -> httpx.Response:
        headers = self.token("website", "website")
        return await self.http.post("/v1/customers/find", json={"email": email}, headers=headers)

    async def feed(self, key: str | None = None, **given: Any) -> httpx.Response:
        headers = self.token("operator-01", "operator") | ({"Idempotency-Key": key} if key else {})
        body = {"recipient": "adco", "purpose": "third_party_marketing"} | given
        return await self.http.post("/v1/feeds", json=body, headers=headers)

    async def feed_state(self, feed: str) -> dict[str, Any]:
        answer = await self.http.get(f"/v1/feeds/{feed}", headers=self.token("operator-01", "operator"))
        found: dict[str, Any] = answer.json()
        return found

    async def marketing_list(self, sub: str = "marketing", tag: str | None = None) -> httpx.Response:
        headers = self.token(sub, "system") | ({"If-None-Match": tag} if tag else {})
        return await self.http.get("/v1/marketing-list", headers=headers)

    async def emitted(self, *types: str) -> list[Emitted]:
        return [each for each in await outbox(self.runtime.pool) if not types or each.type in types]

    def file(self, feed: str) -> str:
        return Path(self.runtime.settings.feed_dir, f"adco-{feed}.csv").read_text("utf-8")


@pytest.fixture
async def accounts(
    database: Database, runtime: Callable[..., Runtime[Any]], bearer: Callable[..., dict[str, str]], tmp_path: Path
) -> AsyncIterator[Accounts]:
    consent = Consent()
    async with database("accounts") as pool:
        made = runtime("accounts", pool, Settings, call=consent, feed_dir=tmp_path / "feeds")
        app = build(made)
        async with client(made, app) as http:
            yield Accounts(made, app, http, bearer, consent)
