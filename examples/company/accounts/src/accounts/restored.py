"""What a restored database does not know and the accounts system once said: states of accounts, from its own topic.

A deletion is carried out again, since the request for it is read again. Whether an account may be written to with
offers stands in no event: an account that comes back so may not.
"""

from typing import Any

from accounts import queries
from accounts.domain import Account
from chassis.consumer import Received
from chassis.database import Connection
from privacy_contracts.accounts import AccountStated


async def restate(received: Received[Any], tx: Connection) -> bool:
    """What `App.restate` wants: applies one event, and says whether everything that it stood for is there again."""
    stated = received.event
    if not isinstance(stated, AccountStated):
        return True
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
