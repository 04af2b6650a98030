"""What the accounts system once said brings its restored database forward."""

from datetime import UTC, datetime

from chassis.testing import restate
from privacy_contracts import EVENTS
from privacy_contracts.accounts import AccountDeleted

from .conftest import Accounts

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


async def test_accounts_come_back_in_their_newest_state_and_are_written_to_by_nobody(accounts: Accounts) -> None:
    account = await accounts.registered(offers=True)
    await accounts.correct(account, email="anna@example.com")
    said = [EVENTS[each.type].model_validate(each.body) for each in await accounts.emitted("account.stated")]
    await accounts.runtime.pool.execute("DELETE FROM accounts.accounts")
    assert await restate(accounts.app, accounts.runtime, *said, said[0]) == [True, True, True]
    assert (await accounts.find("anna@example.com")).json() == {"id": account}
    assert (await accounts.marketing_list()).text == "account,email\r\n"
    assert (await accounts.correct(account, name="Anna")).json()["version"] == 3


async def test_an_account_that_was_closed_stays_gone_also_where_it_was_opened_in_that_hour(accounts: Accounts) -> None:
    """No request asks for it; so nothing but its own event takes it out of the backup again."""
    old, new = await accounts.registered(), await accounts.registered("new@example.com")
    said = [EVENTS[each.type].model_validate(each.body) for each in await accounts.emitted("account.stated")]
    said += [AccountDeleted(id=account, version=2, deleted_at=NOW) for account in (old, new)]
    pool = accounts.runtime.pool
    await pool.execute("DELETE FROM accounts.accounts WHERE id = $1", new)
    assert await restate(accounts.app, accounts.runtime, *said) == [True] * 4
    for address in ("ann@example.com", "new@example.com"):
        assert (await accounts.find(address)).status_code == 404
    assert await pool.fetchval("SELECT count(*) FROM accounts.accounts") == 0
    assert await accounts.emitted("account.deleted") == []  # it was said


async def test_an_address_that_is_another_ones_by_now_is_told_as_lost(accounts: Accounts) -> None:
    await accounts.registered()
    [said] = [EVENTS[each.type].model_validate(each.body) for each in await accounts.emitted("account.stated")]
    assert await restate(accounts.app, accounts.runtime, said.model_copy(update={"id": "a2"})) == [False]
