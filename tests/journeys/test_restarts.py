"""Starting in any order, without Kafka or Postgres, twice at a time; and building projections again from the log."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest

from chassis.database import open_pool, transaction
from chassis.sealing import Sealing
from chassis.settings import keys_by_version
from local_stack.layout import PROCESSES
from local_stack.ports import free_port
from local_stack.state import keys_file, ledger_file

from ..invariants import assert_all_hold
from ..log import read
from ..people import Company, Customer, eventually

PROJECTED = {"dsr": ("dsr.accounts", "accounts.email"), "notifier": ("notifier.accounts", "accounts.email")}
"""The projected table of a service with its sealed column `email`, and what that column is sealed as."""
ON_CHASSIS = ("dsr", "consent", "notifier", "audit", "accounts")


async def test_everything_starts_in_any_order_and_projections_come_back_from_the_log(company: Company) -> None:
    """Stopped as a whole, projections wiped and replayed, started from the last to the first."""
    stack = company.stack
    kept = await company.register("pam")
    gone = await company.register("quin", order=True)
    request = await company.delete(gone)
    refused, said = await company.run("dsr", "replay")
    assert refused != 0
    assert "stop it" in said

    try:
        await _stopped_and_replayed(company, kept)
    finally:
        await company.off_loop(stack.stop, "sink", "issuer")
        await company.off_loop(stack.start, *reversed(PROCESSES))
        await company.off_loop(stack.wait, *PROCESSES, seconds=90)
    await company.register("rita", order=True)
    await assert_all_hold(company, {request: gone})


async def _stopped_and_replayed(company: Company, kept: Customer) -> None:
    stack = company.stack
    await company.off_loop(stack.stop, *reversed([name for name in PROCESSES if name not in ("sink", "issuer")]))
    before = {service: await _opened(company, service) for service in PROJECTED}
    assert kept.email in {row["email"] for row in before["dsr"]}
    mails, events = len(await company.mails()), len(await read(stack))
    for service in PROJECTED:
        await company.rows(service, "UPDATE chassis.leases SET expires_at = now()")  # as ten seconds would
    replayed = await asyncio.gather(*(company.run(service, "replay") for service in PROJECTED))
    assert [status for status, _ in replayed] == [0, 0], replayed
    assert {service: await _opened(company, service) for service in PROJECTED} == before
    emitted = [await company.value(each, "SELECT count(*) FROM chassis.outbox") for each in ON_CHASSIS]
    assert (len(await company.mails()), len(await read(stack)), sum(emitted)) == (mails, events, 0)


async def _opened(company: Company, service: str) -> list[dict[str, Any]]:
    """A projected table, its sealed column opened with the service's own keys."""
    table, context = PROJECTED[service]
    here = company.stack.directory
    masters = {int(version): key for version, key in keys_by_version(keys_file(here, service)).items()}
    sealing = Sealing(masters, ledger_file(here, service))
    pool = await open_pool(company.stack.database_url(service), service)
    try:
        async with transaction(pool) as tx:
            rows = [dict(row) for row in await tx.fetch(f"SELECT * FROM {table} ORDER BY id")]  # noqa: S608 - constants
            for row in rows:
                row["email"] = await sealing.open(tx, f"account/{row['id']}", row["email"], context)
        return rows
    finally:
        await pool.close()


class Door:
    """A port that leads to a server, or to nothing while it is closed."""

    def __init__(self, host: str, port: int) -> None:
        self.port, self._to = free_port(), (host, port)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Let connections through."""
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", self.port)

    async def close(self) -> None:
        """Break those that are open, let no more through."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._open):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._to)
        self._open |= {writer, back}
        with contextlib.suppress(OSError):
            await asyncio.gather(_copy(reader, back), _copy(there, writer))
        self._open -= {writer, back}


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def _doors(company: Company) -> AsyncIterator[tuple[Door, Door]]:
    kafka = urlsplit(f"//{company.stack.deployment.servers.kafka.bootstrap}")
    postgres = company.stack.deployment.servers.postgres
    doors = Door(postgres.host, postgres.port), Door(kafka.hostname or "", kafka.port or 0)
    try:
        yield doors
    finally:
        for door in doors:
            await door.close()


async def test_a_service_waits_for_postgres_and_kafka_and_says_so(company: Company) -> None:
    """Both are away at the start, come one after the other, and the database goes once more."""
    stack = company.stack
    async with _doors(company) as (postgres, kafka):
        url = urlsplit(stack.database_url("consent"))
        moved = urlunsplit(url._replace(netloc=f"{url.username}:{url.password}@127.0.0.1:{postgres.port}"))
        away = {"DATABASE_URL": moved, "KAFKA_BOOTSTRAP": f"127.0.0.1:{kafka.port}"}
        await company.off_loop(stack.restart, "consent", away)
        try:
            await eventually("consent to miss its database", lambda: _lacks(company, "database"))
            assert (await company.http.get(f"{stack.url('consent')}/livez")).status_code == 200
            await postgres.open()
            await eventually("consent to miss Kafka alone", lambda: _lacks(company, "consumer"))
            await kafka.open()
            await company.off_loop(stack.wait, "consent", seconds=40)
            await postgres.close()
            answer = await company.http.get(f"{stack.url('consent')}/v1/policies")
            assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
            await postgres.open()
            await company.off_loop(stack.wait, "consent", seconds=40)
            customer = await company.register("sue")
            assert (await company.choose(customer, "granted"))["version"] == 1
        finally:
            await company.off_loop(stack.restart, "consent")
            await company.off_loop(stack.wait, "consent")


async def _lacks(company: Company, part: str) -> bool:
    try:
        answer = await company.http.get(f"{company.stack.url('consent')}/readyz")
    except httpx.TransportError:
        return False
    missing = answer.json()["missing"]
    return part in str(missing) and (part == "database" or "database" not in str(missing))


@contextlib.asynccontextmanager
async def _second(company: Company, name: str) -> AsyncIterator[None]:
    """A further instance of a service, beside the one of the deployment."""
    port = free_port()
    env = company.stack.env(name) | {"PORT": str(port), "INSTANCE": "second"}
    nowhere = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", name, "serve"), env=env, stdout=nowhere, stderr=nowhere
    )
    try:

        async def ready() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return (await company.http.get(f"http://127.0.0.1:{port}/livez")).status_code == 200
            return False

        await eventually(f"a second {name}", ready)
        yield
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.promise(67)
async def test_a_relay_paused_in_mid_publish_cannot_bring_a_deleted_account_back(company: Company) -> None:
    """It wakes up with an old state of the account in hand, after its successor has published the deletion."""
    stack = company.stack
    customer = await company.register("tess", order=True)
    log = stack.log("accounts")
    before = log.stat().st_size
    paused = {"INSTANCE": "first", "CRASH_POINT": "relay.in-transaction:8:stop"}  # after the heartbeats of its start
    await company.off_loop(stack.restart, "accounts", paused)
    try:
        await company.off_loop(stack.wait, "accounts")
        await eventually("the relay to pause with a state in hand", lambda: _corrected(company, customer, log, before))
        async with _second(company, "accounts"):
            request, _ = await company.begin(customer.email)
            await company.closed(customer.email, request, 90)
            asleep = log.stat().st_size
            await company.off_loop(stack.signal, "accounts", signal.SIGCONT)
            await company.off_loop(stack.wait, "accounts")
            await eventually(
                "the first to see that it is not the one any more", lambda: _said(log, asleep, "relay waits")
            )
    finally:
        await company.off_loop(stack.signal, "accounts", signal.SIGCONT)
        await company.off_loop(stack.restart, "accounts")
        await company.off_loop(stack.wait, "accounts")
    kinds = [each.type for each in await read(stack, "accounts") if each.key == customer.account.encode()]
    assert kinds == [*["account.stated"] * (len(kinds) - 1), "account.deleted"]
    await assert_all_hold(company, {request: customer})


async def _corrected(company: Company, customer: Customer, log: Path, before: int) -> bool:
    """Correct the name again; whether that was the correction at which the relay paused."""
    if await _said(log, before, "relay.in-transaction: paused"):
        return True
    url = f"{company.stack.url('accounts')}/v1/customers/{customer.account}"
    with contextlib.suppress(httpx.ReadTimeout):
        await company.http.patch(
            url, json={"name": "Tess"}, headers=await company.bearer("website", "accounts"), timeout=1
        )
    return False


async def _said(log: Path, after: int, words: str) -> bool:
    return words.encode() in (await asyncio.to_thread(log.read_bytes))[after:]
