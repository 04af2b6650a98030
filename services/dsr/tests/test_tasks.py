"""Tasks for systems without Kafka, and the proof that all ways of answering are one."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

ITEMS = [{"category": "invoices", "legal_basis": "us.irc.6001", "until": "2034-04-15"}]
Answer = Callable[[Any, UUID, str], Awaitable[None]]


async def tasks_of(dsr: Any, client: str, scope: str = "system") -> list[dict[str, Any]]:
    answer = await dsr.http.get("/v1/tasks", headers=dsr.headers(client, scope))
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.json()["tasks"]
    return found


async def post(dsr: Any, task: str, client: str = "marketing", scope: str = "system", **body: Any) -> Any:
    return await dsr.http.post(f"/v1/tasks/{task}/reply", json=body, headers=dsr.headers(client, scope))


NEEDED: dict[str, dict[str, Any]] = {"retained": {"items": ITEMS}, "failed": {"reason": "unavailable"}}


async def task_of(dsr: Any, request: UUID, system: str) -> str:
    """The task's id, as who saw it once may have kept it."""
    found = await dsr.pool.fetchval("SELECT id FROM dsr.tasks WHERE request_id = $1 AND system = $2", request, system)
    return str(found)


async def over_kafka(dsr: Any, request: UUID, outcome: str) -> None:
    await dsr.reply(request, "orders", outcome)


async def over_http(dsr: Any, request: UUID, outcome: str) -> None:
    task = await task_of(dsr, request, "marketing")
    assert (await post(dsr, task, outcome=outcome, **NEEDED.get(outcome, {}))).status_code == 202
    await dsr.relay()


async def by_staff(dsr: Any, request: UUID, outcome: str) -> None:
    task, more = await task_of(dsr, request, "support"), NEEDED.get(outcome, {})
    answer = await post(dsr, task, "agent-01", "agent", outcome=outcome, evidence="SUP-1042", **more)
    assert answer.status_code == 202
    await dsr.relay()


WAITS = {"+1h": timedelta(hours=1), "+5d": timedelta(days=5)}
SCENARIOS = {
    "done": ["done"],
    "retained": ["retained"],
    "not found": ["not_found"],
    "the same twice": ["done", "done"],
    "first one stands": ["retained", "failed", "done"],
    "failed": ["failed"],
    "failed twice": ["failed", "failed"],
    "failed, asked again, done": ["failed", "+1h", "done"],
    "failed, done unasked": ["failed", "done", "+1h"],
    "reminded, then done": ["+5d", "done", "+5d"],
    "escalated, then not found": ["+5d", "+5d", "not_found"],
    "after the closing": ["done", "close", "retained", "failed", "+1h"],
}


@pytest.mark.parametrize("script", SCENARIOS.values(), ids=SCENARIOS.keys())
@pytest.mark.parametrize(
    ("system", "answer"), [("orders", over_kafka), ("marketing", over_http), ("support", by_staff)]
)
async def test_every_transport_drives_one_state_machine(
    dsr: Any, script: list[str], system: str, answer: Answer
) -> None:
    """The same script of answers and waits leaves the same state: over Kafka, over HTTP and by staff."""
    await dsr.customer()
    request, _ = await dsr.deleting()
    for other in {"orders", "marketing", "support"} - {system}:
        await dsr.reply(request, other)
    for step in script:
        if step in WAITS:
            await dsr.pass_time(WAITS[step])
        elif step == "close":
            for each in ("consent", "notifier", "audit", "accounts"):
                await dsr.relay()
                await dsr.reply(request, each)
        else:
            await answer(dsr, request, step)
    row = await dsr.pool.fetchrow(
        "SELECT status, attempt, items, escalated_at IS NOT NULL AS escalated FROM dsr.tasks"
        " WHERE request_id = $1 AND system = $2",
        request,
        system,
    )
    replies = await dsr.pool.fetch(
        "SELECT outcome, effect FROM dsr.replies WHERE request_id = $1 AND system = $2 ORDER BY recorded_at, event_id",
        request,
        system,
    )
    stages = [each["stage"] for each in await dsr.events("deletion.requested") if not each["reminder"]]
    assert {
        "status": row["status"],
        "attempt": row["attempt"],
        "items": row["items"],
        "escalated": row["escalated"],
        "effects": sorted((each["outcome"], each["effect"]) for each in replies),
        "stages": stages,
        "request": await dsr.status(request),
    } == EXPECTED["; ".join(script)]


def expected(
    status: str,
    effects: list[tuple[str, str]],
    stages: list[str],
    attempt: int = 1,
    escalated: bool = False,
    request: str = "deleting",
) -> dict[str, Any]:
    return {
        "status": status,
        "attempt": attempt,
        "items": ITEMS if status == "retained" else [],
        "escalated": escalated,
        "effects": sorted(effects),
        "stages": stages,
        "request": request,
    }


C, CO, CC = ["company"], ["company", "own"], ["company", "company"]
EXPECTED = {
    "done": expected("done", [("done", "final")], CO),
    "retained": expected("retained", [("retained", "final")], CO),
    "not_found": expected("not_found", [("not_found", "final")], CO),
    "done; done": expected("done", [("done", "final"), ("done", "none")], CO),
    "retained; failed; done": expected("retained", [("retained", "final"), ("failed", "none"), ("done", "none")], CO),
    "failed": expected("failed", [("failed", "again")], C),
    "failed; failed": expected("failed", [("failed", "again"), ("failed", "none")], C),
    "failed; +1h; done": expected("done", [("failed", "again"), ("done", "final")], [*CC, "own"], attempt=2),
    "failed; done; +1h": expected("done", [("failed", "again"), ("done", "final")], CO),
    "+5d; done; +5d": expected("done", [("done", "final")], CO, attempt=2),
    "+5d; +5d; not_found": expected("not_found", [("not_found", "final")], CO, attempt=2, escalated=True),
    "done; close; retained; failed; +1h": expected(
        "done",
        [("done", "final"), ("retained", "none"), ("failed", "none")],
        ["company", "own", "accounts"],
        request="closed",
    ),
}


async def test_a_system_sees_its_own_tasks_and_nobody_elses(dsr: Any) -> None:
    await dsr.customer()
    request, _ = await dsr.deleting()
    (task,) = await tasks_of(dsr, "marketing")
    assert task == {
        "id": task["id"],
        "request": str(request),
        "account": "a1",
        "action": "delete",
        "system": "marketing",
        "categories": ["contact", "marketing"],
        "stage": "company",
        "attempt": 1,
        "due_at": "2026-12-03T12:00:00Z",
    }
    assert await tasks_of(dsr, "warehouse") == []
    papers = await task_of(dsr, request, "support")
    for client, number in (("warehouse", task["id"]), ("marketing", str(uuid7())), ("marketing", papers)):
        assert (await post(dsr, number, client, outcome="done", evidence="SUP-1")).status_code == 404
    assert await dsr.events("reply.done") == []


async def test_staff_see_the_tasks_of_systems_that_are_paper_and_no_others(dsr: Any) -> None:
    await dsr.customer()
    request, _ = await dsr.deleting()
    (task,) = await tasks_of(dsr, "agent-01", "agent")
    assert (task["system"], task["categories"], task["account"]) == ("support", ["contact", "correspondence"], "a1")
    foreign = await task_of(dsr, request, "marketing")
    assert (await post(dsr, foreign, "agent-01", "agent", outcome="done", evidence="SUP-1")).status_code == 404
    assert (await dsr.http.get("/v1/tasks", headers=dsr.headers("officer-01", "officer"))).status_code == 403


@pytest.mark.parametrize("evidence", ["SUP-1042", "INC0010023", "9f86d081884c7d65" * 4])
async def test_who_answered_and_where_it_can_be_looked_up_is_on_the_topic_and_kept(dsr: Any, evidence: str) -> None:
    await dsr.customer()
    request, _ = await dsr.deleting()
    (task,) = await tasks_of(dsr, "agent-01", "agent")
    answer = await post(dsr, task["id"], "agent-01", "agent", outcome="done", evidence=evidence)
    assert answer.status_code == 202
    emitted = next(each for each in await dsr.everything() if each.type == "reply.done")
    assert (emitted.topic, emitted.body["answered_by"], emitted.body["evidence"]) == (
        "replies.support",
        "staff/agent-01",
        evidence,
    )
    assert await tasks_of(dsr, "agent-01", "agent") == []
    await dsr.relay()
    assert await dsr.pool.fetchval("SELECT evidence FROM dsr.replies WHERE request_id = $1", request) == evidence


@pytest.mark.parametrize(
    ("outcome", "evidence"),
    [
        *((outcome, None) for outcome in ("done", "retained", "not_found", "failed")),
        *(("done", text) for text in ("", "I shredded Ann's letters", "ann@example.com", "SUP", "9f86d081")),
    ],
)
async def test_staff_answer_with_evidence_that_names_nobody_or_not_at_all(
    dsr: Any, outcome: str, evidence: str | None
) -> None:
    await dsr.customer()
    await dsr.deleting()
    (task,) = await tasks_of(dsr, "agent-01", "agent")
    given = {"evidence": evidence} if evidence is not None else {}
    answer = await post(dsr, task["id"], "agent-01", "agent", outcome=outcome, **given, **NEEDED.get(outcome, {}))
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert not evidence or evidence not in answer.text
    assert await tasks_of(dsr, "agent-01", "agent") == [task]


async def test_a_member_of_staff_whose_name_can_stand_in_no_record_answers_nothing(dsr: Any) -> None:
    await dsr.customer()
    await dsr.deleting()
    (task,) = await tasks_of(dsr, "agent-01", "agent")
    answer = await post(dsr, task["id"], "Agnes Vale", "agent", outcome="done", evidence="SUP-1")
    assert answer.status_code == 403
    assert await tasks_of(dsr, "agent-01", "agent") == [task]


async def test_the_reply_takes_the_way_of_every_reply(dsr: Any) -> None:
    await dsr.customer()
    request, _ = await dsr.deleting()
    (task,) = await tasks_of(dsr, "marketing")
    answer = await post(dsr, task["id"], outcome="done")
    assert (answer.status_code, answer.json()) == (202, {"task": task["id"], "outcome": "done"})
    emitted = next(each for each in await dsr.everything() if each.type == "reply.done")
    assert (emitted.topic, emitted.key, emitted.subject) == ("replies.marketing", str(request), "account/a1")
    assert emitted.body["answered_by"] == "system/marketing"
    assert await tasks_of(dsr, "marketing") == []  # answered; what it changes comes with the event
    assert (await dsr.tasks(request))["marketing"] == "asked"
    await dsr.relay()
    assert (await dsr.tasks(request))["marketing"] == "done"


async def test_a_task_comes_back_with_the_next_asking(dsr: Any) -> None:
    await dsr.customer()
    await dsr.deleting()
    (task,) = await tasks_of(dsr, "marketing")
    await post(dsr, task["id"], outcome="failed", reason="unavailable")
    await dsr.relay()
    assert await tasks_of(dsr, "marketing") == []
    await dsr.pass_time(timedelta(hours=1))
    (again,) = await tasks_of(dsr, "marketing")
    assert (again["id"], again["attempt"]) == (task["id"], 2)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"outcome": "maybe"},
        {"outcome": "retained"},
        {"outcome": "retained", "items": []},
        {"outcome": "done", "items": ITEMS},
        {"outcome": "failed"},
        {"outcome": "failed", "reason": "Free text about Ann"},
        {"outcome": "retained", "items": [{"category": "invoices", "legal_basis": "Because", "until": "2034-04-15"}]},
        {"outcome": "retained", "items": [{"category": "invoices", "legal_basis": "us.irc.6001", "until": "soon"}]},
    ],
)
async def test_an_answer_of_another_form_is_refused_without_repeating_it(dsr: Any, body: dict[str, Any]) -> None:
    await dsr.customer()
    await dsr.deleting()
    (task,) = await tasks_of(dsr, "marketing")
    answer = await post(dsr, task["id"], **body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Ann" not in answer.text
    assert len(await tasks_of(dsr, "marketing")) == 1


async def test_a_repeated_key_answers_once(dsr: Any) -> None:
    await dsr.customer()
    await dsr.deleting()
    (task,) = await tasks_of(dsr, "marketing")
    headers = dsr.headers("marketing", "system") | {"Idempotency-Key": "one"}
    for _ in range(2):
        answer = await dsr.http.post(f"/v1/tasks/{task['id']}/reply", json={"outcome": "done"}, headers=headers)
        assert answer.status_code == 202
    assert len(await dsr.events("reply.done")) == 1


async def test_tasks_come_in_pages(dsr: Any) -> None:
    for number in range(3):
        await dsr.customer(f"a{number}", f"p{number}@example.com")
        await dsr.deleting(f"p{number}@example.com")
    headers, seen, cursor = dsr.headers("marketing", "system"), [], ""
    while True:
        page = (await dsr.http.get(f"/v1/tasks?limit=2{cursor}", headers=headers)).json()
        seen += [task["account"] for task in page["tasks"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == ["a0", "a1", "a2"]
