"""Who calls, and calling others. Bearer tokens are JWTs of the deployment's OIDC issuer; keys are cached, served stale.

A token must carry `aud` = the called service and `exp`; `sub` is the caller, `scope` what it may do.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import Request
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jwt import JWTClaimsRegistry

from chassis.problems import Problem
from chassis.telemetry import traceparent

log = logging.getLogger(__name__)
_FRESH_SECONDS = 300.0
_REFETCH_SECONDS = 5.0


@dataclass(frozen=True)
class Principal:
    """The caller: `subject` is its name at the issuer."""

    subject: str
    scopes: frozenset[str]


class Auth:
    """Checks tokens for one audience. `fetch` answers the issuer's JSON documents by URL."""

    def __init__(self, issuer: str, audience: str, fetch: Callable[[str], Awaitable[dict[str, Any]]]) -> None:
        self._issuer = issuer.rstrip("/")
        self._fetch = fetch
        self._keys: KeySet | None = None
        self._fetched = -_FRESH_SECONDS
        self._lock = asyncio.Lock()
        self._claims = JWTClaimsRegistry(
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": audience},
            sub={"essential": True},
            exp={"essential": True},
            leeway=5,
        )

    def require(self, *scopes: str) -> Callable[[Request], Awaitable[Principal]]:
        """A FastAPI dependency: the caller, who has at least one of these scopes. 401 or 403 otherwise."""

        async def caller(request: Request) -> Principal:
            principal = await self._principal(request.headers.get("authorization", ""))
            if not principal.scopes.intersection(scopes):
                raise Problem(403, "forbidden", "The token does not allow this")
            return principal

        return caller

    async def _principal(self, header: str) -> Principal:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _unauthorized("A bearer token is needed")
        try:
            claims = await self._decode(token)
            self._claims.validate(claims)
        except (JoseError, ValueError) as error:
            log.info("token refused: %s", type(error).__name__)
            raise _unauthorized("The token is not valid here") from None
        return Principal(str(claims["sub"]), frozenset(str(claims.get("scope", "")).split()))

    async def _decode(self, token: str) -> dict[str, Any]:
        keys = await self._key_set(_FRESH_SECONDS)
        try:
            return jwt.decode(token, keys, algorithms=["RS256", "ES256"]).claims
        except (JoseError, ValueError):
            newer = await self._key_set(_REFETCH_SECONDS)  # the issuer may have rotated its keys
            if newer is keys:
                raise
            return jwt.decode(token, newer, algorithms=["RS256", "ES256"]).claims

    async def _key_set(self, age: float) -> KeySet:
        """Keys at most `age` seconds old, or older ones while the issuer is away."""
        if self._keys and time.monotonic() - self._fetched <= age:
            return self._keys
        async with self._lock:
            if self._keys is None or time.monotonic() - self._fetched > age:
                try:
                    found = await self._fetch(f"{self._issuer}/.well-known/openid-configuration")
                    self._keys = KeySet.import_key_set(await self._fetch(found["jwks_uri"]))  # type: ignore[arg-type]  # a JWKS document
                except (httpx.HTTPError, KeyError, ValueError) as error:
                    log.warning("the issuer's keys are not to be had: %s", type(error).__name__)
                    if self._keys is None:
                        raise Problem(503, "unavailable", "Try again shortly", headers={"Retry-After": "2"}) from None
                self._fetched = time.monotonic()
            return self._keys


def _unauthorized(title: str) -> Problem:
    return Problem(401, "unauthorized", title, headers={"WWW-Authenticate": "Bearer"})


class Caller:
    """Calls other services: bearer token by client credentials for each audience, trace context, no redirects."""

    def __init__(self, http: httpx.AsyncClient, issuer: str, client: tuple[str, str], urls: dict[str, str]) -> None:
        self._http = http
        self._issuer = issuer.rstrip("/")
        self._client = client
        self._urls = urls
        self._tokens: dict[str, tuple[str, float]] = {}

    async def get(self, service: str, path: str) -> httpx.Response:
        """GET from a service named in `SERVICE_URLS`. Raises `httpx.HTTPError` when it cannot be reached."""
        return await self._send("GET", service, path, None, {})

    async def post(
        self, service: str, path: str, json: dict[str, Any], idempotency_key: str | None = None
    ) -> httpx.Response:
        """POST to a service named in `SERVICE_URLS`. Raises `httpx.HTTPError` when it cannot be reached."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return await self._send("POST", service, path, json, headers)

    async def _send(
        self, method: str, service: str, path: str, json: dict[str, Any] | None, headers: dict[str, str]
    ) -> httpx.Response:
        headers["Authorization"] = f"Bearer {await self._token(service)}"
        if trace := traceparent():
            headers["traceparent"] = trace
        return await self._http.request(method, self._urls[service].rstrip("/") + path, json=json, headers=headers)

    async def _token(self, audience: str) -> str:
        token, expires = self._tokens.get(audience, ("", 0.0))
        if time.monotonic() < expires:
            return token
        found = (await self._http.get(f"{self._issuer}/.well-known/openid-configuration")).raise_for_status().json()
        answer = await self._http.post(
            found["token_endpoint"], data={"grant_type": "client_credentials", "audience": audience}, auth=self._client
        )
        given = answer.raise_for_status().json()
        self._tokens[audience] = (given["access_token"], time.monotonic() + given["expires_in"] - 30)
        return str(given["access_token"])
