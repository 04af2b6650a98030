"""Answering deletions, through the real batch path of the consumer."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

from httpx import Response

from chassis.testing import START, deliver, deliver_records, record
from privacy_contracts.accounts import AccountDeleted, AccountStated
from privacy_contracts.fields import Personal
from privacy_contracts.requests import DeletionRequested


def requested(account: str = "7", *, systems: tuple[str, ...] = ("consent",), **given: Any) -> DeletionRequested:
    values = {
        "request": uuid4(),
        "account": account,
        "stage": "own",
        "systems": list(systems),
        "attempt": 1,
        "requested_at": START,
        "due_at": START + timedelta(days=5),
    }
    return DeletionRequested.model_validate(values | given)


def stated(account: str = "7", version: int = 1) -> AccountStated:
    return AccountStated(
        id=account,
        version=version,
        email=Personal[str]("mara@example.com"),
        name=Personal[str]("Mara"),
        registered_at=START,
    )


async def traces(consent: Any) -> int:
    """Rows that say anything about account 7, beside its tombstone."""
    return int(
        await consent.runtime.pool.fetchval(
            "SELECT (SELECT count(*) FROM consent.choices WHERE subject = 'account/7')"
            " + (SELECT count(*) FROM consent.decisions WHERE subject = 'account/7')"
        )
    )


async def test_choices_history_and_decisions_go_and_the_number_is_told(consent: Any) -> None:
    await consent.choose("granted")
    consent.advance(days=1)
    await consent.choose("withdrawn")
    await consent.ask()
    await consent.choose("granted", "account/8")
    request = requested()
    await deliver(consent.app, consent.runtime, request)
    [reply] = await consent.emitted("reply.done")
    assert (reply.topic, reply.key, reply.subject) == ("replies.consent", str(request.request), "account/7")
    assert reply.body == {
        "request": str(request.request),
        "account": "7",
        "system": "consent",
        "answered_by": "service/consent",
        "answered_at": "2026-11-21T12:00:00Z",
        "records": 3,
    }
    assert await traces(consent) == 0
    assert (await consent.ask("account/8")).json()["allowed"] is True


async def test_nothing_held_is_not_found(consent: Any) -> None:
    await deliver(consent.app, consent.runtime, requested())
    assert [event.type for event in await consent.emitted()] == ["reply.not_found"]


async def test_named_by_others_only_does_nothing(consent: Any) -> None:
    await consent.choose("granted")
    await deliver(consent.app, consent.runtime, requested(systems=("notifier", "dsr", "audit")))
    assert await consent.emitted("reply.done", "reply.not_found") == []
    assert (await consent.ask()).json()["allowed"] is True


async def test_a_reminder_gets_the_same_answer_again(consent: Any) -> None:
    await consent.choose("granted")
    request = requested()
    reminder = request.model_copy(update={"attempt": 2, "reminder": True})
    await deliver(consent.app, consent.runtime, request)
    consent.advance(days=3)
    await deliver(consent.app, consent.runtime, reminder)
    first, second = await consent.emitted("reply.done")
    assert first.id != second.id
    assert first.body | {"answered_at": ""} == second.body | {"answered_at": ""}


async def test_the_same_event_twice_is_answered_once(consent: Any) -> None:
    event = record(requested(), event_id="e-1")
    await deliver_records(consent.app, consent.runtime, event, event)
    await deliver_records(consent.app, consent.runtime, event)
    assert len(await consent.emitted()) == 1


async def test_a_deleted_account_stays_deleted(consent: Any) -> None:
    await consent.choose("granted")
    await deliver(consent.app, consent.runtime, requested())
    await deliver(consent.app, consent.runtime, stated(version=99))
    answer = await consent.choose("granted")
    assert (answer.status_code, answer.json()["type"]) == (410, "/problems/deleted")
    decision = (await consent.ask()).json()
    assert (decision["allowed"], decision["reason"], decision["consent_version"]) == (False, "deleted", None)
    headers = consent.token("7", "person")
    shown = await consent.http.get("/v1/choices", params={"subject": "account/7"}, headers=headers)
    assert shown.json()["items"] == []


async def test_an_account_that_goes_without_a_request_is_erased_too(consent: Any) -> None:
    await consent.choose("granted")
    await deliver(consent.app, consent.runtime, AccountDeleted(id="7", version=4, deleted_at=START))
    assert await traces(consent) == 0
    assert (await consent.ask()).json()["reason"] == "deleted"
    assert await consent.emitted("reply.done", "reply.not_found") == []


async def letter(consent: Any) -> dict[str, Any]:
    """The one dead letter, as an operator is shown it."""
    operator = consent.token("op-01", "operator")
    [listed] = (await consent.http.get("/v1/dead-letters", headers=operator)).json()["items"]
    shown: dict[str, Any] = (await consent.http.get(f"/v1/dead-letters/{listed['id']}", headers=operator)).json()
    return {**listed, **shown}


POISON = {"ce_type": None}


async def test_what_was_put_aside_of_a_person_goes_with_the_person(consent: Any) -> None:
    await deliver_records(consent.app, consent.runtime, record(stated(), headers=POISON), record(stated(version=2)))
    assert "mara@example.com" in (await letter(consent))["body"]
    await deliver(consent.app, consent.runtime, requested())
    kept = await letter(consent)
    assert (kept["waiting"], kept["body"], kept["erased"]) == (1, None, True)
    assert await consent.runtime.pool.fetchval("SELECT count(*) FROM keys.owners") == 0


async def test_what_is_put_aside_of_a_person_who_is_gone_goes_when_it_is_asked_for_again(consent: Any) -> None:
    await deliver(consent.app, consent.runtime, requested())
    await deliver_records(consent.app, consent.runtime, record(stated(), headers=POISON))
    await deliver(consent.app, consent.runtime, requested(attempt=2, reminder=True))
    assert (await letter(consent))["erased"]
    assert await consent.runtime.pool.fetchval("SELECT count(*) FROM keys.owners") == 0


async def test_what_was_put_aside_goes_when_the_accounts_end_is_applied_behind_it(consent: Any) -> None:
    poison, gone = record(stated(), headers=POISON), AccountDeleted(id="7", version=4, deleted_at=START)
    await deliver_records(consent.app, consent.runtime, poison, record(stated(version=2)), record(gone))
    discard = f"/v1/dead-letters/{(await letter(consent))['id']}/discard"
    operator = consent.token("op-01", "operator")
    assert (await consent.http.post(discard, json={"reason": "mended"}, headers=operator)).json()["applied"] == 2
    assert await consent.runtime.pool.fetchval("SELECT count(*) FROM keys.owners") == 0


async def test_a_deletion_of_somebody_of_whom_nothing_is_sealed_writes_no_erasure(consent: Any) -> None:
    gone = AccountDeleted(id="7", version=4, deleted_at=START)
    await deliver(consent.app, consent.runtime, requested(), gone)
    assert consent.runtime.settings.erasure_ledger.read_text() == ""


async def test_nothing_of_an_account_is_kept_but_what_its_owner_chose(consent: Any) -> None:
    await deliver(consent.app, consent.runtime, stated())
    assert await consent.rows("subjects") == 0


async def test_a_choice_that_meets_a_deletion_leaves_nothing(consent: Any) -> None:
    for n in range(6):
        subject = f"account/{n}"
        await consent.choose("granted", subject, purpose="own_marketing")
        deletion = deliver(consent.app, consent.runtime, requested(str(n)))
        work = [consent.choose("granted", subject), deletion, consent.choose("refused", subject)]
        done = await asyncio.gather(*work[n % 3 :], *work[: n % 3])
        assert {answer.status_code for answer in done if isinstance(answer, Response)} <= {201, 410}
        assert await consent.rows("choices") == 0
        assert (await consent.choose("granted", subject)).status_code == 410
