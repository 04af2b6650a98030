"""What could not be applied, and what waits behind it on an ordered topic, until an operator replays or discards it.

A key is held while any row of it is here. Whoever finds a key held locks its rows, so that a replay that drains the
key and a batch that adds to it see each other: nothing is left behind, nothing overtakes.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from chassis.consumer.handlers import Handlers
from chassis.consumer.records import Record, code_of, decode, identity
from chassis.database import Connection, Pool, columns, transaction
from chassis.outbox import emit
from chassis.sealing import KeyErased, Sealing
from privacy_contracts.accesses import OperatorActed
from privacy_contracts.envelope import LARGEST_BODY
from privacy_contracts.topology import Topic

_CONTEXT = "chassis.dead_letters.body"
_COLUMNS = 'topic, partition, "offset", key, headers, body, sealed_for, reason, written_at'
_PERSON = re.compile(r"[A-Za-z0-9_-]{1,56}")


class NoSuchLetter(Exception):
    """No dead letter has this id."""


@dataclass(frozen=True)
class Letter:
    """A dead letter with its body. `owner` is the person it is sealed for; `erased`: the body went with their key."""

    id: UUID
    record: Record
    reason: str
    owner: str | None
    erased: bool


async def insert(tx: Connection, sealing: Sealing, topic: Topic, record: Record, reason: str | None) -> None:
    """Keep a record with the code of its failure, or None when it waits behind another of its key.

    A body with personal data is sealed for the person whose key the record has, and goes when that person is erased;
    without that person's key it is not kept, nor is one that is larger than any event.
    """
    body, owner = record.value if len(record.value or b"") <= LARGEST_BODY else None, None
    if topic.personal and body is not None:
        key = (record.key or b"").decode("latin-1")
        if reason == "foreign-key" or not _PERSON.fullmatch(key):
            body = None
        else:
            owner = f"{topic.key}/{key}"
            body = await sealing.seal(tx, owner, body.decode("latin-1"), _CONTEXT)
    headers = json.dumps([[name, None if value is None else value.hex()] for name, value in record.headers]).encode()
    row = record.topic, record.partition, record.offset, record.key, headers, body, owner, reason, record.timestamp
    values = "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10"
    put = f"INSERT INTO chassis.dead_letters ({_COLUMNS}, id) VALUES ({values}) ON CONFLICT DO NOTHING"  # noqa: S608 - constants
    await tx.execute(put, *row, uuid7())


async def held(tx: Connection, keys: Sequence[tuple[str, bytes]]) -> set[tuple[str, bytes]]:
    """Which of these (topic, key) are held; their rows stay locked until the transaction ends.

    What was erased with a person's key holds nothing: of it nothing can be applied any more.
    """
    rows = await tx.fetch(
        "SELECT topic, key FROM chassis.dead_letters"
        " WHERE (topic, key) IN (SELECT * FROM unnest($1::text[], $2::bytea[]))"
        " AND (sealed_for IS NULL OR sealed_for IN (SELECT owner FROM keys.owners)) ORDER BY id FOR UPDATE",
        *columns(keys, 2),
    )
    return {(row["topic"], row["key"]) for row in rows}


async def oldest_hold(tx: Connection) -> float:
    """Seconds since the oldest letter was written; 0 when there is none."""
    age = await tx.fetchval("SELECT extract(epoch FROM now() - min(recorded_at)) FROM chassis.dead_letters")
    return float(age or 0)


async def count(tx: Connection) -> float:
    """How many letters there are, without those that only wait."""
    return float(await tx.fetchval("SELECT count(*) FROM chassis.dead_letters WHERE reason IS NOT NULL"))


async def listing(tx: Connection, after: UUID | None = None, limit: int | None = None) -> list[dict[str, Any]]:
    """Dead letters behind `after`, oldest first, with how many records wait behind each. No bodies."""
    rows = await tx.fetch(
        'SELECT d.id, d.topic, d.partition, d."offset", d.reason, d.recorded_at,'
        " (SELECT count(*) FROM chassis.dead_letters AS w"
        "  WHERE w.topic = d.topic AND w.key = d.key AND w.reason IS NULL) AS waiting"
        " FROM chassis.dead_letters AS d"
        " WHERE d.reason IS NOT NULL AND ($1::uuid IS NULL OR d.id > $1) ORDER BY d.id LIMIT $2",
        *(after, limit),
    )
    return [dict(row) for row in rows]


@dataclass(frozen=True)
class Done:
    """The letter that was acted upon, how many events were applied, and why the next behind it is a dead letter now."""

    letter: Letter
    applied: int = 0
    stuck: str | None = None


async def act(pool: Pool, sealing: Sealing, handlers: Handlers, acted: OperatorActed) -> Done:
    """Show a letter, apply it, or drop it, as `acted` says, which is published with it; then go on behind it.

    What waits is applied in order, up to the first that fails. Raises `NoSuchLetter`, and whatever the letter itself
    fails at: then nothing was done.
    """
    async with transaction(pool) as tx:
        letter = await _load(tx, sealing, acted.dead_letter)
        await emit(tx, acted.model_copy(update={"subject_id": letter.owner}), acted.acted_at)
        if acted.action == "dead_letter_shown":
            return Done(letter)
        if replayed := acted.action == "dead_letter_replayed":
            await _apply(tx, handlers, letter)
        else:
            where = letter.record.topic, letter.record.partition, letter.record.offset
            drop = 'INSERT INTO chassis.discarded (topic, partition, "offset") VALUES ($1, $2, $3)'
            await tx.execute(f"{drop} ON CONFLICT DO NOTHING", *where)
            if name := identity(letter.record, handlers.topics[letter.record.topic]):  # a mended one may come by it
                await tx.execute("DELETE FROM chassis.inbox WHERE source = $1 AND id = $2", *name)
        following = await _remove(tx, letter)
    applied, stuck = await _drain(pool, sealing, handlers, following)
    return Done(letter, replayed + applied, stuck)


async def _drain(pool: Pool, sealing: Sealing, handlers: Handlers, letter_id: UUID | None) -> tuple[int, str | None]:
    """Apply what waits, one by one, each as the dead one of its key; stop at one that fails."""
    applied, stuck = 0, None
    while letter_id and not stuck:
        async with transaction(pool) as tx:
            letter = await _load(tx, sealing, letter_id)
            try:
                async with tx.transaction():
                    await _apply(tx, handlers, letter)
                letter_id = await _remove(tx, letter)
                applied += 1
            except Exception as error:
                stuck = code_of(error)
                await tx.execute("UPDATE chassis.dead_letters SET reason = $2 WHERE id = $1", letter_id, stuck)
    return applied, stuck


async def _apply(tx: Connection, handlers: Handlers, letter: Letter) -> None:
    """Nothing is left to apply of what was erased."""
    if letter.erased:
        return
    if received := decode(letter.record, handlers.topics[letter.record.topic], handlers.events):
        await handlers.apply(received, tx)


async def _load(tx: Connection, sealing: Sealing, letter_id: UUID) -> Letter:
    find = f"SELECT {_COLUMNS} FROM chassis.dead_letters WHERE id = $1 AND reason IS NOT NULL FOR UPDATE"  # noqa: S608 - constants
    row = await tx.fetchrow(find, letter_id)
    if row is None:
        raise NoSuchLetter(f"no dead letter has the id {letter_id}")
    topic, partition, offset, key, headers, body, owner, reason, written_at = row
    erased = False
    if owner is not None:
        try:
            body = (await sealing.open(tx, owner, body, _CONTEXT)).encode("latin-1")
        except KeyErased:
            body, erased = None, True
    given = tuple((name, None if value is None else bytes.fromhex(value)) for name, value in json.loads(headers))
    record = Record(topic, partition, offset, key, body, given, written_at)
    return Letter(letter_id, record, reason, owner, erased)


async def _remove(tx: Connection, letter: Letter) -> UUID | None:
    """Delete a letter, and make the next record of its key the dead one: a crash leaves nothing behind nobody."""
    await tx.execute("DELETE FROM chassis.dead_letters WHERE id = $1", letter.id)
    following: UUID | None = await tx.fetchval(
        "UPDATE chassis.dead_letters SET reason = 'resuming' WHERE id = ("
        " SELECT id FROM chassis.dead_letters WHERE topic = $1 AND key = $2 AND reason IS NULL"
        ' ORDER BY "offset" LIMIT 1 FOR UPDATE) RETURNING id',
        *(letter.record.topic, letter.record.key),
    )
    return following
