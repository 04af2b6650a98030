"""What a restored database does not know and consent once said: choices in force and decisions, from its own events.

Lost are choices that took no effect, which no event carries, and the texts of policies and of new wordings.
"""

from typing import Any

from chassis.consumer import Received
from chassis.database import Connection
from consent.domain.choices import Choose, restored
from consent.domain.policies import sha256
from consent.queries import subjects
from privacy_contracts.consent import ConsentChanged, DisclosureDecided
from privacy_contracts.policy import PolicyRevised

ACTOR = "service/consent"
LOST = "The words that were shown are lost: the database was restored from a backup."


async def restate(received: Received[Any], tx: Connection) -> bool:
    """What `App.restate` wants: applies one event, and says whether everything that it stood for is there again."""
    match received.event:
        case ConsentChanged() as changed:
            return await _choice(tx, changed, received)
        case DisclosureDecided() as decided:
            if not await subjects.lock(tx, decided.subject_id):
                await subjects.put_decision(tx, decided)
        case PolicyRevised():
            return False  # its text is nowhere but with the officer: publish it again, it gets the same number
    return True


async def _choice(tx: Connection, changed: ConsentChanged, received: Received[Any]) -> bool:
    standing = await subjects.standing(tx, changed.subject_id, changed.purpose)
    if standing.deleted or standing.last_version >= changed.version:
        return True
    known = await subjects.knows_text(tx, changed.text_hash)
    if not known:
        await subjects.put_text(tx, sha256(LOST), LOST)
    command = Choose(
        subject=changed.subject_id,
        purpose=changed.purpose,
        choice=changed.choice,
        text_hash=changed.text_hash if known else sha256(LOST),
        channel=changed.channel,
        received_at=changed.received_at,
        policy_version=changed.policy_version,
    )
    chosen = restored(changed, words_are_known=known)
    await subjects.put_choice(tx, command, chosen, ACTOR, max(received.time, changed.received_at))
    return known
