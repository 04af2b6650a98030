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
_RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class Principal:
    """The caller: `subject` is its name at the issuer."""

    subject: str
    scopes: frozenset[str]


class Issuer:
    """The deployment's OIDC issuer: its keys, and tokens of our own for each audience by client credentials."""

    def __init__(self, http: httpx.AsyncClient, url: str, client: tuple[str, str]) -> None:
        self.url = url.rstrip("/")
        self._http, self._client = http, client
        self._keys: KeySet | None = None
        self._fetched = -_FRESH_SECONDS
        self._lock = asyncio.Lock()
        self._tokens: dict[str, tuple[str, float]] = {}

    async def keys(self, age: float) -> KeySet:
        """Keys at most `age` seconds old, or older ones while the issuer is away."""
        if self._keys and time.monotonic() - self._fetched <= age:
            return self._keys
        async with self._lock:
            if time.monotonic() - self._fetched > (age if self._keys else _RETRY_SECONDS):
                try:
                    found = await self._json("GET", await self._endpoint("jwks_uri"))
                    keys = KeySet.import_key_set(found)  # type: ignore[arg-type]  # a JWKS document
                    self._keys = keys if keys.keys else self._keys
                except (httpx.HTTPError, JoseError, AttributeError, KeyError, TypeError, ValueError) as error:
                    log.warning("the issuer's keys are not to be had: %s", type(error).__name__)
                self._fetched = time.monotonic()
        if self._keys is None:
            raise Problem(503, "unavailable", "Try again shortly", headers={"Retry-After": "2"})
        return self._keys

    async def token(self, audience: str) -> str:
        """A token for calling a service. Raises `httpx.HTTPError` when the issuer is away or refuses."""
        token, expires = self._tokens.get(audience, ("", 0.0))
        if time.monotonic() < expires:
            return token
        data = {"grant_type": "client_credentials", "audience": audience}
        try:
            given = await self._json("POST", await self._endpoint("token_endpoint"), data=data, auth=self._client)
            self._tokens[audience] = (str(given["access_token"]), time.monotonic() + given["expires_in"] - 30)
        except (KeyError, TypeError, ValueError) as error:
            raise httpx.HTTPError(f"the issuer's answer is no token: {type(error).__name__}") from None
        return self._tokens[audience][0]

    async def _endpoint(self, name: str) -> str:
        return str((await self._json("GET", f"{self.url}/.well-known/openid-configuration"))[name])

    async def _json(self, method: str, url: str, **options: Any) -> dict[str, Any]:
        answer: dict[str, Any] = (await self._http.request(method, url, **options)).raise_for_status().json()
        return answer


class Auth:
    """Checks tokens for one audience."""

    def __init__(self, issuer: Issuer, audience: str) -> None:
        self._issuer = issuer
        self._claims = JWTClaimsRegistry(
            iss={"essential": True, "value": issuer.url},
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
        except Problem:
            raise
        except Exception as error:  # whatever a library makes of a forged token is no fault of ours
            log.info("token refused: %s", type(error).__name__)
            raise _unauthorized("The token is not valid here") from None
        return Principal(str(claims["sub"]), frozenset(str(claims.get("scope", "")).split()))

    async def _decode(self, token: str) -> dict[str, Any]:
        keys = await self._issuer.keys(_FRESH_SECONDS)
        try:
            return jwt.decode(token, keys, algorithms=["RS256", "ES256"]).claims
        except (JoseError, TypeError, ValueError):
            newer = await self._issuer.keys(_REFETCH_SECONDS)  # the issuer may have rotated its keys
            if newer is keys:
                raise
            return jwt.decode(token, newer, algorithms=["RS256", "ES256"]).claims


def _unauthorized(title: str) -> Problem:
    return Problem(401, "unauthorized", title, headers={"WWW-Authenticate": "Bearer"})


class Caller:
    """Calls other services, named in `SERVICE_URLS`: bearer token for each, trace context, no redirects.

    Both verbs raise `httpx.HTTPError` when the service cannot be reached.
    """

    def __init__(self, http: httpx.AsyncClient, issuer: Issuer, urls: dict[str, str]) -> None:
        self._http, self._issuer, self._urls = http, issuer, urls

    async def get(self, service: str, path: str) -> httpx.Response:
        """GET from a service."""
        return await self._send("GET", service, path)

    async def post(self, service: str, path: str, json: dict[str, Any]) -> httpx.Response:
        """POST to a service."""
        return await self._send("POST", service, path, json=json)

    async def _send(self, method: str, service: str, path: str, **body: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {await self._issuer.token(service)}"}
        if trace := traceparent():
            headers["traceparent"] = trace
        return await self._http.request(method, self._urls[service].rstrip("/") + path, headers=headers, **body)
