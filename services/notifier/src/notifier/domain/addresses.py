"""Where a mail goes, and the record of reading it."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from notifier.domain import ACTOR, SYSTEM
from notifier.domain.notices import Notice
from privacy_contracts.accesses import PersonalDataAccessed


@dataclass(frozen=True)
class Undeliverable:
    """Why a mail cannot be sent; `reason` is a code."""

    reason: str


def mailbox(address: str) -> str | None:
    """The address as mail servers want it (its domain in ASCII, RFC 5890), or nothing when no mail can be sent to it.

    One mailbox, no control characters, no quoting, within the lengths of RFC 5321 4.5.3.1.
    """
    local, at, domain = address.strip().rpartition("@")
    plain = all(each.isprintable() and each not in ' <>,;:\\"()[]@' for each in local + domain)
    if not (local and at and plain and len(local) <= 64):
        return None
    try:
        ascii_domain = domain.encode("idna").decode("ascii")
    except UnicodeError:  # an empty or overlong label
        return None
    whole = f"{local}@{ascii_domain}"
    return whole if ascii_domain and len(whole) <= 254 else None


def recipient(address: str | None) -> str | Undeliverable:
    """Where a mail goes. `address` is None where the account, or the key to its address, is gone."""
    if address is None:
        return Undeliverable("account_deleted")
    return mailbox(address) or Undeliverable("no_address")


@dataclass(frozen=True)
class Access:
    """Who reads personal data, what for, at which time, and for which case (a notice)."""

    actor: str
    purpose: str
    at: datetime
    case: UUID


def to_write(notice: Notice, now: datetime) -> Access:
    """We ourselves read an address, to write to it."""
    return Access(ACTOR, "notice", now, notice.id)


def accessed(subject: str, access: Access, read: UUID) -> PersonalDataAccessed:
    """The record of an address that was opened."""
    return PersonalDataAccessed(
        access=read,
        system=SYSTEM,
        actor=access.actor,
        action="view",
        purpose=access.purpose,
        categories=["contact"],
        subject_id=subject,
        case=access.case,
        accessed_at=access.at,
    )
