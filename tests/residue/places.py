"""Everywhere that a deployment writes: databases, their files and write-ahead log, Kafka's segments, its own folder.

A place is named by what it is and whose: `dump orders orders.invoices`, `heap dsr keys.owners`, `wal`,
`topic accounts`, `file mail/3.json`. Not searched are memory, and blocks of the disk that no file has any more. What
Postgres compressed, in rows over two kilobytes, is seen in dumps alone.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
from aiokafka.record.memory_records import MemoryRecords

from local_stack.layout import MIGRATED
from local_stack.postgres import binaries
from local_stack.stack import Stack

from .scanner import Hit, Scanner

Blobs = Iterable[tuple[str, bytes]]
Found = dict[str, set[tuple[Hit, bytes]]]
"""What was found, by place."""

_SECTION = re.compile(rb"^COPY (\S+) \(.*?^\\\.$", re.DOTALL | re.MULTILINE)
_BYTEA = re.compile(rb"\\x([0-9a-f]{2,})")
_KINDS = {"r": "heap", "i": "index", "t": "toast"}


async def look(stack: Stack, scanner: Scanner) -> Found:
    """Look everywhere, once everything that is in memory is written."""
    found: Found = defaultdict(set)
    superuser = await asyncpg.connect(stack.deployment.servers.postgres.url)
    try:
        await superuser.execute("CHECKPOINT")
    finally:
        await superuser.close()
    blobs = [blob for each in await asyncio.gather(*(_database(stack, each) for each in MIGRATED)) for blob in each]
    names = {
        path: name
        for each in await asyncio.gather(*(_relations(stack, one) for one in MIGRATED))
        for path, name in each
    }
    for source in (blobs, _postgres(stack, names), kafka(stack), _files(stack)):
        await asyncio.to_thread(_search, source, scanner, found)
    return dict(found)


def _search(source: Blobs, scanner: Scanner, found: Found) -> None:
    for place, blob in source:
        if hits := scanner.forms_in(blob):
            found[place] |= hits


def superuser_url(stack: Stack, service: str) -> str:
    """A service's database, as the super user."""
    server, own = stack.deployment.servers.postgres, stack.database_url(service)
    return server.url.rpartition("/")[0] + "/" + own.rpartition("/")[2]


async def dump(stack: Stack, service: str) -> bytes:
    """A database as `pg_dump` writes it: SQL, bytea in hex."""
    process = await asyncio.create_subprocess_exec(
        *(binaries() / "pg_dump", superuser_url(stack, service)), stdout=asyncio.subprocess.PIPE
    )
    text, _ = await process.communicate()
    assert process.returncode == 0
    return text


async def _database(stack: Stack, service: str) -> list[tuple[str, bytes]]:
    text = await dump(stack, service)
    blobs = [(f"dump {service} the rest", _SECTION.sub(b"", text))]
    for section in _SECTION.finditer(text):
        place = f"dump {service} {section[1].decode()}"
        inside = b"\n".join(bytes.fromhex(each.decode()) for each in _BYTEA.findall(section[0]) if len(each) % 2 == 0)
        blobs += [(place, inside), *((place, text) for text in _unescaped(section[0]))]
    connection = await asyncpg.connect(superuser_url(stack, service))
    try:
        rows = await connection.fetch("SELECT pg_stats::text FROM pg_stats")
    finally:
        await connection.close()
    told = "\n".join(row[0] for row in rows).encode()
    return [*blobs, *((f"statistics {service}", text) for text in _unescaped(told))]


def _unescaped(text: bytes) -> Iterator[bytes]:
    """A text, and what it is when the escapes of a dump, and of JSON and arrays in it, are taken away."""
    for _ in range(4):
        yield text
        text = text.replace(b"\\\\", b"\\")


async def _relations(stack: Stack, service: str) -> list[tuple[str, str]]:
    connection = await asyncpg.connect(superuser_url(stack, service))
    try:
        rows = await connection.fetch(
            "SELECT pg_relation_filepath(c.oid) AS path, c.relkind::text AS kind,"
            " n.nspname || '.' || c.relname AS name,"
            " (SELECT oid::regclass::text FROM pg_class WHERE reltoastrelid = c.oid) AS owner"
            " FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'i', 't')"
        )
    finally:
        await connection.close()
    return [(row["path"], f"{_KINDS[row['kind']]} {service} {row['owner'] or row['name']}") for row in rows]


def _postgres(stack: Stack, names: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    data = Path(stack.deployment.servers.directory) / "postgres" / "data"
    for file in sorted(data.rglob("*")):
        path = str(file.relative_to(data))
        folder = file.relative_to(data).parts[0]
        place = "wal" if folder == "pg_wal" else names.get(re.sub(r"(_\w+)?(\.\d+)?$", "", path), f"postgres {folder}")
        yield from _read(place, file)


def kafka(stack: Stack, only: str = "") -> Iterator[tuple[str, bytes]]:
    """What the broker keeps, of one topic or of all: files as they are, and the records of their batches."""
    folders = f"{stack.deployment.prefix}{only}-*/*" if only else "**/*"
    for file in sorted((Path(stack.deployment.servers.directory) / "kafka" / "data").glob(folders)):
        topic = file.parent.name.rpartition("-")[0].removeprefix(stack.deployment.prefix)
        for place, raw in _read(f"topic {topic}" if topic else "kafka", file):
            yield place, raw
            if ".log" in file.name:
                yield place, b"\0".join(_records(raw))


def _records(raw: bytes) -> Iterator[bytes]:
    """What a segment's batches hold, packed or not."""
    batches = MemoryRecords(raw)
    while batches.has_next():
        for record in batches.next_batch() or ():
            yield from (part for part in (record.key, record.value) if part is not None)
            yield from (value for _, value in record.headers if value is not None)
            yield from (name.encode() for name, _ in record.headers)


def _files(stack: Stack) -> Iterator[tuple[str, bytes]]:
    """The deployment's own folder. Lines that mail or an encoder broke are searched whole too."""
    servers = Path(stack.deployment.servers.directory)
    searched_above = (servers / "postgres" / "data", servers / "kafka" / "data")
    for file in sorted(stack.directory.rglob("*")):
        if not any(file.is_relative_to(each) for each in searched_above):
            for place, raw in _read(f"file {file.relative_to(stack.directory)}", file):
                yield place, raw
                yield place, re.sub(rb"=\r?\n", b"", raw)
                yield place, re.sub(rb"\r?\n", b"", raw)


def _read(place: str, file: Path) -> Iterator[tuple[str, bytes]]:
    """A file's bytes; nothing of one that is a folder or a socket, is gone meanwhile, or holds nothing but zeros."""
    with suppress(FileNotFoundError, IsADirectoryError):
        if not file.is_socket() and (raw := file.read_bytes()).strip(b"\0"):
            yield place, raw
