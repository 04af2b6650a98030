"""How any system takes part over Kafka: a plain client, SQL and the JSON Schemas, in one file.

Invariant: the answer is stored in the transaction that deletes, and an offset is committed after the broker has the
answer. So a kill at any point costs a repeat, which sends the stored answer, the same to the byte, under the same id.
The person's addresses are asked for before that transaction, used in it, and kept nowhere.
"""

import asyncio
import json
import logging
import os
import socket
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID, uuid5

import asyncpg
import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from asyncpg.pool import PoolConnectionProxy
from jsonschema import Draft202012Validator, ValidationError

from orders import erasures

log = logging.getLogger("orders")
env = os.environ
PREFIX = env.get("TOPIC_PREFIX", "privacy.")
LOGIN = {"grant_type": "client_credentials", "client_id": env["CLIENT_ID"], "client_secret": env["CLIENT_SECRET"]}
ISSUER, DSR = env["ISSUER"], env["DSR_URL"]
NO_ADDRESS = ("/problems/not-asked", "/problems/identifiers-gone", "/problems/not-found")
"""How dsr says that it has no address for us; the last is release 1's word for a question that it does not know."""
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


async def identifiers(request: UUID) -> list[str]:
    """Ask dsr whom a request is about: the addresses that the person proved, in lower case. While it is away, wait.

    None of them when it says that it has none for us: we are not asked (404), our answer is recorded, or the person
    proved none (410). Then the account's id has to do. A 404 of anybody else is as good as no answer.
    """
    while True:
        try:
            async with httpx.AsyncClient(timeout=10) as http:
                issuer = await http.get(f"{ISSUER}/.well-known/openid-configuration")
                endpoint = issuer.raise_for_status().json()["token_endpoint"]
                granted = await http.post(endpoint, data=LOGIN | {"audience": "dsr"})
                bearer = {"Authorization": f"Bearer {granted.raise_for_status().json()['access_token']}"}
                answer = await http.get(f"{DSR}/v1/requests/{request}/identifiers", headers=bearer)
                if answer.status_code in {404, 410} and answer.json()["type"] in NO_ADDRESS:
                    return []
                found = answer.raise_for_status().json()["identifiers"]
                return [each["value"].lower() for each in found if each["kind"] == "email"]
        except (httpx.HTTPError, httpx.InvalidURL, AttributeError, KeyError, TypeError, ValueError) as fault:
            log.warning("request %s: waiting for dsr: %s", request, type(fault).__name__)
        await asyncio.sleep(1)


async def remove(tx: Connection, account: str | None, emails: list[str]) -> tuple[int, list[UUID], date | None]:
    """Delete what no law makes us keep of the account, and of a guest with one of these addresses.

    Gives how many records went, which orders were among them, and until when an invoice stays.
    """
    known = await tx.fetchval("SELECT count(*) FROM customers WHERE account = $1 AND NOT gone", account)
    if account:
        await account_gone(tx, account)
    orders = await tx.fetch(
        "DELETE FROM orders WHERE account = $1 OR email = ANY ($2) RETURNING id, invoice", account, emails
    )
    theirs = (account, [order["invoice"] for order in orders])
    await tx.execute(
        "DELETE FROM invoices WHERE (account = $1 OR number = ANY ($2)) AND keep_until < current_date", *theirs
    )
    until = await tx.fetchval("SELECT max(keep_until) FROM invoices WHERE account = $1 OR number = ANY ($2)", *theirs)
    return known + len(orders), [order["id"] for order in orders], until


async def delete(tx: Connection, request: UUID, account: str | None, emails: list[str]) -> tuple[str, dict[str, Any]]:
    """Delete, and store the answer. Gives its type and body; the same for every repeat."""
    whose = account or str(request)
    await tx.execute("SELECT pg_advisory_xact_lock(hashtext($1))", whose)  # one at a time, should two of us run
    stored = await tx.fetchrow("SELECT type, body FROM answers WHERE request = $1", request)
    if stored:
        return stored["type"], json.loads(stored["body"])
    log.info("request %s: deleting", request)
    records, orders, until = await remove(tx, account, emails)
    await asyncio.sleep(float(env.get("TASK_DELAY", "0")))  # a slow task, for whoever wants to kill us in its middle
    now = datetime.now(UTC).isoformat()
    body: dict[str, Any] = {"request": str(request), "system": "orders"} | ({"account": account} if account else {})
    body |= {"answered_by": "system/orders", "answered_at": now}
    if until:
        kind = "reply.retained"
        body["items"] = [{"category": "invoices", "legal_basis": "us.irc.6001", "until": until.isoformat()}]
    elif records:
        kind, body["records"] = "reply.done", records
    else:
        kind = "reply.not_found"
    erasures.note(account, orders, kind, body)
    await tx.execute("INSERT INTO answers VALUES ($1, $2, $3)", request, kind, json.dumps(body))
    return kind, body


async def deletion_requested(
    record: ConsumerRecord[bytes, bytes], body: dict[str, Any], pool: Pool, producer: AIOKafkaProducer
) -> None:
    """If we are named: learn whom it is about, delete in one transaction, then answer."""
    if "orders" not in body["systems"] or env.get("BREAK") == "1":
        return
    request, account = UUID(body["request"]), body.get("account")
    repeat = await pool.fetchval("SELECT true FROM answers WHERE request = $1", request)
    emails = [] if repeat else await identifiers(request)  # before the transaction: dsr may be away for hours
    if not (repeat or account or emails):
        log.warning("request %s: there is nobody to look for", request)
        return  # a reminder, should one come, has us ask anew
    async with pool.acquire() as tx, tx.transaction():
        kind, answer = await delete(tx, request, account, emails)
    SCHEMAS[kind].validate(answer)
    reply_id = uuid5(REPLY_IDS, f"{body['request']}/{body['stage']}/{body['attempt']}")
    reply = {"ce_specversion": "1.0", "ce_id": str(reply_id), "ce_type": kind, "ce_source": "orders"}
    reply |= {"ce_subject": f"account/{account}" if account else f"request/{request}"}
    reply |= {"ce_time": answer["answered_at"], "content-type": "application/json"}
    sent = [(name, value.encode()) for name, value in reply.items()]
    sent += [(name, value) for name, value in record.headers if name == "traceparent"]
    key, value = str(request).encode(), json.dumps(answer, sort_keys=True).encode()  # jsonb keeps no order
    await producer.send_and_wait(f"{PREFIX}replies.orders", value, key, headers=sent)
    log.info("request %s: answered %s", request, kind)


async def handle(record: ConsumerRecord[bytes, bytes], pool: Pool, producer: AIOKafkaProducer) -> None:
    """One event. A type that we do not know is none of ours."""
    headers = dict(record.headers)
    kind = (headers.get("ce_type") or b"").decode(errors="replace")
    if kind not in READ:
        return
    body = json.loads(record.value or b"")
    SCHEMAS[kind].validate(body)
    if kind == "deletion.requested":
        await deletion_requested(record, body, pool, producer)
    else:
        async with pool.acquire() as tx, tx.transaction():
            await (account_stated(tx, body) if kind == "account.stated" else account_gone(tx, body["id"]))


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
            max_poll_interval_ms=2**31 - 1,  # waiting for dsr or the database is no reason to leave the group
            heartbeat_interval_ms=int(env.get("SESSION_TIMEOUT_MS", "10000")) // 4,
        )
        try:
            await erasures.repeat(pool)
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
