"""Building projections again from the log: same handlers, no inbox, nothing emitted, positions untouched."""

from collections.abc import AsyncIterator

from aiokafka import AIOKafkaConsumer, TopicPartition

from chassis.app.recovery import CannotRebuild, must_be_stopped
from chassis.app.runtime import App, Runtime, kafka
from chassis.consumer.handlers import Handlers
from chassis.consumer.records import Partition, Record, Undecodable, decode
from chassis.consumer.subscription import as_record
from chassis.database import Connection, transaction
from chassis.settings import Settings

_POLL_MS = 200


async def replay(runtime: Runtime[Settings], app: App) -> int:
    """Wipe the projected tables and apply the projections up to the stored positions, in one transaction.

    One partition follows the other, and a producer's repeat is applied again: projections bear both. Records that
    were never applied (dead, waiting, discarded) are left out. Returns how many events were applied.
    Raises `CannotRebuild` when the service runs, or when the log does not reach the stored positions.
    """
    prefix = runtime.settings.topic_prefix
    options = {"isolation_level": "read_committed", "auto_offset_reset": "earliest"}
    consumer = AIOKafkaConsumer(**kafka(runtime.settings), **options)
    await consumer.start()
    try:
        async with transaction(runtime.pool) as tx:
            await must_be_stopped(tx)
            for table in app.handlers.projected_tables:
                await tx.execute(f"DELETE FROM {table}")  # noqa: S608 - named in code
            left_out = await _never_applied(tx)
            applied = 0
            positions = "SELECT topic, partition, next_offset FROM chassis.positions WHERE topic = ANY($1)"
            for topic, partition, upto in await tx.fetch(f"{positions} FOR UPDATE", list(app.handlers.topics)):
                async for record in _records(consumer, TopicPartition(prefix + topic, partition), upto, prefix):
                    if (record.place, record.offset) not in left_out:
                        applied += await _apply(app.handlers, record, tx)
            return applied
    finally:
        await consumer.stop()


async def _never_applied(tx: Connection) -> set[tuple[Partition, int]]:
    rows = await tx.fetch(
        'SELECT topic, partition, "offset" FROM chassis.dead_letters'
        ' UNION ALL SELECT topic, partition, "offset" FROM chassis.discarded'
    )
    return {((topic, partition), offset) for topic, partition, offset in rows}


async def _records(consumer: AIOKafkaConsumer, where: TopicPartition, upto: int, prefix: str) -> AsyncIterator[Record]:
    consumer.assign([where])
    await consumer.seek_to_beginning(where)
    if (await consumer.end_offsets([where]))[where] < upto:
        raise CannotRebuild(f"{where.topic}/{where.partition} does not reach the stored position {upto}")
    while await consumer.position(where) < upto:
        for raw in (await consumer.getmany(where, timeout_ms=_POLL_MS)).get(where, []):
            if raw.offset < upto:
                yield as_record(raw, prefix)


async def _apply(handlers: Handlers, record: Record, tx: Connection) -> int:
    """1 when the record is an event that a projection handles."""
    try:
        received = decode(record, handlers.topics[record.topic], handlers.events)
    except Undecodable:
        return 0  # it was a dead letter, or a repeat of one
    if received is None or received.event.type not in handlers.projections:
        return 0
    await handlers.apply(received, tx, again=True)
    return 1
