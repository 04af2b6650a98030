"""A person's choice about one purpose.

Versions count every choice of a subject and purpose from 1 without gaps. The choice in force is the one received last,
whatever order choices arrive in; of two received at the same moment the opt-out wins. So a late or repeated old grant
is kept as history and can never bring back a consent that was withdrawn.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from consent.domain import Refusal
from privacy_contracts.consent import ConsentChanged

GRANTED = "granted"
SKEW = timedelta(minutes=1)
"""How far the clock of a caller may be ahead. Such a time is read as now: a choice from the future would shut out the
opt-outs until then."""


@dataclass(frozen=True)
class InForce:
    """The choice in force for a subject and purpose."""

    version: int
    choice: str
    received_at: datetime


@dataclass(frozen=True)
class Standing:
    """What is known about a subject and purpose before the choice."""

    last_version: int = 0
    in_force: InForce | None = None
    deleted: bool = False


@dataclass(frozen=True)
class Choose:
    """A choice as it came in. Without `received_at` it was received now."""

    subject: str
    purpose: str
    choice: str
    text_hash: str
    channel: str
    received_at: datetime | None = None
    policy_version: int | None = None


@dataclass(frozen=True)
class Chosen:
    """The choice as it is to be recorded. `event` is None where a later choice stays in force."""

    version: int
    received_at: datetime
    event: ConsentChanged | None

    @property
    def took_effect(self) -> bool:
        """Whether this choice is now the one in force."""
        return self.event is not None


def restored(said: ConsentChanged, *, words_are_known: bool) -> Chosen:
    """A choice that was said before a restore. A grant to words that nobody can show is no grant; any other holds."""
    holds = words_are_known or said.choice != "granted"
    return Chosen(said.version, said.received_at, said if holds else None)


def choose(standing: Standing, command: Choose, now: datetime) -> Chosen | Refusal:
    """Record a choice, a refusal like a grant; only one that is in force is published."""
    received_at = command.received_at or now
    if standing.deleted:
        return Refusal("deleted")
    if received_at > now + SKEW:
        return Refusal("received-in-future")
    received_at = min(received_at, now)
    version = standing.last_version + 1
    if not _prevails(command.choice, received_at, standing.in_force):
        return Chosen(version, received_at, None)
    event = ConsentChanged(
        subject_id=command.subject,
        purpose=command.purpose,
        choice=command.choice,
        version=version,
        text_hash=command.text_hash,
        channel=command.channel,
        received_at=received_at,
        policy_version=command.policy_version,
    )
    return Chosen(version, received_at, event)


def _prevails(choice: str, received_at: datetime, in_force: InForce | None) -> bool:
    if in_force is None or received_at != in_force.received_at:
        return in_force is None or received_at > in_force.received_at
    return choice != GRANTED or in_force.choice == GRANTED
