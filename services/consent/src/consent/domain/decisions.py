"""May this person's data go to this recipient for this purpose?

Only a grant in force allows; silence, a refusal and a withdrawal do not (Civ. Code 1798.140(h): acceptance of general
terms is no consent). No decision is given while the record of earlier ones is delayed.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from consent.domain import Refusal
from consent.domain.choices import GRANTED, Standing
from privacy_contracts.consent import DisclosureDecided


@dataclass(frozen=True)
class Ask:
    """The question; `decision` is the id that the answer will have."""

    decision: UUID
    subject: str
    recipient: str
    purpose: str
    asked_by: str
    policy_version: int | None = None


@dataclass(frozen=True)
class Record:
    """How well decisions are being recorded: the age of the oldest event that is not yet published, and the limit."""

    delay: timedelta
    limit: timedelta


def decide(standing: Standing, record: Record, ask: Ask, now: datetime) -> DisclosureDecided | Refusal:
    """Allow or refuse, with the reason and the version of the choice it rests on."""
    if record.delay > record.limit:
        return Refusal("record-delayed")
    in_force = None if standing.deleted else standing.in_force
    if standing.deleted:
        reason = "deleted"
    else:
        reason = in_force.choice if in_force else "no_choice"
    return DisclosureDecided(
        decision=ask.decision,
        subject_id=ask.subject,
        recipient=ask.recipient,
        purpose=ask.purpose,
        allowed=reason == GRANTED,
        reason=reason,
        consent_version=in_force.version if in_force else None,
        policy_version=ask.policy_version,
        asked_by=ask.asked_by,
        decided_at=now,
    )
