"""What the accounts system once said brings its restored database forward."""

from chassis.testing import restate
from privacy_contracts import EVENTS

from .conftest import Accounts


async def test_accounts_come_back_in_their_newest_state_and_are_written_to_by_nobody(accounts: Accounts) -> None:
    account = await accounts.registered(offers=True)
    await accounts.correct(account, email="anna@example.com")
    said = [EVENTS[each.type].model_validate(each.body) for each in await accounts.emitted("account.stated")]
    await accounts.runtime.pool.execute("DELETE FROM accounts.accounts")
    assert await restate(accounts.app, accounts.runtime, *said, said[0]) == [True, True, True]
    assert (await accounts.find("anna@example.com")).json() == {"id": account}
    assert (await accounts.marketing_list()).text == "account,email\r\n"
    assert (await accounts.correct(account, name="Anna")).json()["version"] == 3


async def test_an_address_that_is_another_ones_by_now_is_told_as_lost(accounts: Accounts) -> None:
    await accounts.registered()
    [said] = [EVENTS[each.type].model_validate(each.body) for each in await accounts.emitted("account.stated")]
    assert await restate(accounts.app, accounts.runtime, said.model_copy(update={"id": "a2"})) == [False]
