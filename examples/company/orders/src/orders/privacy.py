"""How any system takes part over Kafka: a plain client, SQL and the JSON Schemas, in one file.

Invariant: the answer is stored in the transaction that deletes, and an offset is committed after the broker has the
answer. So a kill at any point costs a repeat, and a repeat finds the stored answer and sends it under the same id.
"""

import asyncio
import json
import logging
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID, uuid5

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from asyncpg.pool import PoolConnectionProxy
from jsonschema import Draft202012Validator, ValidationError

log = logging.getLogger("orders")
env = os.environ
PREFIX = env.get("TOPIC_PREFIX", "privacy.")
REPLY_IDS = UUID("6b0f8a52-4f0e-5c39-9d0a-2f6d4a1c7e11")
READ = ("account.stated", "account.deleted", "deletion.requested")
WRITTEN = ("reply.done", "reply.retained", "reply.not_found")
SCHEMAS = {
    name: Draft202012Validator(json.loads(Path(env["SCHEMAS"], f"{name}.json").read_text("utf-8")))
    for name in READ + WRITTEN
}
UNREADABLE = (
    *(ValueError, RecursionError, ValidationError),
    *(asyncpg.DataError, asyncpg.IntegrityConstraintViolationError),
)
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


async def account_stated(tx: Connection, body: dict[str, Any]) -> None:
    """Keep the newest state; never bring back what is gone."""
    await tx.execute(
        "INSERT INTO customers (account, version, name, email) VALUES ($1, $2, $3, $4) ON CONFLICT (account)"
        " DO UPDATE SET version = excluded.version, name = excluded.name, email = excluded.email"
        " WHERE NOT customers.gone AND customers.version < excluded.version",
        *(body["id"], body["version"], body["name"], body["email"]),
    )


async def account_gone(tx: Connection, account: str) -> None:
    """Forget the customer and leave a tombstone. It locks the row that a new order needs."""
    await tx.execute(
        "INSERT INTO customers (account, version, gone) VALUES ($1, 0, true)"
        " ON CONFLICT (account) DO UPDATE SET name = NULL, email = NULL, gone = true",
        account,
    )


async def delete(tx: Connection, request: UUID, account: str) -> tuple[str, dict[str, Any]]:
    """Delete what no law makes us keep. Gives the answer's type and body; the same for every repeat."""
    await tx.execute("SELECT pg_advisory_xact_lock(hashtext($1))", account)  # one at a time, should two of us run
    stored = await tx.fetchrow("SELECT type, body FROM answers WHERE request = $1", request)
    if stored:
        return stored["type"], json.loads(stored["body"])
    log.info("request %s: deleting", request)
    known = await tx.fetchval("SELECT count(*) FROM customers WHERE account = $1 AND NOT gone", account)
    await account_gone(tx, account)
    orders = await tx.fetch("DELETE FROM orders WHERE account = $1 RETURNING id", account)
    await tx.execute("DELETE FROM invoices WHERE account = $1 AND keep_until < current_date", account)
    until = await tx.fetchval("SELECT max(keep_until) FROM invoices WHERE account = $1", account)
    await asyncio.sleep(float(env.get("TASK_DELAY", "0")))  # a slow task, for whoever wants to kill us in its middle
    now = datetime.now(UTC).isoformat()
    body: dict[str, Any] = {"request": str(request), "account": account, "system": "orders"}
    body |= {"answered_by": "system/orders", "answered_at": now}
    if until:
        kind = "reply.retained"
        body["items"] = [{"category": "invoices", "legal_basis": "us.irc.6001", "until": until.isoformat()}]
    elif known or orders:
        kind, body["records"] = "reply.done", known + len(orders)
    else:
        kind = "reply.not_found"
    await tx.execute("INSERT INTO answers VALUES ($1, $2, $3)", request, kind, json.dumps(body))
    return kind, body


async def handle(record: ConsumerRecord[bytes, bytes], pool: Pool, producer: AIOKafkaProducer) -> None:
    """One event: one transaction, then the answer, if one is due. A type that we do not know is none of ours."""
    headers = dict(record.headers)
    kind = (headers.get("ce_type") or b"").decode(errors="replace")
    if kind not in READ:
        return
    body = json.loads(record.value or b"")
    SCHEMAS[kind].validate(body)
    async with pool.acquire() as tx, tx.transaction():
        if kind == "account.stated":
            return await account_stated(tx, body)
        if kind == "account.deleted":
            return await account_gone(tx, body["id"])
        if "orders" not in body["systems"] or env.get("BREAK") == "1":
            return None
        kind, answer = await delete(tx, UUID(body["request"]), body["account"])
    SCHEMAS[kind].validate(answer)
    reply_id = uuid5(REPLY_IDS, f"{body['request']}/{body['stage']}/{body['attempt']}")
    reply = {"ce_specversion": "1.0", "ce_id": str(reply_id), "ce_type": kind, "ce_source": "orders"}
    reply |= {"ce_subject": f"account/{answer['account']}", "ce_time": answer["answered_at"]}
    reply |= {"content-type": "application/json"}
    sent = [(name, value.encode()) for name, value in reply.items()]
    sent += [(name, value) for name, value in record.headers if name == "traceparent"]
    key, value = answer["request"].encode(), json.dumps(answer).encode()
    await producer.send_and_wait(f"{PREFIX}replies.orders", value, key, headers=sent)
    log.info("request %s: answered %s", answer["request"], kind)


async def handle_or_note(record: ConsumerRecord[bytes, bytes], pool: Pool, producer: AIOKafkaProducer) -> None:
    """A record that cannot be read is noted and passed; the reminder about it comes as a new one."""
    try:
        await handle(record, pool, producer)
    except UNREADABLE as fault:
        place = (record.topic, record.partition, record.offset, type(fault).__name__)
        log.error("cannot read %s/%d at %d: %s", *place)  # never the fault's text: it may hold the record
        await pool.execute("INSERT INTO unreadable VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING", *place)


async def consume(pool: Pool, ready: set[str]) -> None:
    """Read for ever. Whatever is away is waited for."""
    login: dict[str, Any] = {"bootstrap_servers": env["KAFKA_BOOTSTRAP"], "security_protocol": "SASL_PLAINTEXT"}
    login |= {"sasl_mechanism": "SCRAM-SHA-256", "sasl_plain_username": env["KAFKA_USERNAME"]}
    login |= {"sasl_plain_password": env["KAFKA_PASSWORD"]}
    while True:
        producer = AIOKafkaProducer(**login, enable_idempotence=True)
        consumer = AIOKafkaConsumer(
            *(f"{PREFIX}accounts", f"{PREFIX}requests"),
            **login,
            group_id=f"{PREFIX}orders",
            group_instance_id=f"{socket.gethostname()}-{env['PORT']}",  # killed and back, it goes on without waiting
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            session_timeout_ms=int(env.get("SESSION_TIMEOUT_MS", "10000")),
            heartbeat_interval_ms=int(env.get("SESSION_TIMEOUT_MS", "10000")) // 4,
        )
        try:
            await producer.start()
            await consumer.start()
            ready.add("kafka")
            while True:
                for partition, records in (await consumer.getmany(timeout_ms=1000, max_records=100)).items():
                    for record in records:
                        await handle_or_note(record, pool, producer)
                    await consumer.commit({partition: records[-1].offset + 1})
        except Exception as fault:
            log.warning("waiting: %s", type(fault).__name__)
        finally:
            ready.discard("kafka")
            await consumer.stop()
            await producer.stop()
        await asyncio.sleep(1)
