"""Errors over HTTP: problem details, nothing of the input, nothing half done."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from chassis.app.runtime import Runtime
from chassis.database import Pool, open_pool
from chassis.testing import client
from local_stack.ports import free_port
from privacy_contracts.envelope import LARGEST_BODY

from .conftest import effects
from .sample import SERVICE, Sample

SECRET = "ann@example.com"
Bearer = Callable[..., dict[str, str]]


@pytest.fixture
def runtime_(runtime: Callable[..., Runtime[Any]], pool: Pool) -> Runtime[Any]:
    return runtime(SERVICE, pool)


@pytest.fixture
async def http(runtime_: Runtime[Any]) -> AsyncIterator[httpx.AsyncClient]:
    async with client(runtime_, Sample().app(runtime_)) as made:
        yield made


@pytest.fixture
def website(bearer: Bearer) -> dict[str, str]:
    return bearer("website", "website", audience=SERVICE)


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem, which must be one, of this kind, and silent about the input."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["type"] == f"/problems/{code}"
    assert body["status"] == status
    assert SECRET not in answer.text + str(answer.headers)
    return body


BAD_BODIES: dict[str, tuple[bytes, int, str]] = {
    "no JSON": (f'{{"name": "{SECRET}"'.encode(), 400, "malformed"),
    "no text": (b'{"name": "\xff"}', 400, "bad-request"),
    "nothing": (b"", 422, "invalid"),
    "another shape": (f'["{SECRET}"]'.encode(), 422, "invalid"),
    "wrong type": (f'{{"name": "a", "number": "{SECRET}"}}'.encode(), 422, "invalid"),
    "unknown member": (f'{{"name": "a", "number": 1, "{SECRET}": 1}}'.encode(), 422, "invalid"),
    "deep": (b"[" * 30_000, 400, "bad-request"),
}


@pytest.mark.parametrize(("body", "status", "code"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
async def test_a_bad_body_is_told_and_not_repeated(
    http: httpx.AsyncClient, body: bytes, status: int, code: str
) -> None:
    problem(await http.post("/raw", content=body, headers={"content-type": "application/json"}), status, code)


async def test_a_fault_names_the_field(http: httpx.AsyncClient) -> None:
    body = problem(await http.post("/raw", json={"name": "a", "number": SECRET}), 422, "invalid")
    assert body["faults"] == [{"at": "body.number", "fault": "int_parsing"}]


async def test_a_large_body_is_refused_whether_it_says_so_or_not(
    http: httpx.AsyncClient, website: dict[str, str], pool: Pool
) -> None:
    large = b'{"name": "' + SECRET.encode() + b"x" * LARGEST_BODY + b'", "number": 1}'

    async def parts() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 10_000):
            yield large[start : start + 10_000]

    for content in (large, parts()):
        for path in ("/raw", "/things"):
            answer = await http.post(
                path,
                content=content if content is large else parts(),
                headers=website | {"content-type": "application/json"},
            )
            problem(answer, 413, "request-entity-too-large")
    assert await effects(pool) == []


async def test_unknown_paths_and_methods_are_problems_too(http: httpx.AsyncClient) -> None:
    problem(await http.get(f"/{SECRET}"), 404, "not-found")
    answer = await http.delete("/things")
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "POST"


async def test_an_unexpected_error_keeps_its_text_to_itself(
    http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    problem(await http.get("/boom"), 500, "internal")
    assert SECRET not in caplog.text
    assert "unexpected ValueError" in caplog.text


async def test_without_its_database_a_service_asks_to_come_back(
    runtime: Callable[..., Runtime[Any]], servers: Any
) -> None:
    absent = await open_pool(f"postgresql://nobody@127.0.0.1:{free_port()}/none", SERVICE)
    rt = runtime(SERVICE, absent)
    async with client(rt, Sample().app(rt)) as http:
        answer = await http.get("/database")
    problem(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "2"
    absent.terminate()


async def test_the_same_key_gets_the_same_answer_and_one_effect(
    http: httpx.AsyncClient, website: dict[str, str], pool: Pool
) -> None:
    headers = website | {"Idempotency-Key": "k1"}
    first = await http.post("/things", json={"name": "a", "number": 1}, headers=headers)
    again = await http.post("/things", json={"name": "a", "number": 1}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert await effects(pool) == [1]


async def test_requests_with_the_same_key_at_the_same_time_have_one_effect(
    http: httpx.AsyncClient, website: dict[str, str], pool: Pool
) -> None:
    headers = website | {"Idempotency-Key": "k1"}
    answers = await asyncio.gather(
        *(http.post("/things", json={"name": "a", "number": 1}, headers=headers) for _ in range(6))
    )
    assert {each.status_code for each in answers} == {201}
    assert sum("idempotency-replayed" in each.headers for each in answers) == 5
    assert await effects(pool) == [1]


async def test_the_same_key_with_another_body_is_refused_and_another_caller_is_another(
    http: httpx.AsyncClient, website: dict[str, str], bearer: Bearer, pool: Pool
) -> None:
    key = {"Idempotency-Key": "k1"}
    await http.post("/things", json={"name": "a", "number": 1}, headers=website | key)
    other = await http.post("/things", json={"name": SECRET, "number": 2}, headers=website | key)
    problem(other, 422, "key-reused")
    someone = bearer("shop", "website", audience=SERVICE)
    assert (await http.post("/things", json={"name": "a", "number": 3}, headers=someone | key)).status_code == 201
    assert await effects(pool) == [1, 3]


async def test_a_request_that_fails_leaves_its_key_unused(
    http: httpx.AsyncClient, website: dict[str, str], pool: Pool
) -> None:
    headers = website | {"Idempotency-Key": "k1"}
    problem(await http.post("/things", json={"name": "a", "number": 2**40}, headers=headers), 500, "internal")
    assert (await http.post("/things", json={"name": "a", "number": 2}, headers=headers)).status_code == 201
    assert await effects(pool) == [2]


@pytest.mark.parametrize("key", ["", "x" * 129, "a\tb", "é".encode()])
async def test_a_key_has_a_form(http: httpx.AsyncClient, website: dict[str, str], key: str | bytes) -> None:
    headers: dict[str, Any] = website | {"Idempotency-Key": key}
    problem(await http.post("/things", json={"name": "a", "number": 1}, headers=headers), 400, "invalid-key")


async def test_documents_say_that_errors_are_problems_and_what_events_there_are(http: httpx.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()
    answers = [operation["responses"] for path in document["paths"].values() for operation in path.values()]
    assert answers
    assert all("application/problem+json" in each["4XX"]["content"] and "422" not in each for each in answers)
    assert (await http.get("/asyncapi.json")).json()["asyncapi"] == "3.0.0"
