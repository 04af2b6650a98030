"""Subjects: the lock under which everything about one happens, its choices and decisions, and its tombstone.

A read of somebody's choices takes an `Access` and leaves its record in the same transaction.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import uuid_utils.compat as uuids

from chassis.database import Connection
from chassis.outbox import emit
from consent.domain.choices import Choose, Chosen, InForce, Standing
from privacy_contracts.accesses import PersonalDataAccessed
from privacy_contracts.consent import DisclosureDecided


@dataclass(frozen=True)
class Access:
    """Who reads, what for, at which time, and for which case (a request's id) where there is one."""

    actor: str
    purpose: str
    at: datetime
    case: UUID | None = None


async def lock(connection: Connection, subject: str) -> bool:
    """Hold the subject until the transaction ends. Whether it was erased."""
    return bool(
        await connection.fetchval(
            """
            INSERT INTO consent.subjects (subject) VALUES ($1)
            ON CONFLICT (subject) DO UPDATE SET erased_at = subjects.erased_at
            RETURNING erased_at IS NOT NULL
            """,
            subject,
        )
    )


async def standing(connection: Connection, subject: str, purpose: str) -> Standing:
    """What is known about a subject and purpose; locks the subject.

    What is decided on it is on record by itself: the choice, or the disclosure that was allowed or refused.
    """
    deleted = await lock(connection, subject)
    row = await connection.fetchrow(
        """
        SELECT (SELECT max(version) FROM consent.choices WHERE subject = $1 AND purpose = $2) AS last_version,
               in_force.version, in_force.choice, in_force.received_at
        FROM (SELECT) AS always
        LEFT JOIN LATERAL (
            SELECT version, choice, received_at FROM consent.choices
            WHERE subject = $1 AND purpose = $2 AND took_effect
            ORDER BY version DESC LIMIT 1
        ) AS in_force ON true
        """,
        subject,
        purpose,
    )
    if row is None or row["last_version"] is None:
        return Standing(deleted=deleted)
    in_force = InForce(row["version"], row["choice"], row["received_at"]) if row["version"] else None
    return Standing(row["last_version"], in_force, deleted)


async def put_text(connection: Connection, text_hash: str, text: str) -> None:
    """Keep the words that were shown, once."""
    await connection.execute(
        "INSERT INTO consent.texts (hash, text) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING", text_hash, text
    )


async def knows_text(connection: Connection, text_hash: str) -> bool:
    """Whether the words of this hash are kept."""
    return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM consent.texts WHERE hash = $1)", text_hash))


async def put_choice(
    connection: Connection, command: Choose, chosen: Chosen, recorded_by: str, recorded_at: datetime
) -> None:
    """Record a choice, in force or not."""
    await connection.execute(
        """
        INSERT INTO consent.choices (subject, purpose, version, choice, took_effect, text_hash, channel,
                                     received_at, recorded_at, recorded_by, policy_version)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        """,
        command.subject,
        command.purpose,
        chosen.version,
        command.choice,
        chosen.took_effect,
        command.text_hash,
        command.channel,
        chosen.received_at,
        recorded_at,
        recorded_by,
        command.policy_version,
    )


async def put_decision(connection: Connection, decided: DisclosureDecided) -> None:
    """Record an answer, allowed or refused."""
    await connection.execute(
        """
        INSERT INTO consent.decisions (decision, subject, recipient, purpose, allowed, reason, consent_version,
                                       policy_version, asked_by, decided_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        """,
        decided.decision,
        decided.subject_id,
        decided.recipient,
        decided.purpose,
        decided.allowed,
        decided.reason,
        decided.consent_version,
        decided.policy_version,
        decided.asked_by,
        decided.decided_at,
    )


async def choices(
    connection: Connection, subject: str, access: Access, after: tuple[str, int], limit: int
) -> list[dict[str, Any]]:
    """A subject's choices by purpose and version, with the words shown; `after` is a purpose and version."""
    rows = await connection.fetch(
        """
        SELECT purpose, version, choice, channel, received_at, policy_version, texts.text,
               took_effect AND NOT EXISTS (
                   SELECT FROM consent.choices AS later
                   WHERE later.subject = choices.subject AND later.purpose = choices.purpose
                     AND later.took_effect AND later.version > choices.version
               ) AS in_force
        FROM consent.choices JOIN consent.texts ON texts.hash = choices.text_hash
        WHERE subject = $1 AND (purpose, version) > ($2, $3)
        ORDER BY purpose, version LIMIT $4
        """,
        subject,
        *after,
        limit,
    )
    await _record(connection, subject, access)
    return [dict(row) for row in rows]


async def _record(connection: Connection, subject: str, access: Access) -> None:
    event = PersonalDataAccessed(
        access=uuids.uuid7(),
        system="consent",
        actor=access.actor,
        action="view",
        purpose=access.purpose,
        categories=["choices"],
        subject_id=subject,
        case=access.case,
        accessed_at=access.at,
    )
    await emit(connection, event, access.at)


async def erase(connection: Connection, subject: str, now: datetime) -> int:
    """Delete everything about the subject and leave the tombstone; locks the subject.

    The number of records that are gone, the same one when asked again.
    """
    if await lock(connection, subject):
        return int(await connection.fetchval("SELECT erased_records FROM consent.subjects WHERE subject = $1", subject))
    records = int(
        await connection.fetchval(
            """
            WITH gone_choices AS (DELETE FROM consent.choices WHERE subject = $1 RETURNING subject),
                 gone_decisions AS (DELETE FROM consent.decisions WHERE subject = $1 RETURNING subject)
            SELECT (SELECT count(*) FROM gone_choices) + (SELECT count(*) FROM gone_decisions)
            """,
            subject,
        )
    )
    await connection.execute(
        "UPDATE consent.subjects SET erased_at = $2, erased_records = $3 WHERE subject = $1", subject, now, records
    )
    return records
