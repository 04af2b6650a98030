"""What happens to an account: opened, put right, disclosed or kept back, deleted. No I/O; the time is an argument.

Invariant: each published state of an account has a higher version than the one before, and after `AccountDeleted`
there is none.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID, uuid5

from privacy_contracts import Event
from privacy_contracts.accounts import AccountDeleted, AccountStated
from privacy_contracts.disclosures import DisclosureRefused, PersonalDataDisclosed
from privacy_contracts.fields import Personal
from privacy_contracts.replies import ReplyDone, ReplyNotFound
from privacy_contracts.requests import DeletionRequested

SYSTEM = "accounts"
ACTOR = f"system/{SYSTEM}"
_LOCAL = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"(?P<local>{_LOCAL})@(?:{_LABEL}\.)+(?=[A-Za-z]){_LABEL}")


@dataclass(frozen=True)
class Account:
    """An account as it stands. `offers`: the company may write to it about its own goods."""

    id: str
    version: int
    email: str
    name: str
    region: str | None
    offers: bool
    registered_at: datetime


@dataclass(frozen=True)
class Held:
    """An account that is held while something happens to it: no more than that it is there, and its version."""

    id: str
    version: int


@dataclass(frozen=True)
class Deletion:
    """What is left of a deleted account. `request` is None where its customer closed it."""

    id: str
    version: int
    request: UUID | None
    deleted_at: datetime


@dataclass(frozen=True)
class Decision:
    """Consent's answer: may this account's data go to this recipient for this purpose?"""

    decision: UUID
    allowed: bool
    reason: str
    consent_version: int | None = None
    policy_version: int | None = None


@dataclass(frozen=True)
class Delivery:
    """What a feed keeps about an account: whether its file may name it, and consent's reason and decision."""

    allowed: bool
    reason: str
    decision: UUID | None


@dataclass(frozen=True)
class Feed:
    """Data for an advertising partner, as an operator asked for it."""

    id: UUID
    recipient: str
    purpose: str


def address(typed: str) -> str | None:
    """A mail address without blanks around it, or None: no quotes, no comments (RFC 5321 4.5.3.1 for the lengths).

    No wider than what dsr takes: whoever has an account can ask for its deletion.
    """
    trimmed = typed.strip(" \t")
    found = _ADDRESS.fullmatch(trimmed)
    return trimmed if found and len(trimmed) <= 254 and len(found["local"]) <= 64 else None


def stated(account: Account) -> AccountStated:
    """The account's full state, as an event."""
    return AccountStated(
        id=account.id,
        version=account.version,
        email=Personal[str](account.email),
        name=Personal[str](account.name),
        region=account.region,
        registered_at=account.registered_at,
    )


def rectify(
    account: Account, *, email: str | None, name: str | None, region: str | None, offers: bool | None
) -> Account:
    """The account with what was wrong put right; None leaves a value as it is."""
    given = {"email": email, "name": name, "region": region, "offers": offers}
    changed = {field: value for field, value in given.items() if value is not None}
    return replace(account, version=account.version + 1, **changed)  # type: ignore[arg-type]  # each keeps its type


def is_asked(requested: DeletionRequested) -> bool:
    """A system acts only when it is named."""
    return SYSTEM in requested.systems


def close(held: Held, now: datetime) -> AccountDeleted:
    """The account's end, with its next version."""
    return AccountDeleted(id=held.id, version=held.version + 1, deleted_at=now)


def delete(held: Held | None, deleted: Deletion | None, requested: DeletionRequested, now: datetime) -> Sequence[Event]:
    """The events of a deletion: the account's end, and the answer.

    A reminder gets the answer that was given before. An account that its customer closed meanwhile was deleted then.
    """
    if held is not None:
        return [close(held, now), _done(requested, now)]
    if deleted is not None and deleted.request in (None, requested.request):
        return [_done(requested, deleted.deleted_at)]
    return [
        ReplyNotFound(
            request=requested.request, account=requested.account, system=SYSTEM, answered_by=ACTOR, answered_at=now
        )
    ]


def _done(requested: DeletionRequested, at: datetime) -> ReplyDone:
    return ReplyDone(
        request=requested.request,
        account=requested.account,
        system=SYSTEM,
        answered_by=ACTOR,
        answered_at=at,
        records=1,
    )


def delivery(decision: Decision | None) -> Delivery:
    """What a feed keeps of consent's answer. Where none ever came, nothing is disclosed."""
    if decision is None:
        return Delivery(False, "unanswered", None)
    return Delivery(decision.allowed, decision.reason, decision.decision)


def disclose(feed: Feed, account: str, decision: Decision, now: datetime) -> PersonalDataDisclosed | DisclosureRefused:
    """What consent's answer makes of an account in a feed. The id is the same for every repeat."""
    disclosure = uuid5(feed.id, account)
    subject = f"account/{account}"
    if not decision.allowed:
        return DisclosureRefused(
            disclosure=disclosure,
            system=SYSTEM,
            subject_id=subject,
            recipient=feed.recipient,
            purpose=feed.purpose,
            reason=decision.reason,
            decision=decision.decision,
            refused_at=now,
        )
    return PersonalDataDisclosed(
        disclosure=disclosure,
        system=SYSTEM,
        subject_id=subject,
        recipient=feed.recipient,
        purpose=feed.purpose,
        recipient_class="third_party",
        categories=["identity", "contact"],
        basis="consent",
        method="file",
        case=feed.id,
        decision=decision.decision,
        consent_version=decision.consent_version,
        policy_version=decision.policy_version,
        disclosed_at=now,
    )
