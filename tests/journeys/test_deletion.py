"""Deletions from the first word to the last mail, and those that stop on the way."""

from uuid import uuid4

import pytest

from local_stack import clock

from ..invariants import assert_all_hold, repeated_mails
from ..log import Planted, publish, read, unique
from ..people import Company, answer_tasks, eventually


@pytest.mark.promise(67)
@pytest.mark.promise(68)
@pytest.mark.promise(70)
async def test_a_deletion_goes_through_the_whole_company(company: Company) -> None:
    """Scanners, doubled clicks and repeated forms on the way change nothing."""
    customer = await company.register("ada", order=True)
    key = {"Idempotency-Key": str(uuid4())}
    request = await company.ask(customer.email, headers=key)
    assert await company.ask(customer.email, headers=key) == request
    link = await company.link(customer.email, request)

    for _ in range(3):
        await company.http.get(link)
        await company.http.head(link)
    assert (await company.get("dsr", f"/v1/requests/{request}", "website")).keys() == {"id", "status"}
    for button in ("verify", "verify", "confirm", "confirm"):
        await company.press(link, button)
    last = await company.closed(customer.email, request)

    assert "6001" in last["text"]
    seen = await assert_all_hold(company, {request: customer})
    for kind in ("request.received", "request.verified", "deletion.confirmed", "request.closed"):
        assert sum(event.body["request"] == request for event in seen.events(kind)) == 1
    kept = [event for event in seen.events("reply.retained") if event.body["request"] == request]
    assert {(event.body["system"], item["legal_basis"]) for event in kept for item in event.body["items"]} == {
        ("orders", "us.irc.6001"),
        ("dsr", "us.ca.11ccr7101"),
        ("audit", "us.ca.11ccr7101"),
    }
    items = [item for event in kept for item in event.body["items"]]
    assert len({item["until"] for item in items if item["legal_basis"] == "us.ca.11ccr7101"}) == 1
    assert repeated_mails(seen) == 0


@pytest.mark.promise(67)
async def test_an_unknown_address_gets_an_honest_mail_and_whoever_stops_there_leaves_no_trace(
    company: Company,
) -> None:
    email = f"nobody-{uuid4().hex[:8]}@example.com"
    request = await company.ask(email)
    mail = await company.mail(email, f"/r/{request}/")
    assert "no account" in mail["subject"] + mail["text"]
    [link] = {link for link in mail["links"] if "/r/" in link}
    await company.press(link, "withdraw")
    assert (await company.get("dsr", f"/v1/requests/{request}", "website"))["status"] == "received"

    async def destroyed() -> bool:
        return bool(await company.value("dsr", "SELECT typed_address IS NULL FROM dsr.requests WHERE id = $1", request))

    await eventually("the typed address to be destroyed", destroyed)


@pytest.mark.promise(68)
async def test_a_request_can_be_taken_back_until_the_point_of_no_return(company: Company) -> None:
    customer = await company.register("boris")
    request, link = await company.begin(customer.email)
    await company.press(link, "withdraw")
    await company.status(request, "withdrawn")
    late, late_link = await company.begin(customer.email)
    await company.status(late, "deleting")

    refused = await company.press(late_link, "withdraw")

    assert refused.status_code == 409
    assert "too late" in refused.text
    await company.closed(customer.email, late)
    asked = [event.body["request"] for event in unique(await read(company.stack, "requests"), "deletion.requested")]
    assert request not in asked
    await assert_all_hold(company, {late: customer})


async def test_a_system_over_http_fails_is_asked_again_and_sees_its_own_tasks_alone(company: Company) -> None:
    """The two transports lead to one state machine; a reply that nobody asked for changes nothing."""
    await company.off_loop(company.stack.stop, "marketing")
    try:
        customer = await company.register("cleo")
        request, link = await company.begin(customer.email)
        [task] = await answer_tasks(company, {"outcome": "failed", "reason": "unavailable"})
        assert (task["request"], task["attempt"]) == (request, 1)
        foreign = await company.send(
            "POST", "dsr", f"/v1/tasks/{task['id']}/reply", "orders", json={"outcome": "not_found"}
        )
        assert foreign.status_code == 404
        assert (await company.get("dsr", "/v1/tasks", "orders"))["tasks"] == []
        await _plant_reply(company, "consent", request, customer.account)
        [again] = await answer_tasks(company, {"outcome": "done"})
        assert (again["request"], again["attempt"]) == (request, 2)
    finally:
        await company.off_loop(company.stack.start, "marketing")
    await company.closed(customer.email, request)
    assert "Marketing" in (await company.http.get(link)).text

    await _plant_reply(company, "orders", request, customer.account)
    effects = await eventually("the late reply to be recorded", lambda: _effects(company, request, 11))
    assert sorted(effects) == ["again", *["final"] * 8, "none", "none"]
    assert len(await _closings(company, request)) == 1


async def _plant_reply(company: Company, system: str, request: str, account: str) -> None:
    """A reply that nobody asked for, as that system would write it."""
    now = "2026-11-20T12:00:00+00:00"
    body = (
        f'{{"request":"{request}","account":"{account}","system":"{system}",'
        f'"answered_by":"system/{system}","answered_at":"{now}"}}'
    )
    headers = {
        "ce_specversion": "1.0",
        "ce_id": f"planted-{uuid4()}",
        "ce_type": "reply.not_found",
        "ce_source": system,
        "ce_subject": f"account/{account}",
        "ce_time": now,
        "ce_sequence": "1",
        "content-type": "application/json",
    }
    pairs = [(name, value.encode()) for name, value in headers.items()]
    await publish(company.stack, Planted(f"replies.{system}", request.encode(), body.encode(), pairs))


async def _effects(company: Company, request: str, least: int) -> list[str] | None:
    rows = await company.rows("dsr", "SELECT effect FROM dsr.replies WHERE request_id = $1::uuid", request)
    effects = [row["effect"] for row in rows]
    return effects if len(effects) >= least else None


async def _closings(company: Company, request: str) -> list[str]:
    events = unique(await read(company.stack, "requests"), "request.closed")
    return [event.id for event in events if event.body["request"] == request]


async def test_a_silent_system_is_reminded_then_its_owner_is_told_and_the_person_sees_it(company: Company) -> None:
    """The clock of the domain moves; nothing else does. The mail to the owner is none of the person's."""
    await company.off_loop(company.stack.stop, "marketing")
    try:
        customer = await company.register("dora")
        request, link = await company.begin(customer.email)
        await company.status(request, "deleting")
        await company.staff_answer()
        await company.waits_for(request, "marketing")
        clock.move(company.stack.directory / "clock", "+6d")
        reminder = await eventually("the reminder", lambda: _event(company, request, "deletion.requested", 2))
        assert (reminder["systems"], reminder["attempt"], reminder["reminder"]) == (["marketing"], 2, True)
        clock.move(company.stack.directory / "clock", "+5d")
        escalated = await eventually("the escalation", lambda: _event(company, request, "system.escalated", 1))
        assert escalated["system"] == "marketing"
        assert "late" in (await company.http.get(link)).text
        told = await company.mail("marketing-team@example.com", request)
        assert not [word for word in (customer.email, customer.name, customer.account, "/r/") if word in told["text"]]
    finally:
        await company.off_loop(company.stack.start, "marketing")
    await company.closed(customer.email, request)
    seen = await assert_all_hold(company, {request: customer})
    [notice] = [event for event in seen.events("notice.sent") if _is_escalation(event.body, request)]
    assert told["message_id"].startswith(f"<{notice.body['notice']}@")


def _is_escalation(sent: dict[str, object], request: str) -> bool:
    return (sent["template"], sent.get("request")) == ("escalation", request)


async def _event(company: Company, request: str, kind: str, least: int) -> dict[str, object] | None:
    """The last event of this type about the request, once there are so many."""
    events = unique(await read(company.stack, "requests"), kind)
    bodies = [event.body for event in events if event.body["request"] == request]
    bodies = [body for body in bodies if "systems" not in body or "marketing" in body["systems"]]
    return bodies[-1] if len(bodies) >= least else None
