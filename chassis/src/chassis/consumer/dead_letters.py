"""What could not be applied, and what waits behind it on an ordered topic, until an operator replays or discards it.

A key is held while any row of it is here. Whoever finds a key held locks its rows, so that a replay that drains the
key and a batch that adds to it see each other: nothing is left behind, nothing overtakes.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from chassis.consumer.handlers import Handlers
from chassis.consumer.records import Record, code_of, decode
from chassis.database import Connection, Pool, transaction
from chassis.sealing import KeyErased, Sealing
from privacy_contracts.topology import Topic

_CONTEXT = "chassis.dead_letters.body"
_COLUMNS = 'id, topic, partition, "offset", key, headers, body, sealed_for, reason, written_at'


@dataclass(frozen=True)
class OperatorAct:
    """What an operator did with a dead letter; the service records it. `reason` is a code."""

    dead_letter: UUID
    action: str
    reason: str
    actor: str
    at: datetime


Audit = Callable[[Connection, OperatorAct], Awaitable[None]]


async def insert(tx: Connection, sealing: Sealing, topic: Topic, record: Record, reason: str | None) -> None:
    """Keep a record with the code of its failure, or None when it waits behind another of its key.

    Bodies of topics with personal data are sealed under a key of their own.
    """
    letter_id, body, owner = uuid7(), record.value, None
    if topic.personal and body is not None:
        owner = f"dead-letter/{letter_id}"
        body = await sealing.seal(tx, owner, body.decode("latin-1"), _CONTEXT)
    await tx.execute(
        f"INSERT INTO chassis.dead_letters ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",  # noqa: S608 - constants
        letter_id,
        record.topic,
        record.partition,
        record.offset,
        record.key,
        json.dumps([[name, None if value is None else value.hex()] for name, value in record.headers]).encode(),
        body,
        owner,
        reason,
        record.timestamp,
    )


async def held(tx: Connection, keys: Sequence[tuple[str, bytes]]) -> set[tuple[str, bytes]]:
    """Which of these (topic, key) are held; their rows stay locked until the transaction ends."""
    rows = await tx.fetch(
        "SELECT topic, key FROM chassis.dead_letters"
        " WHERE (topic, key) IN (SELECT * FROM unnest($1::text[], $2::bytea[])) ORDER BY id FOR UPDATE",
        [topic for topic, _ in keys],
        [key for _, key in keys],
    )
    return {(row["topic"], row["key"]) for row in rows}


async def oldest_hold(tx: Connection) -> float:
    """Seconds since the oldest letter was written; 0 when there is none."""
    age = await tx.fetchval("SELECT extract(epoch FROM now() - min(recorded_at)) FROM chassis.dead_letters")
    return float(age or 0)


async def count(tx: Connection) -> float:
    """How many letters there are, without those that only wait."""
    return float(await tx.fetchval("SELECT count(*) FROM chassis.dead_letters WHERE reason IS NOT NULL"))


async def listing(tx: Connection) -> list[dict[str, Any]]:
    """Every dead letter, oldest first, with how many records wait behind it. No bodies."""
    rows = await tx.fetch(
        'SELECT d.id, d.topic, d.partition, d."offset", d.reason, d.recorded_at,'
        " (SELECT count(*) FROM chassis.dead_letters AS w"
        "  WHERE w.topic = d.topic AND w.key = d.key AND w.reason IS NULL) AS waiting"
        " FROM chassis.dead_letters AS d WHERE d.reason IS NOT NULL ORDER BY d.recorded_at, d.id"
    )
    return [dict(row) for row in rows]


class NoSuchLetter(Exception):
    """No dead letter has this id."""


@dataclass(frozen=True)
class Letter:
    """A dead letter with its body."""

    id: UUID
    record: Record
    reason: str


async def show(pool: Pool, sealing: Sealing, audit: Audit, act: OperatorAct) -> Letter:
    """One letter with its body. Looking is recorded before it is shown. Raises `NoSuchLetter`."""
    async with transaction(pool) as tx:
        found = await _load(tx, sealing, act.dead_letter)
        await audit(tx, act)
    return found


async def replay(pool: Pool, sealing: Sealing, handlers: Handlers, audit: Audit, act: OperatorAct) -> int:
    """Apply a letter, then what waits behind it, in order. Returns how many were applied.

    Stops at the first that still fails, which then is the dead one; its error is raised. Raises `NoSuchLetter`.
    """
    async with transaction(pool) as tx:
        letter = await _load(tx, sealing, act.dead_letter)
        await _apply(tx, handlers, letter.record)
        following = await _remove(tx, letter)
        await audit(tx, act)
    return 1 + await _drain(pool, sealing, handlers, following)


async def discard(pool: Pool, sealing: Sealing, handlers: Handlers, audit: Audit, act: OperatorAct) -> int:
    """Drop a letter and apply what waits behind it. Returns how many of those were applied. Raises `NoSuchLetter`."""
    async with transaction(pool) as tx:
        letter = await _load(tx, sealing, act.dead_letter)
        following = await _remove(tx, letter)
        await tx.execute(
            'INSERT INTO chassis.discarded (topic, partition, "offset") VALUES ($1, $2, $3)',
            letter.record.topic,
            letter.record.partition,
            letter.record.offset,
        )
        await audit(tx, act)
    return await _drain(pool, sealing, handlers, following)


async def _drain(pool: Pool, sealing: Sealing, handlers: Handlers, letter_id: UUID | None) -> int:
    """Apply what waits, one by one, each as the dead one of its key; stop at one that fails, and raise its error."""
    applied = 0
    while letter_id:
        failure: Exception | None = None
        async with transaction(pool) as tx:
            letter = await _load(tx, sealing, letter_id)
            try:
                async with tx.transaction():
                    await _apply(tx, handlers, letter.record)
                letter_id = await _remove(tx, letter)
            except Exception as error:
                await tx.execute("UPDATE chassis.dead_letters SET reason = $2 WHERE id = $1", letter_id, code_of(error))
                failure = error
        if failure is not None:
            raise failure
        applied += 1
    return applied


async def _apply(tx: Connection, handlers: Handlers, record: Record) -> None:
    if received := decode(record, handlers.topics[record.topic], handlers.events):
        await handlers.apply(received, tx)


async def _load(tx: Connection, sealing: Sealing, letter_id: UUID) -> Letter:
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM chassis.dead_letters WHERE id = $1 AND reason IS NOT NULL FOR UPDATE",  # noqa: S608 - constants
        letter_id,
    )
    if row is None:
        raise NoSuchLetter(f"no dead letter has the id {letter_id}")
    body = row["body"]
    if row["sealed_for"] is not None:
        try:
            body = (await sealing.open(tx, row["sealed_for"], body, _CONTEXT)).encode("latin-1")
        except KeyErased:
            body = None
    headers = tuple(
        (name, None if value is None else bytes.fromhex(value)) for name, value in json.loads(row["headers"])
    )
    record = Record(row["topic"], row["partition"], row["offset"], row["key"], body, headers, row["written_at"])
    return Letter(letter_id, record, row["reason"])


async def _remove(tx: Connection, letter: Letter) -> UUID | None:
    """Delete a letter, and make the next record of its key the dead one: a crash leaves nothing behind nobody.

    Its key is deleted without a line in the ledger: if this is rolled back, the letter must still open.
    """
    await tx.execute("DELETE FROM keys.owners WHERE owner = $1", f"dead-letter/{letter.id}")
    await tx.execute("DELETE FROM chassis.dead_letters WHERE id = $1", letter.id)
    following: UUID | None = await tx.fetchval(
        "UPDATE chassis.dead_letters SET reason = 'resuming' WHERE id = ("
        " SELECT id FROM chassis.dead_letters WHERE topic = $1 AND key = $2 AND reason IS NULL"
        ' ORDER BY "offset" LIMIT 1 FOR UPDATE) RETURNING id',
        letter.record.topic,
        letter.record.key,
    )
    return following
