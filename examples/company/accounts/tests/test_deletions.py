"""Answering deletions, through the real batch path of the consumer."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from chassis.testing import START, deliver, deliver_records, record
from privacy_contracts.requests import DeletionRequested

from .conftest import Accounts


def requested(account: str, *, systems: tuple[str, ...] = ("accounts",), **given: Any) -> DeletionRequested:
    values = {
        "request": uuid4(),
        "account": account,
        "stage": "accounts",
        "systems": list(systems),
        "attempt": 1,
        "requested_at": START,
        "due_at": START + timedelta(days=5),
    }
    return DeletionRequested.model_validate(values | given)


@pytest.mark.promise(67)
@pytest.mark.promise(68)
async def test_the_account_goes_and_its_end_is_published_before_the_answer(accounts: Accounts) -> None:
    account = await accounts.registered()
    await accounts.correct(account, name="Anna")
    asked = requested(account)
    await deliver(accounts.app, accounts.runtime, asked)
    gone, reply = (await accounts.emitted())[-2:]
    assert len(await accounts.emitted("personal_data.accessed")) == 1  # the correction's: a deletion reads nobody
    assert (gone.type, gone.topic, gone.key) == ("account.deleted", "accounts", account)
    assert gone.body["version"] == 3
    assert (reply.type, reply.topic, reply.key) == ("reply.done", "replies.accounts", str(asked.request))
    assert await accounts.runtime.pool.fetchval("SELECT count(*) FROM accounts.accounts") == 0
    assert (await accounts.find("ann@example.com")).status_code == 404
    assert (await accounts.correct(account, name="Ann")).status_code == 404


async def test_the_same_person_may_come_back_as_another_account(accounts: Accounts) -> None:
    account = await accounts.registered()
    await deliver(accounts.app, accounts.runtime, requested(account))
    assert await accounts.registered() != account


async def test_a_repeat_changes_nothing_and_a_reminder_gets_the_same_answer(accounts: Accounts) -> None:
    account = await accounts.registered()
    asked = requested(account)
    first = record(asked)
    reminder = record(requested(account, request=asked.request, attempt=2, reminder=True))
    await deliver_records(accounts.app, accounts.runtime, first, first, reminder)
    assert len(await accounts.emitted("account.deleted")) == 1
    one, two = await accounts.emitted("reply.done")
    assert one.body == two.body
    assert one.id != two.id


async def test_nobody_there_is_not_found_and_others_are_not_our_business(accounts: Accounts) -> None:
    account = await accounts.registered()
    others = requested(account, systems=("orders", "marketing"))
    await deliver(accounts.app, accounts.runtime, others, requested("nobody"))
    assert [event.type for event in await accounts.emitted()] == ["account.stated", "reply.not_found"]


async def test_a_customer_closes_the_account_and_its_end_is_published_with_it(accounts: Accounts) -> None:
    account = await accounts.registered()
    for _ in range(2):
        closed = await accounts.close(account, key="once")
        assert (closed.status_code, closed.json()) == (200, {"id": account, "version": 2})
    [gone] = await accounts.emitted("account.deleted")
    assert (gone.topic, gone.key, gone.body["version"]) == ("accounts", account, 2)
    assert await accounts.runtime.pool.fetchval("SELECT count(*) FROM accounts.accounts") == 0
    assert await accounts.emitted("personal_data.accessed") == []  # nobody is read


async def test_an_account_that_is_not_there_or_not_the_callers_business_is_not_closed(accounts: Accounts) -> None:
    account = await accounts.registered()
    assert (await accounts.close("nobody")).status_code == 404
    refused = await accounts.http.delete(f"/v1/customers/{account}", headers=accounts.token("marketing", "system"))
    assert refused.status_code == 403
    await accounts.close(account)
    assert (await accounts.close(account)).status_code == 404
    assert len(await accounts.emitted("account.deleted")) == 1


async def test_a_deletion_that_asks_after_the_customer_closed_the_account_hears_that_it_is_done(
    accounts: Accounts,
) -> None:
    account = await accounts.registered()
    await accounts.close(account)
    await deliver(accounts.app, accounts.runtime, requested(account))
    assert len(await accounts.emitted("account.deleted")) == 1
    assert len(await accounts.emitted("reply.done")) == 1
