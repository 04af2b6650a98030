"""All reads of personal data. Each takes an `Access` and leaves its record in the transaction.

What a page shows is recorded here too.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from uuid_utils.compat import uuid7

from chassis.database import Connection
from chassis.outbox import emit
from chassis.sealing import KeyErased, Sealing
from dsr.domain.deletion import SYSTEM
from dsr.domain.requests import Request
from dsr.domain.tasks import Task
from dsr.queries import tasks
from privacy_contracts.accesses import PersonalDataAccessed
from privacy_contracts.disclosures import PersonalDataDisclosed

EMAIL = "accounts.email"
TYPED = "requests.typed_address"
FINAL = "requests.final_address"


@dataclass(frozen=True)
class Access:
    """Who reads, what for (a purpose of `PersonalDataAccessed`), and in which request."""

    actor: str
    purpose: str
    case: UUID


@dataclass(frozen=True)
class Sealed:
    """A sealed value with what opens it."""

    owner: str
    value: bytes | None
    context: str


def owner_of_account(account: str) -> str:
    """Under whose key the projection's address is sealed."""
    return f"account/{account}"


def owner_of_request(request_id: UUID) -> str:
    """Under whose key a request's own addresses are sealed."""
    return f"request/{request_id}"


async def account_address(tx: Connection, sealing: Sealing, account: str, access: Access, now: datetime) -> str | None:
    """The account's known primary address, None when the account is not known (any more)."""
    sealed = await tx.fetchval("SELECT email FROM dsr.accounts WHERE id = $1", account)
    return await _open(tx, sealing, Sealed(owner_of_account(account), sealed, EMAIL), f"account/{account}", access, now)


async def typed_address(
    tx: Connection, sealing: Sealing, request_id: UUID, access: Access, now: datetime
) -> str | None:
    """The address as somebody typed it, None once it is destroyed."""
    sealed = await tx.fetchval("SELECT typed_address FROM dsr.requests WHERE id = $1", request_id)
    owner = owner_of_request(request_id)
    return await _open(tx, sealing, Sealed(owner, sealed, TYPED), f"request/{request_id}", access, now)


async def final_address(
    tx: Connection, sealing: Sealing, request: Request, access: Access, now: datetime
) -> str | None:
    """Where the last mail goes, None once it is destroyed."""
    sealed = await tx.fetchval("SELECT final_address FROM dsr.requests WHERE id = $1", request.id)
    owner = owner_of_request(request.id)
    return await _open(tx, sealing, Sealed(owner, sealed, FINAL), request.subject, access, now)


async def answers(tx: Connection, request: Request, access: Access, now: datetime) -> tuple[Task, ...]:
    """What each system did about the person's data, and what it keeps; none before the point of no return."""
    await _record(tx, request.subject, ["requests"], access, now)
    return await tasks.of_request(tx, request.id)


async def disclosed_on_page(tx: Connection, request: Request, now: datetime) -> None:
    """The person is about to see what is held about them: recorded with the answer that shows it."""
    await emit(
        tx,
        PersonalDataDisclosed(
            disclosure=uuid7(),
            system=SYSTEM,
            subject_id=request.subject,
            recipient="subject",
            recipient_class="subject",
            purpose="request",
            categories=["requests"],
            basis="request_of_subject",
            method="page",
            case=request.id,
            disclosed_at=now,
        ),
        now,
    )


async def _open(
    tx: Connection, sealing: Sealing, sealed: Sealed, subject: str, access: Access, now: datetime
) -> str | None:
    if sealed.value is None:
        return None
    try:
        text = await sealing.open(tx, sealed.owner, sealed.value, sealed.context)
    except KeyErased:
        return None
    await _record(tx, subject, ["contact"], access, now)
    return text


async def _record(tx: Connection, subject: str, categories: list[str], access: Access, now: datetime) -> None:
    await emit(
        tx,
        PersonalDataAccessed(
            access=uuid7(),
            system=SYSTEM,
            actor=access.actor,
            action="view",
            purpose=access.purpose,
            categories=categories,
            subject_id=subject,
            case=access.case,
            accessed_at=now,
        ),
        now,
    )
