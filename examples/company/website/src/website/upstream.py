"""The calls that the website makes for its visitor: accounts, consent, dsr. All server-side, all bounded in time.

What is away raises `Away`; what is refused raises `Refused`. Neither carries anything that the visitor typed.
"""

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import httpx

from website.settings import Settings


class Away(Exception):
    """A service did not answer, or answered that it cannot now."""


class Refused(Exception):
    """A service refused what was sent; the visitor can put it right."""


TOLD = (httpx.codes.NOT_FOUND, httpx.codes.CONFLICT, httpx.codes.GONE)
"""Refusals that say something about an account; whoever asked turns them into what every visitor sees."""


@dataclass(frozen=True)
class Notice:
    """What the home page says about the policy, until `until`."""

    headline: str
    revised_on: str
    url: str
    until: datetime


@dataclass
class Upstream:
    """One per process: the HTTP client, a token per service, and the last notice that was seen."""

    settings: Settings
    http: httpx.AsyncClient
    _token_url: str = ""
    _tokens: dict[str, tuple[str, float]] = field(default_factory=dict)
    _notice: Notice | None = None
    _notice_asked: float = float("-inf")

    async def _token(self, audience: str) -> str:
        token, good_until = self._tokens.get(audience, ("", 0.0))
        if time.monotonic() < good_until:
            return token
        if not self._token_url:
            found = await self.http.get(f"{self.settings.issuer}/.well-known/openid-configuration")
            self._token_url = str(found.raise_for_status().json()["token_endpoint"])
        answer = await self.http.post(
            self._token_url,
            data={"grant_type": "client_credentials", "audience": audience},
            auth=(self.settings.client_id, self.settings.client_secret),
        )
        granted = answer.raise_for_status().json()
        token = str(granted["access_token"])
        self._tokens[audience] = (token, time.monotonic() + float(granted.get("expires_in", 60)) * 0.8)
        return token

    async def _send(self, method: str, service: str, path: str, body: dict[str, Any], once: str) -> httpx.Response:
        """Call a service as the website. `once` makes a repeat of the same form with the same content harmless.

        The key counts for this content alone: where a used one met another address, the refusal would tell whether the
        first had an account.
        """
        key = str(uuid5(NAMESPACE_OID, json.dumps([once, method, path, body])))
        try:
            headers = {"authorization": f"Bearer {await self._token(service)}", "idempotency-key": key}
            url = f"{self.settings.service_urls[service]}{path}"
            answer = await self.http.request(method, url, json=body, headers=headers)
        except (httpx.HTTPError, KeyError, ValueError) as fault:
            raise Away(service) from fault
        if answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
            raise Refused(service)
        if answer.is_error and answer.status_code not in TOLD:
            self._tokens.pop(service, None)  # a rotated key shows as 401: the next try asks for a new token
            raise Away(service)
        return answer

    async def register(self, email: str, name: str, region: str, offers: bool, once: str) -> str | None:
        """Open an account. Gives its id, or None when the address already has one."""
        body = {"email": email, "name": name, "region": region, "offers": offers}
        answer = await self._send("POST", "accounts", "/v1/customers", body, once)
        return str(answer.json()["id"]) if answer.is_success else None

    async def account_of(self, email: str, once: str) -> str | None:
        """The account that an address belongs to, if any. Never shown to the visitor."""
        answer = await self._send("POST", "accounts", "/v1/customers/find", {"email": email}, once)
        return str(answer.json()["id"]) if answer.is_success else None

    async def stop_offers(self, account: str, once: str) -> None:
        """Take an account off the company's own mailings."""
        answer = await self._send("PATCH", "accounts", f"/v1/customers/{account}", {"offers": False}, once)
        if answer.is_error:
            raise Away("accounts")

    async def choose(self, account: str, purpose: str, choice: str, text: str, once: str) -> None:
        """Record a choice, with the words that stood beside it. Of an account that is being deleted none is left."""
        body = {"subject": f"account/{account}", "purpose": purpose, "choice": choice, "text": text}
        answer = await self._send("POST", "consent", "/v1/choices", body | {"channel": "website"}, f"{once}-{purpose}")
        if answer.is_error and answer.status_code != httpx.codes.GONE:
            raise Away("consent")

    async def takes_choices(self) -> bool:
        """Whether consent answers: asked where there is nothing to record, so that it being away tells nothing."""
        try:
            answer = await self.http.get(f"{self.settings.service_urls['consent']}/v1/notice")
        except httpx.HTTPError:
            return False
        return answer.is_success

    async def ask_deletion(self, email: str, once: str) -> None:
        """Hand a deletion request to dsr, which answers alike for every address."""
        answer = await self._send("POST", "dsr", "/v1/requests", {"type": "delete", "email": email}, once)
        if answer.is_error:
            raise Away("dsr")

    async def notice(self) -> Notice | None:
        """The home-page notice as last seen. A consent service that is away takes nothing off the page."""
        if time.monotonic() - self._notice_asked > self.settings.notice_seconds:
            self._notice_asked = time.monotonic()
            try:
                url = f"{self.settings.service_urls['consent']}/v1/notice"
                answer = (await self.http.get(url, timeout=1.0)).raise_for_status()
                self._notice = None if answer.status_code == httpx.codes.NO_CONTENT else _read(answer.json())
            except (httpx.HTTPError, ValueError, KeyError, TypeError):
                pass  # the last one stays
        shown = self._notice
        return shown if shown is not None and datetime.now(UTC) < shown.until else None


def _read(told: dict[str, Any]) -> Notice:
    """A notice from consent's answer; `ValueError` when its link is no web address."""
    url = str(told["url"])
    if not url.startswith(("https://", "http://")):
        raise ValueError("not a web address")
    until = datetime.fromisoformat(str(told["until"]))
    return Notice(
        headline=str(told["headline"]),
        revised_on=str(told["revised_on"]),
        url=url,
        until=until if until.tzinfo else until.replace(tzinfo=UTC),
    )
