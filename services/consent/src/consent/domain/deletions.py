"""The answer to a deletion request: the same one however often it is asked for."""

from datetime import datetime

from privacy_contracts.replies import ReplyDone, ReplyNotFound
from privacy_contracts.requests import DeletionRequested

SYSTEM = "consent"


def names_us(requested: DeletionRequested) -> bool:
    """Whether we are to act: a system acts only when named."""
    return SYSTEM in requested.systems


def answer(records: int, requested: DeletionRequested, now: datetime) -> ReplyDone | ReplyNotFound:
    """What to reply once `records` rows are gone, in this transaction or in an earlier one."""
    reply = {
        "request": requested.request,
        "account": requested.account,
        "system": SYSTEM,
        "answered_by": f"service/{SYSTEM}",
        "answered_at": now,
    }
    return ReplyDone.model_validate(reply | {"records": records}) if records else ReplyNotFound.model_validate(reply)
