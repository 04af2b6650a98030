"""A consent service on a fresh database, with a hand for each caller."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest

from chassis.app import App, Runtime
from chassis.testing import Database, Emitted, client, outbox
from consent.app import build
from consent.settings import Settings


@dataclass(frozen=True)
class Consent:
    """The service under test. `bearer` mints tokens for its audience."""

    runtime: Runtime[Settings]
    app: App
    http: httpx.AsyncClient
    bearer: Callable[..., dict[str, str]]

    def token(self, sub: str, *scopes: str) -> dict[str, str]:
        """Headers of a caller."""
        return self.bearer(sub, *scopes, audience="consent")

    def advance(self, **by: float) -> None:
        """Move the clock."""
        self.runtime.clock.advance(timedelta(**by))  # type: ignore[attr-defined]  # the tests' clock

    async def choose(self, choice: str, subject: str = "account/7", **given: Any) -> httpx.Response:
        """The website passes a choice on."""
        key = given.pop("key", None)
        body = {
            "subject": subject,
            "purpose": "third_party_marketing",
            "choice": choice,
            "text": "May our partners write to you?",
            "channel": "website",
        } | given
        headers = self.token("website", "website") | ({"Idempotency-Key": key} if key else {})
        return await self.http.post("/v1/choices", json=body, headers=headers)

    async def ask(self, subject: str = "account/7", **given: Any) -> httpx.Response:
        """The accounts system asks whether it may disclose."""
        body = {"subject": subject, "recipient": "adco", "purpose": "third_party_marketing"} | given
        return await self.http.post("/v1/decisions", json=body, headers=self.token("accounts", "system"))

    async def publish(self, text: str = "# Privacy\n\nOur words.\n", **given: Any) -> httpx.Response:
        """An officer publishes a version."""
        key = given.pop("key", None)
        body = {"text": text, "summary": "New words.", "material": False, "reasons": ["clarified"]} | given
        headers = self.token("officer-01", "officer") | ({"Idempotency-Key": key} if key else {})
        return await self.http.post("/v1/policies", json=body, headers=headers)

    async def emitted(self, *types: str) -> list[Emitted]:
        """What was emitted, of these types or of all."""
        return [each for each in await outbox(self.runtime.pool) if not types or each.type in types]

    async def rows(self, table: str) -> int:
        """How many rows a table of the service has."""
        return int(await self.runtime.pool.fetchval(f"SELECT count(*) FROM consent.{table}"))  # noqa: S608 - the test names it


@pytest.fixture
async def consent(
    database: Database, runtime: Callable[..., Runtime[Any]], bearer: Callable[..., dict[str, str]]
) -> AsyncIterator[Consent]:
    """The service, wired as in production but for Kafka."""
    async with database("consent") as pool:
        made = runtime("consent", pool, Settings)
        app = build(made)
        async with client(made, app) as http:
            yield Consent(made, app, http, bearer)
