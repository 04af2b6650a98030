"""Recording and reading choices over HTTP."""

import asyncio
import hashlib
from datetime import timedelta
from typing import Any, get_args
from uuid import uuid4

import pytest

from chassis.testing import START
from consent.api import fields
from privacy_contracts.fields import Channel, Choice, Known, Purpose
from privacy_contracts.policy import RevisionReason

REFUSAL = {"purpose": "own_marketing", "choice": "refused", "text": "May we?", "channel": "profile"}


@pytest.mark.promise(41)
@pytest.mark.parametrize("choice", ["granted", "refused", "withdrawn"])
async def test_choice_is_recorded_with_the_words_shown_and_published(consent: Any, choice: str) -> None:
    answer = await consent.choose(choice, channel="form")
    assert answer.status_code == 201
    assert answer.json() == {
        "subject": "account/7",
        "purpose": "third_party_marketing",
        "choice": choice,
        "version": 1,
        "in_force": True,
    }
    [event] = await consent.emitted()
    assert (event.type, event.topic, event.key, event.time) == ("consent.changed", "consent", "account/7", START)
    assert event.body["choice"] == choice
    assert event.body["channel"] == "form"
    assert event.body["text_hash"] == hashlib.sha256(b"May our partners write to you?").hexdigest()


async def test_the_same_words_are_kept_once(consent: Any) -> None:
    for number in range(3):
        await consent.choose("granted", f"account/{number}")
    assert await consent.rows("texts") == 1


async def test_choice_names_the_policy_version_in_force_when_it_was_received(consent: Any) -> None:
    await consent.publish("first")
    consent.advance(days=2)
    await consent.publish("second")
    await consent.choose("granted", received_at=(START + timedelta(days=1)).isoformat())
    await consent.choose("granted")
    bodies = [event.body for event in await consent.emitted("consent.changed")]
    assert [body["policy_version"] for body in bodies] == [1, 2]


@pytest.mark.promise(42)
async def test_own_and_third_party_marketing_are_two_choices(consent: Any) -> None:
    await consent.choose("withdrawn", purpose="third_party_marketing")
    await consent.choose("granted", purpose="own_marketing")
    assert (await consent.ask(purpose="third_party_marketing")).json()["allowed"] is False
    assert (await consent.ask(purpose="own_marketing")).json()["allowed"] is True


@pytest.mark.promise(43)
async def test_an_opt_out_has_the_same_effect_by_every_channel(consent: Any) -> None:
    for channel in get_args(fields.Channel):
        await consent.choose("granted", f"account/{channel}")
        consent.advance(seconds=1)
        assert (await consent.choose("withdrawn", f"account/{channel}", channel=channel)).json()["in_force"] is True
        assert (await consent.ask(f"account/{channel}")).json() | {"decision": ""} == {
            "decision": "",
            "allowed": False,
            "reason": "withdrawn",
            "consent_version": 2,
            "policy_version": None,
        }


@pytest.mark.promise(43)
@pytest.mark.promise(59)
async def test_an_older_grant_that_comes_late_is_kept_and_changes_nothing(consent: Any) -> None:
    await consent.choose("withdrawn")
    late = await consent.choose("granted", received_at=(START - timedelta(hours=1)).isoformat())
    assert (late.status_code, late.json()["version"], late.json()["in_force"]) == (201, 2, False)
    assert [event.body["version"] for event in await consent.emitted("consent.changed")] == [1]
    assert (await consent.ask()).json()["reason"] == "withdrawn"
    assert await consent.rows("choices") == 2


@pytest.mark.promise(60)
@pytest.mark.promise(61)
@pytest.mark.parametrize("purpose", ["own_marketing", "targeted_advertising"])
async def test_an_opt_out_is_accepted_even_while_the_record_is_delayed(consent: Any, purpose: str) -> None:
    await consent.choose("granted", purpose=purpose)
    await consent.runtime.pool.execute("UPDATE chassis.outbox SET created_at = now() - interval '1 hour'")
    consent.advance(seconds=1)
    assert (await consent.choose("withdrawn", purpose=purpose)).status_code == 201


@pytest.mark.promise(3)
async def test_use_of_the_website_cannot_be_recorded_as_consent(consent: Any) -> None:
    await consent.publish()
    await consent.http.get("/policy")
    assert (await consent.choose("granted", channel="continued_use")).status_code == 422
    assert (await consent.choose("granted", text=" ")).status_code == 422
    assert await consent.rows("choices") == 0
    assert (await consent.ask()).json()["reason"] == "no_choice"


async def test_choice_from_the_future_is_refused(consent: Any) -> None:
    answer = await consent.choose("granted", received_at=(START + timedelta(hours=1)).isoformat())
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/received-in-future")
    assert await consent.rows("choices") == 0


async def test_same_key_same_answer_and_one_choice(consent: Any) -> None:
    first = await consent.choose("granted", key="k1")
    again = await consent.choose("granted", key="k1")
    assert (again.status_code, again.json()) == (201, first.json())
    assert (await consent.rows("choices"), len(await consent.emitted())) == (1, 1)


async def test_same_key_with_another_body_changes_nothing(consent: Any) -> None:
    await consent.choose("granted", key="k1")
    answer = await consent.choose("withdrawn", key="k1")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert "withdrawn" not in answer.text
    assert (await consent.rows("choices"), len(await consent.emitted())) == (1, 1)


async def test_many_choices_at_once_get_versions_without_gaps_in_the_order_of_their_events(consent: Any) -> None:
    answers = await asyncio.gather(*(consent.choose(["granted", "refused"][n % 2]) for n in range(16)))
    assert sorted(answer.json()["version"] for answer in answers) == list(range(1, 17))
    versions = [event.body["version"] for event in await consent.emitted("consent.changed")]
    assert versions == sorted(versions)
    assert (await consent.ask()).json()["reason"] == "refused"


@pytest.mark.promise(43)
async def test_of_two_at_the_same_moment_the_opt_out_wins_whichever_is_first(consent: Any) -> None:
    for n in range(5):
        await asyncio.gather(consent.choose("granted", f"account/{n}"), consent.choose("withdrawn", f"account/{n}"))
        assert (await consent.ask(f"account/{n}")).json()["reason"] == "withdrawn"


class TestReading:
    async def test_shows_the_history_with_what_is_in_force(self, consent: Any) -> None:
        await consent.choose("granted")
        consent.advance(days=1)
        await consent.choose("withdrawn", channel="email")
        await consent.choose("refused", purpose="own_marketing")
        headers = consent.token("agent-01", "agent")
        answer = await consent.http.get("/v1/choices", params={"subject": "account/7"}, headers=headers)
        assert answer.status_code == 200
        assert answer.json()["next"] is None
        names = ("purpose", "version", "choice", "in_force")
        assert [tuple(each[name] for name in names) for each in answer.json()["items"]] == [
            ("own_marketing", 1, "refused", True),
            ("third_party_marketing", 1, "granted", False),
            ("third_party_marketing", 2, "withdrawn", True),
        ]
        assert answer.json()["items"][2]["text"] == "May our partners write to you?"

    async def test_pages_by_cursor(self, consent: Any) -> None:
        for purpose in ("own_marketing", "third_party_marketing"):
            for _ in range(3):
                await consent.choose("granted", purpose=purpose)
        params, seen = {"subject": "account/7", "limit": "4"}, []
        while True:
            answer = await consent.http.get("/v1/choices", params=params, headers=consent.token("website", "website"))
            seen += [(each["purpose"], each["version"]) for each in answer.json()["items"]]
            if answer.json()["next"] is None:
                break
            params["cursor"] = answer.json()["next"]
        assert seen == [(purpose, n) for purpose in ("own_marketing", "third_party_marketing") for n in (1, 2, 3)]

    @pytest.mark.parametrize(
        ("sub", "scope", "actor"),
        [("7", "person", "person"), ("website", "website", "system/website"), ("agent-01", "agent", "staff/agent-01")],
    )
    async def test_every_read_leaves_its_record(self, consent: Any, sub: str, scope: str, actor: str) -> None:
        case = str(uuid4())
        params = {"subject": "account/7", "case": case}
        answer = await consent.http.get("/v1/choices", params=params, headers=consent.token(sub, scope))
        assert answer.json() == {"subject": "account/7", "items": [], "next": None}
        [event] = await consent.emitted()
        assert (event.type, event.topic, event.key) == ("personal_data.accessed", "accesses.consent", "account/7")
        assert {name: event.body[name] for name in ("actor", "purpose", "case", "categories", "system")} == {
            "actor": actor,
            "purpose": "request",
            "case": case,
            "categories": ["choices"],
            "system": "consent",
        }


class TestPersons:
    async def test_reach_their_own_choices(self, consent: Any) -> None:
        body = REFUSAL | {"subject": "account/7"}
        headers = consent.token("7", "person")
        assert (await consent.http.post("/v1/choices", json=body, headers=headers)).status_code == 201
        answer = await consent.http.get("/v1/choices", params={"subject": "account/7"}, headers=headers)
        assert len(answer.json()["items"]) == 1

    async def test_reach_nobody_elses(self, consent: Any) -> None:
        for subject in ("account/8", "device/7", "request/7", "account/77"):
            await consent.choose("granted", subject)
            before = len(await consent.emitted()), await consent.rows("choices")
            body = REFUSAL | {"subject": subject}
            headers = consent.token("7", "person")
            assert (await consent.http.post("/v1/choices", json=body, headers=headers)).status_code == 403
            assert (
                await consent.http.get("/v1/choices", params={"subject": subject}, headers=headers)
            ).status_code == 403
            assert (len(await consent.emitted()), await consent.rows("choices")) == before


@pytest.mark.parametrize(
    ("closed", "known"),
    [
        (fields.Purpose, Purpose),
        (fields.Channel, Channel),
        (fields.Choice, Choice),
        (fields.RevisionReason, RevisionReason),
    ],
)
def test_the_words_accepted_are_those_of_the_contract(closed: Any, known: Any) -> None:
    [values] = [each.values for each in get_args(known) if isinstance(each, Known)]
    assert get_args(closed) == values
