"""The list that marketing fetches: only whom the company may write to, and a record for each who is read."""

import pytest

from .conftest import Accounts


async def test_the_list_names_accounts_and_addresses_with_a_record_for_each(accounts: Accounts) -> None:
    ann, bob = await accounts.registered(), await accounts.registered("bob@example.com")
    answer = await accounts.marketing_list()
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.text == f"account,email\r\n{ann},ann@example.com\r\n{bob},bob@example.com\r\n"
    read = await accounts.emitted("personal_data.accessed")
    assert [event.subject for event in read] == [f"account/{ann}", f"account/{bob}"]
    assert {event.body["actor"] for event in read} == {"system/marketing"}


@pytest.mark.promise(43)
async def test_who_wants_no_offers_is_not_on_it(accounts: Accounts) -> None:
    await accounts.registered(offers=False)
    bob = await accounts.registered("bob@example.com")
    await accounts.correct(bob, offers=False)
    assert (await accounts.marketing_list()).text == "account,email\r\n"


async def test_an_unchanged_list_is_not_read_again(accounts: Accounts) -> None:
    account = await accounts.registered()
    first = await accounts.marketing_list()
    again = await accounts.marketing_list(tag=first.headers["etag"])
    assert (again.status_code, again.text) == (304, "")
    assert len(await accounts.emitted("personal_data.accessed")) == 1
    await accounts.correct(account, email="ann@example.org")
    changed = await accounts.marketing_list(tag=first.headers["etag"])
    assert "ann@example.org" in changed.text


async def test_it_is_for_marketing_alone(accounts: Accounts) -> None:
    await accounts.registered()
    assert (await accounts.marketing_list("orders")).status_code == 403
    assert await accounts.emitted("personal_data.accessed") == []
