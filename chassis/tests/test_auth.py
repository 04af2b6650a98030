"""Who may call: one audience, one issuer, two algorithms, its keys; and how others are called."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import RSAKey

from chassis import auth as module
from chassis.auth import Auth, Caller, Issuer, Principal
from chassis.problems import Problem
from chassis.telemetry import span
from chassis.testing import ISSUER

Mint = Callable[..., str]


class Documents(httpx.MockTransport):
    """The issuer's documents, or nothing at all while it is away."""

    def __init__(self, *keys: RSAKey) -> None:
        super().__init__(self.answer)
        self.keys, self.away, self.asked = list(keys), False, 0

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.away:
            raise httpx.ConnectError("no route")
        if request.url.path.endswith("openid-configuration"):
            return httpx.Response(200, json={"jwks_uri": f"{ISSUER}/jwks"})
        return httpx.Response(200, json={"keys": [key.as_dict(private=False) for key in self.keys]})


def guard(documents: Documents) -> Auth:
    return Auth(Issuer(httpx.AsyncClient(transport=documents), ISSUER + "/", ("dsr", "unused")), "dsr")


@pytest.fixture
def issuer(signing_key: RSAKey) -> Documents:
    return Documents(signing_key)


@pytest.fixture
def auth(issuer: Documents) -> Auth:
    return guard(issuer)


async def ask(auth: Auth, header: str | None, *scopes: str) -> Principal:
    class Request:
        headers = {"authorization": header} if header is not None else {}

    return await auth.require(*(scopes or ("website",)))(Request())  # type: ignore[arg-type]  # all that is read of it


async def refused(auth: Auth, header: str | None, status: int = 401) -> None:
    with pytest.raises(Problem) as caught:
        await ask(auth, header)
    assert caught.value.status == status
    if status == 401:
        assert caught.value.headers == {"WWW-Authenticate": "Bearer"}


async def test_a_good_token_names_its_caller(auth: Auth, token: Mint) -> None:
    good = token("website", "website", "other", audience="dsr")
    assert await ask(auth, f"Bearer {good}") == Principal("website", frozenset({"website", "other"}))
    assert await ask(auth, f"bearer {good}", "agent", "other")
    assert await ask(auth, f"Bearer {token('website', 'website', audience=['x', 'dsr'])}")


async def test_without_a_good_token_nobody_comes_in(auth: Auth, token: Mint) -> None:
    headers = {
        "missing": None,
        "empty": "",
        "another scheme": "Basic d2Vic2l0ZTp4",
        "no token": "Bearer ",
        "garbage": "Bearer a.b.c",
        "expired": f"Bearer {token('website', 'website', audience='dsr', lifetime=-60)}",
        "another audience": f"Bearer {token('website', 'website', audience='audit')}",
        "another issuer": f"Bearer {token('website', 'website', audience='dsr', iss='https://evil.example.com')}",
        "not yet": f"Bearer {token('website', 'website', audience='dsr', nbf=int(time.time()) + 600)}",
        "no audience": f"Bearer {token('website', 'website', audience=None)}",
        "no end": f"Bearer {token('website', 'website', audience='dsr', exp=None)}",
        "no subject": f"Bearer {token(None, 'website', audience='dsr')}",
    }
    for header in headers.values():
        await refused(auth, header)


async def test_another_scope_is_forbidden(auth: Auth, token: Mint) -> None:
    await refused(auth, f"Bearer {token('website', 'person', audience='dsr')}", 403)
    await refused(auth, f"Bearer {token('website', audience='dsr')}", 403)


async def test_a_signature_must_be_the_issuers(auth: Auth, token: Mint, signing_key: RSAKey) -> None:
    good = token("website", "website", audience="dsr")
    head, body, signature = good.split(".")
    claims = jwt.decode(good, signing_key).claims
    thief = RSAKey.generate_key(2048, {"kid": "test"})
    confused = f"{part({'alg': 'HS256', 'kid': 'test'})}.{body}"
    mac = hmac.digest(signing_key.as_pem(private=False), confused.encode(), "sha256")
    changed = part(json.loads(base64.urlsafe_b64decode(body + "==")) | {"sub": "operator-01"})
    for forged in (
        f"{head}.{changed}.{signature}",
        jwt.encode({"alg": "RS256", "kid": "test"}, claims, thief),
        jwt.encode({"alg": "RS256", "kid": "unknown"}, claims, thief),
        f"{confused}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}",
        f"{part({'alg': 'none'})}.{body}.",
        f"{part({'alg': 'None', 'kid': 'test'})}.{body}.{signature}",
        f"{part({'alg': 'RS256', 'kid': 'test', 'crit': ['x']})}.{body}.{signature}",
        f"{part({'alg': 'RS256', 'kid': 'test', 'crit': 5})}.{body}.{signature}",
    ):
        await refused(auth, f"Bearer {forged}")


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda s: st.lists(s) | st.dictionaries(st.text(), s),
    max_leaves=4,
)


@given(head=json_values | st.fixed_dictionaries({"alg": json_values, "kid": json_values}), rest=st.text())
def test_no_header_of_a_token_is_an_error_of_ours(signing_key: RSAKey, head: Any, rest: str) -> None:
    guarded = guard(Documents(signing_key))
    asyncio.run(refused(guarded, f"Bearer {part(head)}.{part({'sub': 'x'})}.{rest}"))
    asyncio.run(refused(guarded, f"Bearer {rest}"))


async def test_keys_are_served_stale_while_the_issuer_is_away(
    auth: Auth, issuer: Documents, token: Mint, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = f"Bearer {token('website', 'website', audience='dsr')}"
    issuer.away = True
    await refused(auth, good, 503)
    asked = issuer.asked
    await refused(auth, good, 503)
    assert issuer.asked == asked, "not again for everybody who comes meanwhile"
    issuer.away = False
    monkeypatch.setattr(module, "_RETRY_SECONDS", -1.0)
    await ask(auth, good)
    issuer.away = True
    monkeypatch.setattr(module, "_FRESH_SECONDS", -1.0)
    monkeypatch.setattr(module, "_REFETCH_SECONDS", -1.0)
    assert await ask(auth, good)
    await refused(auth, "Bearer a.b.c")


@pytest.mark.parametrize("keys", [[], None, "none", [{"kty": "RSA"}]])
async def test_an_issuer_that_answers_nonsense_takes_no_keys_away(
    auth: Auth, issuer: Documents, token: Mint, monkeypatch: pytest.MonkeyPatch, keys: Any
) -> None:
    good = f"Bearer {token('website', 'website', audience='dsr')}"
    await ask(auth, good)
    monkeypatch.setattr(issuer, "answer", lambda _: httpx.Response(200, json={"keys": keys, "jwks_uri": f"{ISSUER}/k"}))
    issuer.handler = issuer.answer
    monkeypatch.setattr(module, "_FRESH_SECONDS", -1.0)
    assert await ask(auth, good)


async def test_new_keys_are_found_at_once_and_garbage_does_not_make_us_ask_each_time(
    auth: Auth, issuer: Documents, token: Mint, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(auth, f"Bearer {token('website', 'website', audience='dsr')}")
    before = issuer.asked
    for _ in range(5):
        await refused(auth, "Bearer a.b.c")
    assert issuer.asked == before
    newer = RSAKey.generate_key(2048, {"kid": "newer", "use": "sig"})
    issuer.keys.append(newer)
    now = int(time.time())
    claims = {"iss": ISSUER, "sub": "website", "aud": "dsr", "exp": now + 60, "scope": "website"}
    monkeypatch.setattr(module, "_REFETCH_SECONDS", -1.0)
    assert await ask(auth, f"Bearer {jwt.encode({'alg': 'RS256', 'kid': 'newer'}, claims, newer)}")


async def test_a_caller_gets_a_token_for_each_service_and_keeps_it() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if request.url.path.endswith("openid-configuration"):
            return httpx.Response(200, json={"token_endpoint": f"{ISSUER}/token"})
        if request.url.path == "/token":
            audience = dict(pair.split("=") for pair in request.content.decode().split("&"))["audience"]
            return httpx.Response(200, json={"access_token": f"for-{audience}", "expires_in": 600})
        return httpx.Response(200, json={})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        urls = {"dsr": "http://dsr.example.com/", "consent": "http://consent.example.com"}
        call = Caller(http, Issuer(http, ISSUER, ("notifier", "secret")), urls)
        with span("test", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"):
            await call.post("dsr", "/v1/things", {"a": 1})
        await call.get("dsr", "/v1/things")
        await call.get("consent", "/v1/notice")
    asked = [request for request in seen if request.url.path == "/token"]
    assert len(asked) == 2
    assert asked[0].headers["authorization"] == "Basic " + base64.b64encode(b"notifier:secret").decode()
    calls = [request for request in seen if request.url.path.startswith("/v1")]
    assert [request.headers["authorization"] for request in calls] == [
        "Bearer for-dsr",
        "Bearer for-dsr",
        "Bearer for-consent",
    ]
    assert "0af7651916cd43dd8448eb211c80319c" in calls[0].headers["traceparent"]
