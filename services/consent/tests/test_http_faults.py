"""What is wrong with a request is said as a problem, changes nothing, and is never repeated."""

import json
from collections.abc import Callable
from typing import Any

import pytest

CHOICE = {
    "subject": "account/7",
    "purpose": "own_marketing",
    "choice": "granted",
    "text": "May we?",
    "channel": "form",
}
QUESTION = {"subject": "account/7", "recipient": "adco", "purpose": "own_marketing"}
REVISION = {"text": "words", "summary": "s", "material": False, "reasons": ["typo"]}
WRITES = [
    ("/v1/choices", CHOICE, "website"),
    ("/v1/decisions", QUESTION, "system"),
    ("/v1/policies", REVISION, "officer"),
]
SCOPES = ["person", "website", "agent", "officer", "auditor", "operator", "system", "service"]
PUBLIC = {
    ("GET", "/policy"),
    ("GET", "/policy/{number}"),
    ("GET", "/policy/{number}/text"),
    ("GET", "/v1/policies"),
    ("GET", "/v1/policies/{version}"),
    ("GET", "/v1/notice"),
}
MARKER = "marker-4711"


async def assert_nothing_happened(consent: Any) -> None:
    assert await consent.emitted() == []
    assert [await consent.rows(table) for table in ("choices", "decisions", "policies", "subjects")] == [0, 0, 0, 0]


async def test_every_route_needs_a_token_unless_it_is_public(consent: Any) -> None:
    seen = set()
    for router in consent.app.routers:
        for route in router.routes:
            for method in route.methods - {"HEAD"}:
                seen.add((method, route.path))
                if (method, route.path) not in PUBLIC:
                    answer = await consent.http.request(method, route.path)
                    assert answer.status_code == 401, route.path
                    assert answer.headers["content-type"] == "application/problem+json"
    assert seen >= PUBLIC
    await assert_nothing_happened(consent)


@pytest.mark.parametrize(("path", "body", "scope"), WRITES)
async def test_other_scopes_audiences_and_expired_tokens(
    consent: Any, token: Callable[..., str], path: str, body: dict[str, Any], scope: str
) -> None:
    allowed = {"person", "website"} if path == "/v1/choices" else {scope}
    tokens = [(token("x", other, audience="consent"), 403) for other in SCOPES if other not in allowed]
    tokens += [(token("x", scope, audience="dsr"), 401), (token("x", scope, audience="consent", lifetime=-60), 401)]
    tokens += [(token("x", scope, audience="consent", iss="https://elsewhere.example.org"), 401), ("x.y.z", 401)]
    for each, status in tokens:
        answer = await consent.http.post(path, json=body, headers={"Authorization": f"Bearer {each}"})
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
    await assert_nothing_happened(consent)


@pytest.mark.parametrize(("path", "body", "scope"), WRITES)
async def test_malformed_wrong_and_oversized_bodies(consent: Any, path: str, body: dict[str, Any], scope: str) -> None:
    headers = consent.token("caller", scope) | {"Content-Type": "application/json"}
    wrong: list[dict[str, Any]] = [{name: value for name, value in body.items() if name != gone} for gone in body]
    values = ({"x": MARKER}, None, f"\x00{MARKER}", f"{MARKER}\ud800")
    wrong += [body | {name: each} for name in body for each in values]
    wrong += [body | {"unexpected": MARKER}]
    for each in wrong:
        answer = await consent.http.post(path, content=json.dumps(each), headers=headers)
        assert answer.status_code == 422, each
        assert answer.headers["content-type"] == "application/problem+json"
        assert MARKER not in answer.text
    for raw, status in ((b'{"marker-4711', 400), (b"\xff\xfe", 400), (b"[]", 422), (b"", 422), (b" " * 65_537, 413)):
        answer = await consent.http.post(path, content=raw, headers=headers)
        assert answer.status_code == status, raw[:20]
        assert answer.headers["content-type"] == "application/problem+json"
        assert MARKER not in answer.text
    await assert_nothing_happened(consent)


async def test_times_that_nothing_can_hold(consent: Any) -> None:
    for at in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "2026-11-20T12:00:00", "soon", 10**20):
        assert (await consent.choose("granted", received_at=at)).status_code == 422
        assert (await consent.publish(effective_at=at)).status_code == 422
    await assert_nothing_happened(consent)


async def test_subjects_that_are_none(consent: Any) -> None:
    for subject in ("7", "account/", "account/a b", "account/" + "a" * 57, "person/7", "account/7\n"):
        assert (await consent.choose("granted", subject)).status_code == 422
        assert (await consent.ask(subject)).status_code == 422
    await assert_nothing_happened(consent)


async def test_queries_that_are_none(consent: Any) -> None:
    whose = {"subject": "account/7"}
    for params in (
        {},
        {"subject": MARKER},
        whose | {"limit": "0"},
        whose | {"cursor": MARKER},
        whose | {"case": MARKER},
    ):
        answer = await consent.http.get("/v1/choices", params=params, headers=consent.token("website", "website"))
        assert answer.status_code == 422
        assert MARKER not in answer.text
    await assert_nothing_happened(consent)
