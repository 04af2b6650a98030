"""Callers who may not, and bodies that cannot be: each gets a problem (RFC 9457) that repeats nothing of what was sent,
and nothing changes anywhere.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from local_stack.issuer import signing_key
from local_stack.layout import MIGRATED
from local_stack.stack import Stack

from ..people import Company
from .operations import OPERATIONS, SERVICES, Operation

CANARY = f"canary{uuid4().hex[:12]}"
LARGEST = 64 * 1024
QUIET_ROUNDS = 3
STRANGER = RSAKey.generate_key(2048)
UNCOUNTED = ("chassis.answers", "dsr.wrong_secrets", "dsr.findings")
"""Kept answers to keys, and the count of wrong links: written for a refusal, on purpose."""


def problem(answer: httpx.Response, *statuses: int) -> None:
    """An error as RFC 9457 wants it, of one of these statuses, that repeats nothing."""
    assert answer.status_code in statuses, f"{answer.request.method} {answer.request.url}: {answer.status_code}"
    assert answer.headers["content-type"] == "application/problem+json", answer.request.url
    told = answer.json()
    assert told["status"] == answer.status_code
    assert {"type", "title"} <= told.keys()
    assert CANARY not in answer.text + str(answer.headers)


async def _counts(company: Company) -> dict[str, int]:
    """The number of rows of every table of every system."""
    found = await asyncio.gather(*(_counts_of(company, service) for service in MIGRATED))
    return {name: count for each in found for name, count in each.items()}


async def _counts_of(company: Company, service: str) -> dict[str, int]:
    connection = await asyncpg.connect(company.stack.database_url(service))
    try:
        tables = await connection.fetch(
            "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema') AND tablename NOT LIKE 'inbox_%'"
            " AND has_table_privilege(format('%I.%I', schemaname, tablename), 'SELECT')"
        )
        names = [table["name"] for table in tables if table["name"] not in UNCOUNTED]
        statement = " UNION ALL ".join(f"SELECT '{name}', count(*) FROM {name}" for name in names)  # noqa: S608 - a catalogue's
        return {f"{service}: {name}": count for name, count in await connection.fetch(statement)}
    finally:
        await connection.close()


async def _quiet(company: Company) -> dict[str, int]:
    """The counts, once nothing is on its way any more: no outbox holds a row, and for a while nothing changes."""
    before, equal = await _counts(company), 0
    while equal < QUIET_ROUNDS:
        await asyncio.sleep(0.4)
        now = await _counts(company)
        waiting = any(count for name, count in now.items() if name.endswith("chassis.outbox"))
        before, equal = now, 0 if waiting or now != before else equal + 1
    return before


@asynccontextmanager
async def nothing_changes(company: Company) -> AsyncIterator[None]:
    """No row comes or goes, and no log has the canary."""
    before = await _quiet(company)
    yield
    after = await _quiet(company)
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == {}
    for service in (*SERVICES, "orders", "website"):
        log = await asyncio.to_thread(company.stack.log(service).read_text, "utf-8", "replace")
        assert CANARY not in log, service


async def test_every_operation_is_in_the_table(company: Company) -> None:
    found = set()
    for service in SERVICES:
        document = (await company.http.get(f"{company.stack.url(service)}/openapi.json")).json()
        found |= {(service, method.upper(), path) for path, ways in document["paths"].items() for method in ways}
    assert found == {(each.service, each.method, each.path) for each in OPERATIONS}


def _tokens(stack: Stack, operation: Operation) -> dict[str, tuple[str | None, int]]:
    """Ways to have no right to an operation: the header, and the status that it gets."""
    key = signing_key(stack.directory / "issuer-key.pem")
    scopes = {"website": "website", "notifier": "service", "marketing": "system", "accounts": "system"}
    scope = scopes.get(operation.client) or operation.client.partition("-")[0]

    def minted(by: RSAKey = key, **changes: Any) -> str:
        now = int(time.time())
        claims = {"iss": stack.url("issuer"), "sub": operation.client, "aud": operation.service, "scope": scope}
        claims |= {"iat": now, "exp": now + 60} | changes
        header = {"alg": "RS256", "kid": key.kid}
        return f"Bearer {jwt.encode(header, {name: claims[name] for name in claims if claims[name]}, by)}"

    return {
        "none": (None, 401),
        "basic": (f"Basic {CANARY}", 401),
        "garbage": (f"Bearer {CANARY}.{CANARY}.{CANARY}", 401),
        "expired": (minted(exp=int(time.time()) - 60), 401),
        "for another service": (minted(aud="another"), 401),
        "of another issuer": (minted(iss="http://issuer.example.com"), 401),
        "of another key": (minted(STRANGER), 401),
        "without an end": (minted(exp=None), 401),
        "of another scope": (minted(scope=f"nothing {CANARY}"), 403),
        "without scopes": (minted(scope=None), 403),
    }


@pytest.mark.promise(76)
async def test_nobody_gets_in_without_a_right_token(company: Company) -> None:
    async with nothing_changes(company):
        for operation in OPERATIONS:
            url = f"{company.stack.url(operation.service)}{operation.filled}"
            for way, (header, status) in _tokens(company.stack, operation).items() if operation.client else ():
                headers = {"Authorization": header} if header else {}
                answer = await company.http.request(
                    operation.method, url, headers=headers, json=operation.body, params=operation.query
                )
                assert answer.status_code == status, f"{operation} with a token {way}: {answer.status_code}"
                problem(answer, status)
                assert status == 403 or answer.headers["www-authenticate"].startswith("Bearer")


def _wrong_bodies(body: dict[str, Any]) -> list[tuple[bytes | dict[str, Any] | list[Any], tuple[int, ...]]]:
    """Bodies that cannot be, each with the statuses that may answer it."""
    wrong: list[tuple[bytes | dict[str, Any] | list[Any], tuple[int, ...]]] = [
        (b"{" + CANARY.encode(), (400,)),
        (b"\xff\xfe" + CANARY.encode(), (400,)),
        (b"[" * 20_000, (400, 422)),
        (b'{"' + CANARY.encode() * 10_000 + b'": 1}', (413,)),
        ([CANARY], (422,)),
        (body | {CANARY: CANARY}, (422,)),
        ({}, (422, 404, 200)),
    ]
    for name, value in body.items():
        anything: tuple[Any, ...] = ({CANARY: CANARY}, [{CANARY: CANARY}], CANARY, 7, f"{CANARY}\x00")
        wrong += [(body | {name: other}, (422,)) for other in anything if other != CANARY or not isinstance(value, str)]
    return wrong


async def test_bodies_that_cannot_be_are_refused_and_not_repeated(company: Company) -> None:
    async with nothing_changes(company):
        for operation in OPERATIONS:
            url = f"{company.stack.url(operation.service)}{operation.filled}"
            right = await company.bearer(operation.client, operation.service) if operation.client else {}
            for body, statuses in _wrong_bodies(operation.body) if operation.body else ():
                raw = {"content": body} if isinstance(body, bytes) else {"json": body}
                headers = right | {"Content-Type": "application/json"}
                answer = await company.http.request(operation.method, url, headers=headers, **raw)
                if body == {} and answer.status_code in (200, 404):
                    continue  # where nothing is required, nothing is wrong
                problem(answer, *statuses)


async def test_parameters_that_cannot_be_are_refused_and_not_repeated(company: Company) -> None:
    async with nothing_changes(company):
        for operation in OPERATIONS:
            base = company.stack.url(operation.service)
            right = await company.bearer(operation.client, operation.service) if operation.client else {}
            for name in operation.wrong:
                answer = await company.http.request(
                    operation.method, f"{base}{operation.path}", headers=right, params={name: f"{CANARY}?"}
                )
                problem(answer, 400, 422)
            if "{" in operation.path:
                path = operation.path.format_map({name: f"{CANARY}%00" for name in _names(operation.path)})
                answer = await company.http.request(
                    operation.method, f"{base}{path}", headers=right, json=operation.body
                )
                problem(answer, 404, 422)


def _names(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


async def test_a_key_of_another_body_is_refused(company: Company) -> None:
    """The first answer stands; the other body does nothing."""
    customer = await company.register("uma")
    key = {"Idempotency-Key": str(uuid4())}
    once = {
        "dsr": ("/v1/requests", "website", {"type": "delete", "email": "{}"}, 202),
        "accounts": ("/v1/customers", "website", {"email": "{}", "name": "U"}, 201),
    }
    for service, (path, client, body, status) in once.items():
        first = {name: value.format(f"u{uuid4().hex[:8]}@example.com") for name, value in body.items()}
        told = await company.post(service, path, first, client, status, headers=dict(key))
        async with nothing_changes(company):
            again = await company.send("POST", service, path, client, json=first, headers=dict(key))
            assert (again.status_code, again.json()) == (status, told)
            assert again.headers["idempotency-replayed"] == "true"
            other = {name: value.format(f"{CANARY}@example.com") for name, value in body.items()}
            problem(await company.send("POST", service, path, client, json=other, headers=dict(key)), 422)
    assert customer.account


async def test_forms_and_the_shop_refuse_without_repeating(company: Company) -> None:
    """Pages for people, and the order system's own door."""
    dsr, website, orders = (company.stack.url(name) for name in ("dsr", "website", "orders"))
    async with nothing_changes(company):
        for url in (f"{dsr}/delete", f"{website}/privacy"):
            answer = await company.http.post(url, data={"email": f"{CANARY} <b>@"})
            assert answer.status_code == 422
            assert CANARY not in answer.text
            answer = await company.http.post(url, content=b"email=" + b"x" * (LARGEST + 1), headers=FORM)
            assert answer.status_code == 413
            answer = await company.http.post(url, content=b"email=%ff%fe" + CANARY.encode(), headers=FORM)
            assert answer.status_code in (400, 422)
            assert CANARY not in answer.text
        for content in (b"{" + CANARY.encode(), b"[]", b"x" * LARGEST):
            problem(await company.http.post(f"{orders}/orders", content=content), 400, 413, 422)


FORM = {"Content-Type": "application/x-www-form-urlencoded"}
