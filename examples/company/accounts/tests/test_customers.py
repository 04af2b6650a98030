"""Accounts over HTTP: opened, corrected, found; each published state in order."""

import asyncio

import pytest

from chassis.testing import START

from .conftest import Accounts


async def test_registering_publishes_the_full_state(accounts: Accounts) -> None:
    answer = await accounts.register(" ann@example.com ")
    assert answer.status_code == 201
    [event] = await accounts.emitted()
    assert (event.type, event.topic, event.key) == ("account.stated", "accounts", answer.json()["id"])
    assert event.body | {"registered_at": ""} == {
        "id": answer.json()["id"],
        "version": 1,
        "email": "ann@example.com",
        "name": "Ann",
        "region": "US-CA",
        "registered_at": "",
    }
    assert event.time == START


async def test_an_address_has_one_account_however_it_is_written(accounts: Accounts) -> None:
    await accounts.registered()
    again = await accounts.register("ANN@Example.com")
    assert again.status_code == 409
    assert "ann" not in again.text.lower()
    assert len(await accounts.emitted("account.stated")) == 1


async def test_a_repeat_of_the_same_form_opens_one_account(accounts: Accounts) -> None:
    first, second = await accounts.register(key="form-1"), await accounts.register(key="form-1")
    assert first.json() == second.json()
    other = await accounts.register("bob@example.com", key="form-1")
    assert other.status_code == 422
    assert len(await accounts.emitted()) == 1


@pytest.mark.promise(65)
async def test_a_correction_is_published_as_the_next_version(accounts: Accounts) -> None:
    account = await accounts.registered()
    assert (await accounts.correct(account, email="ann@example.org")).json() == {"id": account, "version": 2}
    _, event = await accounts.emitted("account.stated")
    assert (event.body["version"], event.body["email"], event.body["name"]) == (2, "ann@example.org", "Ann")


async def test_a_correction_reads_the_account_and_leaves_its_record_once(accounts: Accounts) -> None:
    account = await accounts.registered()
    agent = accounts.token("agent-01", "agent") | {"Idempotency-Key": "fix-1"}
    for _ in range(2):
        await accounts.http.patch(f"/v1/customers/{account}", json={"name": "Anna"}, headers=agent)
    await accounts.correct(account, region="US-NV")
    by_agent, by_website = await accounts.emitted("personal_data.accessed")
    assert (by_agent.subject, by_agent.body["action"]) == (f"account/{account}", "view")
    assert by_agent.body["categories"] == ["identity", "contact"]
    assert (by_agent.body["actor"], by_website.body["actor"]) == ("staff/agent-01", "system/website")


async def test_who_cannot_stand_in_a_record_reads_nothing(accounts: Accounts) -> None:
    account = await accounts.registered()
    nameless = accounts.token("Maria@example.com", "agent")
    answer = await accounts.http.patch(f"/v1/customers/{account}", json={"name": "Anna"}, headers=nameless)
    assert answer.status_code == 403
    assert [event.type for event in await accounts.emitted()] == ["account.stated"]


async def test_corrections_at_the_same_time_leave_in_the_order_of_their_versions(accounts: Accounts) -> None:
    account = await accounts.registered()
    await asyncio.gather(*(accounts.correct(account, name=f"Ann {number}") for number in range(8)))
    assert [event.body["version"] for event in await accounts.emitted("account.stated")] == list(range(1, 10))


async def test_a_correction_cannot_take_another_accounts_address_nor_reach_nobody(accounts: Accounts) -> None:
    account = await accounts.registered()
    await accounts.registered("bob@example.com")
    assert (await accounts.correct(account, email="Bob@example.com")).status_code == 409
    assert (await accounts.correct(account, email="Ann@example.com")).status_code == 200
    assert (await accounts.correct("nobody", name="Ann")).status_code == 404


async def test_of_two_that_take_the_same_address_at_once_one_gets_it(accounts: Accounts) -> None:
    one, two = await accounts.registered(), await accounts.registered("bob@example.com")
    answers = await asyncio.gather(*(accounts.correct(each, email="cleo@example.com") for each in (one, two)))
    assert sorted(answer.status_code for answer in answers) == [200, 409]


async def test_a_search_by_address_is_recorded_found_or_not(accounts: Accounts) -> None:
    account = await accounts.registered()
    assert (await accounts.find("ANN@example.com")).json() == {"id": account}
    assert (await accounts.find("bob@example.com")).status_code == 404
    found, not_found = await accounts.emitted("personal_data.accessed")
    assert found.subject == f"account/{account}"
    assert found.body["actor"] == "system/website"
    assert (found.body["results"], not_found.body["results"]) == (1, 0)
    assert "subject_id" not in not_found.body
    assert found.body["query_hash"] != not_found.body["query_hash"]


@pytest.mark.parametrize(
    "wrong",
    [{"email": "zzz"}, {"name": ""}, {"name": "zzz\x00"}, {"region": "zzz"}, {"zzz": 1}, {"offers": "zzz"}],
)
async def test_what_is_wrong_is_refused_and_not_repeated(accounts: Accounts, wrong: dict[str, object]) -> None:
    answer = await accounts.register(**wrong)  # type: ignore[arg-type]  # that is the point
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert "zzz" not in answer.text.replace('"zzz"]', "")
    assert await accounts.emitted() == []


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/v1/customers", "system"),
        ("PATCH", "/v1/customers/a1", "system"),
        ("POST", "/v1/customers/find", "operator"),
        ("POST", "/v1/feeds", "website"),
        ("GET", "/v1/feeds/0190a1b2-0000-7000-8000-000000000000", "website"),
        ("GET", "/v1/marketing-list", "website"),
    ],
)
async def test_each_route_has_its_scope(accounts: Accounts, method: str, path: str, scope: str) -> None:
    assert (await accounts.http.request(method, path, json={})).status_code == 401
    headers = accounts.token("somebody", scope)
    assert (await accounts.http.request(method, path, json={}, headers=headers)).status_code == 403
    assert await accounts.emitted() == []
