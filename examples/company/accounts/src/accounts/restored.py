"""What a restored database does not know and the accounts system once said: states of accounts and their ends.

An end is carried out again and not said again: no request asks for the deletion of an account that its customer closed.
Whether an account may be written to with offers stands in no event: an account that comes back so may not.
"""

from typing import Any

from accounts import feeds, queries
from accounts.domain import Account
from chassis.consumer import Received
from chassis.database import Connection
from privacy_contracts.accounts import AccountDeleted, AccountStated


async def restate(received: Received[Any], tx: Connection) -> bool:
    """What `App.restate` wants: applies one event, and says whether everything that it stood for is there again."""
    match received.event:
        case AccountStated() as stated:
            return await _state(tx, stated)
        case AccountDeleted() as gone:
            if await queries.hold(tx, gone.id):
                await feeds.end(tx, gone, None)
    return True


async def _state(tx: Connection, stated: AccountStated) -> bool:
    account = Account(
        id=stated.id,
        version=stated.version,
        email=stated.email.get_secret_value(),
        name=stated.name.get_secret_value(),
        region=stated.region,
        offers=False,
        registered_at=stated.registered_at,
    )
    return await queries.restore(tx, account)
