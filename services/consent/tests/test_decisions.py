"""May this disclosure happen? Over HTTP."""

from typing import Any

import pytest

from chassis.testing import START


@pytest.mark.promise(44)
@pytest.mark.promise(50)
@pytest.mark.promise(53)
async def test_allowed_with_a_grant_and_recorded(consent: Any) -> None:
    await consent.publish()
    await consent.choose("granted")
    answer = await consent.ask()
    assert answer.status_code == 200
    assert answer.json() | {"decision": ""} == {
        "decision": "",
        "allowed": True,
        "reason": "granted",
        "consent_version": 1,
        "policy_version": 1,
    }
    [event] = await consent.emitted("disclosure.decided")
    assert (event.topic, event.key, event.time) == ("consent", "account/7", START)
    assert event.body == {
        "decision": answer.json()["decision"],
        "subject_id": "account/7",
        "recipient": "adco",
        "purpose": "third_party_marketing",
        "allowed": True,
        "reason": "granted",
        "consent_version": 1,
        "policy_version": 1,
        "asked_by": "accounts",
        "decided_at": "2026-11-20T12:00:00Z",
    }
    assert await consent.rows("decisions") == 1


@pytest.mark.promise(3)
@pytest.mark.promise(44)
async def test_refused_without_a_choice_and_recorded_too(consent: Any) -> None:
    answer = await consent.ask()
    assert (answer.json()["allowed"], answer.json()["reason"]) == (False, "no_choice")
    [event] = await consent.emitted("disclosure.decided")
    assert event.body["allowed"] is False
    assert await consent.rows("decisions") == 1


async def test_a_grant_for_one_purpose_or_person_is_none_for_another(consent: Any) -> None:
    await consent.choose("granted")
    assert (await consent.ask(purpose="targeted_advertising")).json()["reason"] == "no_choice"
    assert (await consent.ask("account/70")).json()["reason"] == "no_choice"


@pytest.mark.promise(53)
async def test_a_repeated_question_never_brings_back_a_consent_that_was_withdrawn(consent: Any) -> None:
    await consent.choose("granted")
    body = {"subject": "account/7", "recipient": "adco", "purpose": "third_party_marketing"}
    headers = consent.token("accounts", "system") | {"Idempotency-Key": "k1"}
    assert (await consent.http.post("/v1/decisions", json=body, headers=headers)).json()["allowed"] is True
    consent.advance(seconds=1)
    await consent.choose("withdrawn")
    assert (await consent.http.post("/v1/decisions", json=body, headers=headers)).json()["allowed"] is False


async def test_no_decision_while_the_record_is_delayed(consent: Any) -> None:
    await consent.choose("granted")
    before = await consent.emitted()
    await consent.runtime.pool.execute("UPDATE chassis.outbox SET created_at = now() - interval '61 seconds'")
    answer = await consent.ask()
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/record-delayed")
    assert answer.headers["retry-after"] == "5"
    assert (await consent.emitted(), await consent.rows("decisions")) == (before, 0)
    await consent.runtime.pool.execute("UPDATE chassis.outbox SET created_at = now() - interval '50 seconds'")
    assert (await consent.ask()).status_code == 200


@pytest.mark.promise(59)
async def test_an_opt_out_stops_the_very_next_disclosure(consent: Any) -> None:
    await consent.choose("granted")
    assert (await consent.ask()).json()["allowed"] is True
    consent.advance(seconds=1)
    await consent.choose("withdrawn", channel="email")
    assert (await consent.ask()).json() | {"decision": ""} == {
        "decision": "",
        "allowed": False,
        "reason": "withdrawn",
        "consent_version": 2,
        "policy_version": None,
    }


async def test_a_caller_that_no_record_can_name_is_refused(consent: Any) -> None:
    body = {"subject": "account/7", "recipient": "adco", "purpose": "third_party_marketing"}
    headers = consent.token("Not|A System", "system")
    assert (await consent.http.post("/v1/decisions", json=body, headers=headers)).status_code == 403
    assert await consent.emitted() == []
