"""One value planted in every kind of place, in every form that the place can hold: what the scanner has to see.

It is planted before any service runs, so that none publishes, applies or answers it.
"""

import asyncio
import json
from functools import cache
from pathlib import Path
from uuid import uuid4

import asyncpg
from aiokafka import AIOKafkaProducer
from confluent_kafka.admin import NewTopic

from local_stack import servers
from local_stack.databases import SERVICES
from local_stack.stack import Stack

from ..log import login
from .forms import BINARY, KINDS, forms
from .places import superuser_url

VALUE = f"Plànted.{uuid4().hex[:10]}=x+ta'g@Example.org"
IN = "dsr"
"""Whose database has every kind of place; the others have two tables."""
OTHERS = tuple(service for service in SERVICES if service != IN)
TEXT_ONLY = (
    f"dump {IN} residue.texts",
    f"heap {IN} residue.texts",
    f"index {IN} residue.texts_form",
    f"dump {IN} residue.documents",
    f"heap {IN} residue.documents",
    f"statistics {IN}",
    *(f"dump {IN} chassis.{table}" for table in ("jobs", "timers", "answers")),
    *(f"heap {IN} chassis.{table}" for table in ("jobs", "timers", "answers")),
    *(f"{how} {service} residue.texts" for how in ("dump", "heap") for service in OTHERS),
    "file logs/soft-breaks",
    "file logs/lines",
)
"""Places that hold text: no bytes that are none."""
FOLDERS = ("logs", "feeds", "marketing", "erasures", "spans", "mail", "servers/postgres", "servers/kafka")
"""The last two are those of the servers' own logs."""
TOPICS = ("residue.plain", "residue.packed-key", "residue.packed-value", "residue.packed-header")
PLACES = (
    *TEXT_ONLY,
    f"dump {IN} residue.bytes",
    f"heap {IN} residue.bytes",
    f"index {IN} residue.bytes_form",
    f"heap {IN} residue.gone",
    f"toast {IN} residue.large",
    *(f"{how} {IN} chassis.{table}" for how in ("dump", "heap") for table in ("outbox", "dead_letters")),
    *(f"{how} {service} residue.bytes" for how in ("dump", "heap") for service in OTHERS),
    "wal",
    *(f"topic {topic}" for topic in TOPICS),
    *(f"file {folder}/planted" for folder in FOLDERS),
)
TWO_TABLES = """
CREATE SCHEMA residue;
CREATE TABLE residue.texts (form text);
CREATE TABLE residue.bytes (form bytea);
"""
MORE_TABLES = """
ALTER TABLE residue.texts ALTER form SET STATISTICS 1000;
CREATE INDEX texts_form ON residue.texts (form);
CREATE TABLE residue.documents (form jsonb);
CREATE INDEX bytes_form ON residue.bytes (form);
CREATE TABLE residue.gone (form bytea) WITH (autovacuum_enabled = off);
CREATE TABLE residue.large (form bytea);
ALTER TABLE residue.large ALTER form SET STORAGE EXTERNAL;
"""


@cache
def expected(place: str, kind: str) -> set[bytes]:
    """What the scanner has to find in a place."""
    return set() if place in TEXT_ONLY and kind in BINARY else forms(VALUE)[kind]


async def plant(stack: Stack) -> None:
    """Put the value everywhere."""
    every = [form for kind in KINDS for form in sorted(forms(VALUE)[kind])]
    texts = [form for kind in KINDS if kind not in BINARY for form in sorted(forms(VALUE)[kind])]
    in_database = [form.decode() for form in texts]
    elsewhere = (_in_two_tables(stack, service, every, in_database) for service in OTHERS)
    await asyncio.gather(_in_postgres(stack, every, in_database), _in_kafka(stack, every), *elsewhere)
    for folder in FOLDERS:
        _write(stack.directory / folder / "planted", b"\n".join(every))
    _write(stack.directory / "logs" / "soft-breaks", b"\n\n".join(form[:9] + b"=\r\n" + form[9:] for form in texts))
    _write(stack.directory / "logs" / "lines", b"\n\n".join(form[:9] + b"\r\n" + form[9:] for form in texts))


async def uproot(stack: Stack) -> None:
    """Take away what a service would act on, or could not read."""
    connection = await asyncpg.connect(superuser_url(stack, IN))
    try:
        await connection.execute("TRUNCATE chassis.outbox, chassis.dead_letters")
    finally:
        await connection.close()
    (stack.directory / "mail" / "planted").unlink()


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


async def _in_two_tables(stack: Stack, service: str, every: list[bytes], texts: list[str]) -> None:
    connection = await asyncpg.connect(superuser_url(stack, service))
    try:
        await connection.execute(TWO_TABLES)
        await connection.execute("INSERT INTO residue.texts SELECT unnest($1::text[])", texts)
        await connection.execute("INSERT INTO residue.bytes SELECT unnest($1::bytea[])", every)
    finally:
        await connection.close()


async def _in_postgres(stack: Stack, every: list[bytes], texts: list[str]) -> None:
    await _in_two_tables(stack, IN, every, texts)
    connection = await asyncpg.connect(superuser_url(stack, IN))
    try:
        await connection.execute(MORE_TABLES)
        await connection.execute("ANALYZE residue.texts")
        await connection.execute("INSERT INTO residue.gone SELECT unnest($1::bytea[])", every)
        await connection.execute("DELETE FROM residue.gone")
        await connection.execute(
            "INSERT INTO residue.large SELECT f || decode(repeat('00', 4000), 'hex') FROM unnest($1::bytea[]) AS f",
            every,
        )
        document = json.dumps(texts, ensure_ascii=False)
        await connection.execute("INSERT INTO residue.documents SELECT jsonb_array_elements($1::jsonb)", document)
        for into in (
            "chassis.jobs (kind, key, payload, deadline, trace) SELECT 'planted', n::text, form, now(), '{}'",
            "chassis.timers (kind, key, payload, due_at, trace) SELECT 'planted', n::text, form, now(), '{}'",
            "chassis.answers (caller, route, key, body, body_hash) SELECT 'planted', '', n::text, form, ''",
        ):
            numbered = "jsonb_array_elements($1::jsonb) WITH ORDINALITY AS t (form, n)"
            await connection.execute(f"INSERT INTO {into} FROM {numbered}", document)
        await connection.execute(
            "INSERT INTO chassis.outbox (event_id, topic, key, headers, body)"
            " SELECT gen_random_uuid(), 'planted', '', '{}', unnest($1::bytea[])",
            every,
        )
        await connection.execute(
            'INSERT INTO chassis.dead_letters (id, topic, partition, "offset", headers, written_at, body)'
            " SELECT gen_random_uuid(), 'planted', 0, n, '[]', now(), form"
            " FROM unnest($1::bytea[]) WITH ORDINALITY AS t (form, n)",
            every,
        )
    finally:
        await connection.close()


async def _in_kafka(stack: Stack, every: list[bytes]) -> None:
    deployment = stack.deployment
    names = [deployment.prefix + topic for topic in TOPICS]
    client = servers.admin(deployment.servers)
    for future in client.create_topics([NewTopic(name, 1, 1) for name in names]).values():
        future.result()
    for name in names:
        packed = "gzip" if "packed" in name else None
        producer = AIOKafkaProducer(**login(stack), compression_type=packed, linger_ms=20)
        await producer.start()
        try:
            sent = []
            for form in every:
                key = form if name.endswith("key") else None
                headers = [("planted", form)] if name.endswith("header") else []
                value = form if name.endswith(("value", "plain")) else b""
                sent.append(await producer.send(name, value, key, headers=headers))
            await asyncio.gather(*sent)
        finally:
            await producer.stop()
