"""The link: a GET changes nothing, wrong ones are alike and counted, the right one always opens."""

from datetime import timedelta
from typing import Any

import pytest
from uuid_utils.compat import uuid7

TABLES = ("requests", "tasks", "links", "replies")
HEADERS = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex, nofollow",
    "x-content-type-options": "nosniff",
}


async def state(dsr: Any) -> dict[str, list[str]]:
    """Everything about requests, and every event that is not a record of somebody looking."""
    rows = {
        table: [row["text"] for row in await dsr.pool.fetch(f"SELECT t::text AS text FROM dsr.{table} AS t ORDER BY 1")]  # noqa: S608 - named above
        for table in TABLES
    }
    looked = ("personal_data.accessed", "personal_data.disclosed")
    rows["events"] = [str(each.id) for each in await dsr.everything() if each.type not in looked]
    rows["timers"] = [
        str(row) for row in await dsr.pool.fetch("SELECT kind, key, due_at FROM chassis.timers ORDER BY 1, 2")
    ]
    return rows


@pytest.mark.parametrize("reached", ["received", "verified", "confirmed", "deleting", "closed"])
async def test_a_mail_scanner_that_opens_the_link_changes_nothing(dsr: Any, reached: str) -> None:
    await dsr.customer()
    if reached in ("received", "verified"):
        link = await dsr.link(await dsr.ask())
        if reached == "verified":
            await dsr.press(link, "verify")
    else:
        _, link = await getattr(dsr, reached)()
    before = await state(dsr)
    for _ in range(3):
        answer = await dsr.http.get(link)
        assert answer.status_code == 200
        assert HEADERS.items() <= answer.headers.items()
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    await dsr.http.head(link)
    for action in ("verify", "confirm", "withdraw"):  # nor one that opens what the page's buttons name
        assert (await dsr.http.get(f"{link}/{action}")).status_code == 405
    assert await state(dsr) == before


async def test_wrong_links_look_alike_whatever_is_wrong_with_them(dsr: Any) -> None:
    await dsr.customer()
    request, another = await dsr.ask(), await dsr.ask()
    secret = (await dsr.link(request)).rsplit("/", 1)[1]
    wrong = [f"/r/{request}/{'x' * 43}", f"/r/{request}/{secret}x"]
    wrong += [f"/r/{each}/{secret}" for each in (another, uuid7(), "nonsense")]
    answers = [await dsr.http.get(each) for each in wrong]
    answers += [await dsr.http.post(f"{each}/verify") for each in wrong]
    assert {each.status_code for each in answers} == {404}
    assert len({each.content for each in answers}) == 1
    assert len({tuple(each.headers.items()) for each in answers}) == 1
    assert HEADERS.items() <= answers[0].headers.items()
    assert {await dsr.status(each) for each in (request, another)} == {"received"}


async def findings(dsr: Any) -> list[dict[str, Any]]:
    answer = await dsr.http.get("/v1/findings", headers=dsr.headers("auditor-01", "auditor"))
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.json()["findings"]
    return found


async def test_more_than_twenty_wrong_secrets_an_hour_are_found_and_the_right_one_still_opens(dsr: Any) -> None:
    await dsr.customer()
    request = await dsr.ask()
    link = await dsr.link(request)
    for attempt in range(20):
        await dsr.http.get(f"/r/{request}/wrong{attempt}")
    assert await findings(dsr) == []
    await dsr.http.post(f"/r/{request}/wrong/verify")
    found = await findings(dsr)
    assert {(each["kind"], each["scope"], each["count"]) for each in found} == {
        ("wrong_secrets", "link", 21),
        ("wrong_secrets", "network", 21),
    }
    assert str(request) in {each["about"] for each in found}
    assert not any("192.0.2" in str(each) for each in found)
    assert (await dsr.http.get(link)).status_code == 200
    assert (await dsr.press(link, "verify")).status_code == 303
    assert await dsr.status(request) == "verified"


async def test_guessing_at_many_links_is_found_by_the_network(dsr: Any) -> None:
    for _ in range(21):
        await dsr.http.get(f"/r/{uuid7()}/guess")
    assert [(each["scope"], each["count"]) for each in await findings(dsr)] == [("network", 21)]


async def test_the_count_is_of_the_last_hour(dsr: Any) -> None:
    request = uuid7()
    for _ in range(2):
        for _ in range(15):
            await dsr.http.get(f"/r/{request}/guess")
        await dsr.pass_time(timedelta(minutes=61))
    assert await findings(dsr) == []
    assert await dsr.pool.fetchval("SELECT count(*) FROM dsr.wrong_secrets") == 0  # and nothing is counted for ever


async def test_findings_come_in_pages(dsr: Any) -> None:
    for _ in range(21):
        await dsr.http.get("/r/nonsense/guess")
    headers = dsr.headers("operator-01", "operator")
    first = (await dsr.http.get("/v1/findings?limit=1", headers=headers)).json()
    second = (await dsr.http.get(f"/v1/findings?limit=1&cursor={first['next']}", headers=headers)).json()
    assert [first["findings"][0]["scope"], second["findings"][0]["scope"]] == ["link", "network"]
    assert second["next"] is None


async def test_what_a_person_sees_of_their_data_is_recorded_as_disclosed(dsr: Any) -> None:
    await dsr.customer()
    request = await dsr.ask()
    link = await dsr.link(request)
    await dsr.http.get(link)
    assert await dsr.events("personal_data.disclosed") == []  # the first page tells nothing about the account
    await dsr.press(link, "verify")
    await dsr.http.get(link)
    (shown,) = await dsr.events("personal_data.disclosed")
    assert (shown["subject_id"], shown["recipient_class"], shown["method"]) == ("account/a1", "subject", "page")
    assert (shown["basis"], shown["case"]) == ("request_of_subject", str(request))
    seen = [each for each in await dsr.events("personal_data.accessed") if each["actor"] == "person"]
    assert [(each["case"], each["purpose"]) for each in seen] == [(str(request), "request")]
