"""Publishing and reading policy versions over HTTP, and the notice for the home page."""

import asyncio
import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from chassis.testing import START, client
from consent.app import build


@pytest.mark.promise(4)
@pytest.mark.promise(83)
async def test_publishing_makes_a_version_and_an_event_that_names_who_decided(consent: Any) -> None:
    await consent.publish("one", summary="First.", reasons=["first_version"])
    consent.advance(days=3)
    answer = await consent.publish("two", summary="A partner.", material=True, reasons=["new_recipient"])
    assert answer.status_code == 201
    assert answer.json() == {
        "version": 2,
        "supersedes": 1,
        "revised_on": "2026-11-23",
        "published_at": "2026-11-23T12:00:00Z",
        "effective_at": "2026-11-23T12:00:00Z",
        "material": True,
        "reasons": ["new_recipient"],
        "summary": "A partner.",
        "text_hash": hashlib.sha256(b"two").hexdigest(),
        "url": "http://consent.example.com/policy/2",
    }
    first, second = await consent.emitted("policy.revised")
    assert (second.topic, second.key) == ("policy", "privacy")
    assert "supersedes" not in first.body
    assert {name: second.body[name] for name in ("version", "supersedes", "material", "reasons", "decided_by")} == {
        "version": 2,
        "supersedes": 1,
        "material": True,
        "reasons": ["new_recipient"],
        "decided_by": "staff/officer-01",
    }


@pytest.mark.promise(81)
async def test_a_version_is_served_with_exactly_the_bytes_that_were_hashed(consent: Any) -> None:
    text = "# Prïvacy\r\n\r\ntrailing  \n\ttabs \U0001f4e6 and <b>tags</b>\n\n"
    published = (await consent.publish(text)).json()
    shown = (await consent.http.get("/v1/policies/1")).json()
    assert shown["text"] == text
    raw = await consent.http.get("/policy/1/text")
    assert raw.headers["content-type"] == "text/markdown; charset=utf-8"
    assert hashlib.sha256(raw.content).hexdigest() == published["text_hash"] == shown["text_hash"]


@pytest.mark.promise(84)
async def test_the_date_of_revision_is_the_companys_day(consent: Any) -> None:
    consent.advance(hours=15)  # 21 November in UTC, still the 20th in Los Angeles
    assert (await consent.publish()).json()["revised_on"] == "2026-11-20"


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"text": "present"}, 409, "same-text"),
    ({"effective_at": (START - timedelta(seconds=1)).isoformat()}, 422, "effective-before-publication"),
    ({"effective_at": (START + timedelta(days=1)).isoformat()}, 422, "effective-out-of-order"),
    ({"revised_on": "2026-11-21"}, 422, "revised-in-future"),
    ({"revised_on": "2020-01-01"}, 422, "revised-out-of-order"),
    ({"reasons": ["new_purpose"], "material": False}, 422, "material-by-reason"),
]


async def test_what_is_refused_leaves_no_trace(consent: Any) -> None:
    await consent.publish("present", effective_at=(START + timedelta(days=2)).isoformat())
    for given, status, code in REFUSED:
        answer = await consent.publish(**({"text": "other"} | given))
        assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{code}")
    assert (await consent.rows("policies"), len(await consent.emitted())) == (1, 1)


async def test_same_key_same_answer_and_another_body_is_refused(consent: Any) -> None:
    first = await consent.publish("one", key="k1")
    again = await consent.publish("one", key="k1")
    assert (again.status_code, again.json()) == (201, first.json())
    assert (await consent.publish("two", key="k1")).status_code == 422
    assert await consent.rows("policies") == 1


async def test_officers_at_once_get_versions_without_gaps(consent: Any) -> None:
    answers = await asyncio.gather(*(consent.publish(f"text {n}") for n in range(7)))
    assert sorted(answer.json()["version"] for answer in answers) == list(range(1, 8))
    assert [event.body["version"] for event in await consent.emitted("policy.revised")] == list(range(1, 8))


async def test_the_same_text_by_two_officers_at_once_is_published_once(consent: Any) -> None:
    answers = await asyncio.gather(consent.publish("same"), consent.publish("same"))
    assert sorted(answer.status_code for answer in answers) == [201, 409]


async def test_anybody_reads_versions_from_the_newest(consent: Any) -> None:
    for n in range(1, 6):
        await consent.publish(f"text {n}")
    first = (await consent.http.get("/v1/policies", params={"limit": 3})).json()
    assert [each["version"] for each in first["items"]] == [5, 4, 3]
    rest = (await consent.http.get("/v1/policies", params={"limit": 3, "cursor": first["next"]})).json()
    assert ([each["version"] for each in rest["items"]], rest["next"]) == ([2, 1], None)
    assert (await consent.http.get("/v1/policies/6")).status_code == 404
    assert (await consent.http.get("/v1/policies/99999999999999999999")).status_code == 422


class TestHomePageNotice:
    async def test_there_is_none_before_the_first_version(self, consent: Any) -> None:
        answer = await consent.http.get("/v1/notice")
        assert (answer.status_code, answer.content) == (204, b"")

    @pytest.mark.promise(82)
    async def test_the_first_version_is_announced_on_the_companys_day(self, consent: Any) -> None:
        consent.advance(hours=15)  # 21 November in UTC, still the 20th in Los Angeles
        await consent.publish("one")
        headline = (await consent.http.get("/v1/notice")).json()["headline"]
        assert headline == "Our privacy policy was published on 20 November 2026."

    @pytest.mark.promise(82)
    @pytest.mark.parametrize("material", [True, False])
    async def test_every_revision_stands_for_thirty_days(self, consent: Any, material: bool) -> None:
        await consent.publish("one")
        consent.advance(days=40)
        await consent.publish("two", material=material)
        shown = await consent.http.get("/v1/notice")
        assert shown.json() == {
            "version": 2,
            "revised_on": "2026-12-30",
            "headline": "Our privacy policy was updated on 30 December 2026.",
            "url": "http://consent.example.com/policy",
            "until": "2027-01-29T12:00:00Z",
        }
        consent.advance(days=29, hours=23, minutes=59)
        assert (await consent.http.get("/v1/notice")).status_code == 200
        consent.advance(minutes=1)
        assert (await consent.http.get("/v1/notice")).status_code == 204

    @pytest.mark.promise(82)
    async def test_it_stands_until_the_time_on_record_whatever_the_setting_becomes(self, consent: Any) -> None:
        def with_days(days: int) -> Any:
            settings = consent.runtime.settings.model_copy(update={"notice_days": days})
            changed = replace(consent.runtime, settings=settings)
            return client(changed, build(changed))

        async with with_days(7) as http:
            await replace(consent, http=http).publish("one")
        (revised,) = await consent.emitted("policy.revised")
        assert revised.body["announced_until"] == (START + timedelta(days=7)).isoformat().replace("+00:00", "Z")
        async with with_days(90) as http:
            assert (await http.get("/v1/notice")).json()["until"] == revised.body["announced_until"]
            consent.advance(days=7)
            assert (await http.get("/v1/notice")).status_code == 204

    @pytest.mark.promise(82)
    async def test_the_newest_revision_is_announced(self, consent: Any) -> None:
        await consent.publish("one")
        await consent.publish("two")
        assert (await consent.http.get("/v1/notice")).json()["version"] == 2
