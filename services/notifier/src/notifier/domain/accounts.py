"""What is known of an account, and what a deletion leaves of it."""

from dataclasses import dataclass
from datetime import datetime

from notifier.domain import ACTOR, SYSTEM
from privacy_contracts.replies import ReplyDone, ReplyNotFound
from privacy_contracts.requests import DeletionRequested


@dataclass(frozen=True)
class Held:
    """What is known of an account: the version held, 0 for none, and whether it was deleted."""

    version: int = 0
    deleted: bool = False


def supersedes(held: Held, version: int) -> bool:
    """Whether a state of this version replaces what is held. A repeat does not; none brings a deleted account back."""
    return not held.deleted and version > held.version


def named(asked: DeletionRequested) -> bool:
    """A system acts only when it is named."""
    return SYSTEM in asked.systems


def answer(asked: DeletionRequested, records: int, now: datetime) -> ReplyDone | ReplyNotFound:
    """What we tell the orchestrator. `records` is remembered, so that a question asked again gets the same answer."""
    if not records:
        return ReplyNotFound(
            request=asked.request, account=asked.account, system=SYSTEM, answered_by=ACTOR, answered_at=now
        )
    return ReplyDone(
        request=asked.request,
        account=asked.account,
        system=SYSTEM,
        answered_by=ACTOR,
        answered_at=now,
        records=records,
    )
