"""Receiving a request: the same answer and the same work for every address."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from chassis.testing import outbox

ANN, NOBODY = "ann@example.com", "nobody@example.org"


async def statements(dsr: Any, email: str, path: str) -> tuple[httpx.Response, list[str]]:
    """The answer, and the SQL that was run before it."""
    seen: list[str] = []
    listening = [await dsr.pool.acquire() for _ in range(dsr.pool.get_max_size())]
    raw = [each._con for each in listening]
    for each in listening:
        await dsr.pool.release(each)

    def heard(query: Any) -> None:
        seen.append(query.query)

    for each in raw:
        each.add_query_logger(heard)
    try:
        if path == "/delete":
            answer = await dsr.http.post(path, data={"email": email})
        else:
            answer = await dsr.http.post(
                path, json={"type": "delete", "email": email}, headers=dsr.headers("website", "website")
            )
    finally:
        for each in raw:
            each.remove_query_logger(heard)
    return answer, [each for each in seen if "pg_advisory_unlock_all" not in each]


@pytest.mark.promise(67)
@pytest.mark.parametrize("path", ["/v1/requests", "/delete"])
async def test_known_and_unknown_addresses_get_equal_answers_by_equal_work(dsr: Any, path: str) -> None:
    await dsr.customer("a1", ANN)
    known, known_work = await statements(dsr, ANN, path)
    unknown, unknown_work = await statements(dsr, NOBODY, path)
    assert known.status_code == unknown.status_code in {202, 303}
    assert known.headers == unknown.headers
    if path == "/v1/requests":
        assert {**known.json(), "id": ""} == {**unknown.json(), "id": ""} == {"id": "", "status": "received"}
    else:
        assert known.content == unknown.content
    assert known_work == unknown_work
    assert known_work
    assert not any("dsr.accounts" in statement for statement in known_work)


async def test_receipt_is_announced_without_saying_whose_it_is(dsr: Any) -> None:
    await dsr.customer("a1", ANN)
    request = await dsr.ask(ANN)
    (emitted,) = await outbox(dsr.pool)
    assert (emitted.type, emitted.topic, emitted.key) == ("request.received", "requests", str(request))
    assert emitted.subject == f"request/{request}"
    assert emitted.body == {
        "request": str(request),
        "request_type": "delete",
        "channel": "website",
        "received_at": "2026-11-20T12:00:00Z",
        "due_at": "2027-01-04T07:59:59Z",
    }


async def test_a_request_that_an_agent_took_in_is_recorded_with_its_own_channel(dsr: Any) -> None:
    agent = dsr.headers("agent-01", "agent")
    body = {"type": "delete", "email": ANN, "channel": "post"}
    assert (await dsr.http.post("/v1/requests", json=body, headers=agent)).status_code == 202
    (received,) = await dsr.events("request.received")
    assert received["channel"] == "post"


@pytest.mark.parametrize(
    ("scope", "named"),
    [("website", {"channel": "post"}), ("website", {"channel": "website"}), ("agent", {}), ("agent", {"channel": "x"})],
)
async def test_no_caller_names_a_channel_that_is_not_its_own(dsr: Any, scope: str, named: dict[str, str]) -> None:
    body = {"type": "delete", "email": ANN} | named
    answer = await dsr.http.post("/v1/requests", json=body, headers=dsr.headers("someone", scope))
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert await dsr.everything() == []


async def test_the_typed_address_is_nowhere_in_clear(dsr: Any) -> None:
    await dsr.customer("a1", ANN)
    await dsr.ask(ANN)
    for table in ("dsr.requests", "dsr.accounts", "chassis.outbox", "chassis.timers", "chassis.answers"):
        for row in await dsr.pool.fetch(f"SELECT t::text AS text FROM {table} AS t"):  # noqa: S608 - named above
            assert "ann" not in row["text"].lower()
            assert ANN.encode().hex() not in row["text"]


BAD = ["", "zebra", "ann@example.com\r\nBcc: bob@example.com", "ann@example.com, bob@example.com", "x" * 400]


@pytest.mark.parametrize("email", BAD)
async def test_what_is_no_address_changes_nothing_and_is_not_repeated(dsr: Any, email: str) -> None:
    answer = await dsr.http.post(
        "/v1/requests", json={"type": "delete", "email": email}, headers=dsr.headers("website", "website")
    )
    page = await dsr.http.post("/delete", data={"email": email})
    assert (answer.status_code, page.status_code) == (422, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "not a mail address" in page.text
    for text in (answer.text, page.text):
        assert not email or email not in text
        assert "bob@" not in text
    assert await dsr.pool.fetchval("SELECT count(*) FROM dsr.requests") == 0
    assert await outbox(dsr.pool) == []


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'{"type":"delete"}', b'{"type":"sell","email":"a@example.com"}', b'{"type":"delete","email":7}'],
)
async def test_a_body_of_another_form_is_a_problem(dsr: Any, body: bytes) -> None:
    headers = dsr.headers("website", "website") | {"Content-Type": "application/json"}
    answer = await dsr.http.post("/v1/requests", content=body, headers=headers)
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert b"sell" not in answer.content
    assert await outbox(dsr.pool) == []


async def test_a_repeated_key_gives_the_first_answer_again(dsr: Any) -> None:
    headers = dsr.headers("website", "website") | {"Idempotency-Key": "one"}
    body = {"type": "delete", "email": ANN}
    first, second = [await dsr.http.post("/v1/requests", json=body, headers=headers) for _ in range(2)]
    assert first.json() == second.json()
    other = await dsr.http.post("/v1/requests", json=body | {"email": NOBODY}, headers=headers)
    assert other.status_code == 422
    assert await dsr.pool.fetchval("SELECT count(*) FROM dsr.requests") == 1


async def test_a_form_that_is_sent_twice_at_once_makes_one_request_and_one_mail(dsr: Any) -> None:
    page = await dsr.http.get("/delete")
    once = page.text.partition('name="once" value="')[2].partition('"')[0]
    assert UUID(once)
    form = {"email": ANN, "once": once}
    answers = await asyncio.gather(*(dsr.http.post("/delete", data=form) for _ in range(2)))
    assert [each.status_code for each in answers] == [303, 303]
    assert [each.type for each in await outbox(dsr.pool)] == ["request.received"]
    assert (await dsr.http.post("/delete", data=form | {"email": NOBODY})).status_code == 303
    assert await dsr.pool.fetchval("SELECT count(*) FROM dsr.requests") == 2


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/v1/requests", "system"),
        ("GET", "/v1/requests/01930000-0000-7000-8000-000000000001", "system"),
        ("POST", "/v1/requests/01930000-0000-7000-8000-000000000001/messages", "website"),
        ("GET", "/v1/tasks", "service"),
        ("POST", "/v1/tasks/01930000-0000-7000-8000-000000000001/reply", "website"),
        ("GET", "/v1/findings", "system"),
    ],
)
async def test_every_route_asks_who_calls(dsr: Any, method: str, path: str, scope: str) -> None:
    body: dict[str, str] | None = {} if method == "POST" else None
    assert (await dsr.http.request(method, path, json=body)).status_code == 401
    other = dsr.bearer("website", "website", audience="consent")
    assert (await dsr.http.request(method, path, json=body, headers=other)).status_code == 401
    old = dsr.bearer("website", "website", audience="dsr", lifetime=-60)
    assert (await dsr.http.request(method, path, json=body, headers=old)).status_code == 401
    wrong = dsr.headers("someone", scope)
    assert (await dsr.http.request(method, path, json=body, headers=wrong)).status_code == 403


async def test_no_service_but_the_notifier_gets_a_link(dsr: Any) -> None:
    await dsr.customer("a1", ANN)
    request = await dsr.ask(ANN)
    for other in ("consent", "audit", "dsr"):
        answer = await dsr.http.post(
            f"/v1/requests/{request}/messages", json={"template": "verification"}, headers=dsr.headers(other, "service")
        )
        assert answer.status_code == 403
    assert await dsr.pool.fetchval("SELECT count(*) FROM dsr.links") == 0


async def test_before_verification_a_status_reveals_nothing(dsr: Any) -> None:
    await dsr.customer("a1", ANN)
    headers = dsr.headers("website", "website")

    async def seen(request: UUID) -> tuple[int, dict[str, str], dict[str, Any]]:
        answer = await dsr.http.get(f"/v1/requests/{request}", headers=headers)
        return answer.status_code, dict(answer.headers), {**answer.json(), "id": ""}

    expired, stopped, unknown = await dsr.ask(ANN), await dsr.ask(ANN), await dsr.ask(NOBODY)
    await dsr.message(expired)
    await dsr.press(await dsr.link(stopped), "withdraw")
    await dsr.message(unknown)
    await dsr.pass_time(timedelta(days=31))
    waiting = await dsr.ask(ANN)
    await dsr.message(waiting)
    expected = await seen(waiting)
    assert expected[2] == {"id": "", "status": "received"}
    assert [await seen(each) for each in (expired, stopped, unknown)] == [expected] * 3


async def test_after_verification_a_status_tells_where_things_stand(dsr: Any) -> None:
    await dsr.customer("a1", ANN)
    request, _ = await dsr.confirmed(ANN)
    answer = await dsr.http.get(f"/v1/requests/{request}", headers=dsr.headers("website", "website"))
    assert answer.json() == {
        "id": str(request),
        "type": "delete",
        "status": "confirmed",
        "received_at": "2026-11-20T12:00:00Z",
        "due_at": "2027-01-04T07:59:59Z",
        "verified_at": "2026-11-20T12:00:00Z",
        "confirmed_at": "2026-11-20T12:00:00Z",
        "irrevocable_at": "2026-11-23T12:00:00Z",
    }


async def test_a_status_of_nothing_is_not_found(dsr: Any) -> None:
    answer = await dsr.http.get(
        "/v1/requests/01930000-0000-7000-8000-000000000001", headers=dsr.headers("website", "website")
    )
    assert answer.status_code == 404


async def test_records_of_requests_and_replies_cannot_be_deleted_by_the_service(dsr: Any) -> None:
    for table in ("requests", "replies", "deleted_accounts"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await dsr.pool.execute(f"DELETE FROM dsr.{table}")  # noqa: S608 - named above
