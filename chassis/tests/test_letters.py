"""Dead letters over HTTP: for operators alone, each act an event, nothing done by halves."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from uuid_utils.compat import uuid7

from chassis.app.runtime import Runtime
from chassis.consumer import Received
from chassis.database import Connection
from chassis.testing import client, deliver_records, outbox, record

from .conftest import effects
from .sample import SERVICE, Letter, Sample

Bearer = Callable[..., dict[str, str]]


@pytest.fixture
async def failing(rt: Runtime[Any], sample: Sample) -> Sample:
    """Three letters of `a`, the first of which fails, and one of `b` that is no letter."""

    async def fail(received: Received[Letter], _: Connection) -> None:
        if received.event.name == "a" and received.event.number == 1:
            raise ValueError("ann@example.com")

    sample.hook = fail
    written = [record(Letter(name="a", number=n), source="tester", sequence=n) for n in (1, 2, 3)]
    unreadable = record(Letter(name="b", number=4), source="tester", sequence=4, value=b"{\xff", key=b"b")
    await deliver_records(sample.app(rt), rt, *written, unreadable)
    return sample


@pytest.fixture
async def api(rt: Runtime[Any], failing: Sample, bearer: Bearer) -> AsyncIterator[httpx.AsyncClient]:
    async with client(rt, failing.app(rt)) as http:
        http.headers.update(bearer("operator-01", "operator", audience=SERVICE))
        yield http


async def listed(api: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    answer = await api.get("/v1/dead-letters", params=query)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


async def acts(rt: Runtime[Any]) -> list[tuple[str, str, str]]:
    events = [each.body for each in await outbox(rt.pool) if each.type == "operator.acted"]
    return [(each["action"], each["actor"], each["reason"]) for each in events]


async def test_an_operator_pages_through_what_could_not_be_applied(api: httpx.AsyncClient) -> None:
    first = await listed(api, limit=1)
    second = await listed(api, limit=1, cursor=first["next"])
    assert [(each["reason"], each["waiting"]) for each in (*first["items"], *second["items"])] == [
        ("ValueError", 2),
        ("schema", 0),
    ]
    assert second["next"] is None
    assert (await api.get("/v1/dead-letters", params={"cursor": "ann@example.com"})).status_code == 422


async def test_looking_at_a_letter_is_on_record_before_it_is_shown(api: httpx.AsyncClient, rt: Runtime[Any]) -> None:
    unreadable = (await listed(api))["items"][1]["id"]
    answer = await api.get(f"/v1/dead-letters/{unreadable}")
    assert answer.headers["cache-control"] == "no-store"
    shown = answer.json()
    assert (shown["body"], shown["key"], shown["erased"]) == ("{\\xff", "b", False)
    assert ["ce_type", "sample.letter"] in shown["headers"]
    assert await acts(rt) == [("dead_letter_shown", "staff/operator-01", "inspection")]


async def test_a_letter_is_replayed_with_what_waits_behind_it(
    api: httpx.AsyncClient, rt: Runtime[Any], failing: Sample
) -> None:
    letter = (await listed(api))["items"][0]["id"]
    again = await api.post(f"/v1/dead-letters/{letter}/replay", json={"reason": "mended"})
    assert (again.status_code, again.json()["error"]) == (409, "ValueError")
    assert "ann@example.com" not in again.text
    assert await acts(rt) == []
    failing.hook = None
    done = await api.post(f"/v1/dead-letters/{letter}/replay", json={"reason": "mended"})
    assert (done.status_code, done.json()) == (200, {"applied": 3, "stuck": None})
    assert await effects(rt.pool, "a") == [1, 2, 3]
    assert await acts(rt) == [("dead_letter_replayed", "staff/operator-01", "mended")]


async def test_a_letter_is_discarded_for_a_reason(api: httpx.AsyncClient, rt: Runtime[Any]) -> None:
    letter = (await listed(api))["items"][0]["id"]
    for wrong in ({}, {"reason": "It was broken"}, {"reason": "mended", "more": 1}):
        assert (await api.post(f"/v1/dead-letters/{letter}/discard", json=wrong)).status_code == 422
    done = await api.post(f"/v1/dead-letters/{letter}/discard", json={"reason": "broken"})
    assert (done.status_code, done.json()) == (200, {"applied": 2, "stuck": None})
    assert await effects(rt.pool, "a") == [2, 3]
    assert (await api.post(f"/v1/dead-letters/{letter}/discard", json={"reason": "broken"})).status_code == 404
    assert await acts(rt) == [("dead_letter_discarded", "staff/operator-01", "broken")]


@pytest.mark.parametrize("how", ["", "/replay", "/discard"])
async def test_only_operators_with_a_name_for_the_record_come_in(
    api: httpx.AsyncClient, bearer: Bearer, rt: Runtime[Any], how: str
) -> None:
    method, body = ("GET", None) if not how else ("POST", {"reason": "mended"})
    path = f"/v1/dead-letters/{uuid7()}{how}"
    callers = {404: ("operator-01", "operator"), 403: ("operator-01", "officer")}
    for status, (name, scope) in callers.items():
        headers = bearer(name, scope, audience=SERVICE)
        assert (await api.request(method, path, json=body, headers=headers)).status_code == status
    nameless = bearer("Ann Lee", "operator", audience=SERVICE)
    assert (await api.request(method, path, json=body, headers=nameless)).status_code == 403
    assert (await api.request(method, path, json=body, headers={"Authorization": ""})).status_code == 401
    assert await acts(rt) == []
