"""Persons without an account: whose orders they are is asked of dsr, over HTTP, and kept nowhere."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from local_stack import DEFAULT_DIRECTORY, databases, servers
from privacy_contracts.replies import ReplyDone, ReplyNotFound, ReplyRetained

from .conftest import Answer, Bench, deletion, until
from .platform import TOKEN


@pytest.fixture(autouse=True)
def undisturbed(bench: Bench) -> None:
    """Dsr answers, and has not been asked yet."""
    bench.platform.status.clear()
    bench.platform.problem = "identifiers-gone"
    bench.platform.asked.clear()
    bench.platform.refused = 0


@pytest.fixture
def log(tmp_path: Path) -> Iterator[IO[str]]:
    """What a process says."""
    with Path(tmp_path, "log").open("w+") as file:
        yield file


def address() -> str:
    return f"Eve.{uuid4().hex[:8]}@Example.com"


async def guest(bench: Bench, email: str, **more: object) -> None:
    answer = await bench.order(None, email=email, name="Eve Guest", **more)
    assert answer.status_code == 201


async def ask(bench: Bench, account: str | None, email: str, request: UUID | None = None, attempt: int = 1) -> UUID:
    """Have dsr ask about a person who proved this address."""
    asked = deletion(account, request=request, attempt=attempt)
    bench.platform.people[asked.request] = [email]
    await bench.publish(asked)
    return asked.request


async def held(bench: Bench, text: str) -> list[str]:
    """The tables in which a text stands, whatever its case."""
    tables = [name for (name,) in await bench.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'orders'")]
    query = "SELECT 1 FROM orders.{} AS t WHERE t::text ILIKE '%' || $1 || '%'"
    return [table for table in tables if await bench.rows(query.format(table), text)]


def without_account(answer: Answer, request: UUID) -> bool:
    return (answer.headers["ce_subject"], answer.reply.account) == (f"request/{request}", None)


@pytest.mark.promise(67)
async def test_a_guests_orders_go_whatever_the_case_and_nothing_leads_to_the_invoice(
    bench: Bench, log: IO[str]
) -> None:
    eve, other, former = address(), address(), address()
    async with bench.orders(log=log):
        await guest(bench, eve)
        await guest(bench, eve.upper(), invoice=False)
        await guest(bench, other)
        kept = await ask(bench, None, eve.swapcase())
        unknown = await ask(bench, None, address())
        account = await bench.customer()
        await guest(bench, former, invoice=False)
        await bench.order(account, invoice=False)
        customers = await ask(bench, account, former.lower())
        [retained] = await bench.answered(kept)
        [not_found] = await bench.answered(unknown)
        [done] = await bench.answered(customers)
        bench.platform.status["identifiers"] = 410  # as it is once the answer is recorded
        asked = len(bench.platform.asked)
        await ask(bench, None, eve, request=kept, attempt=2)
        first, again = await bench.answered(kept, 2)
    log.seek(0)
    said = log.read().lower()
    assert isinstance(retained.reply, ReplyRetained)
    assert [item.category for item in retained.reply.items] == ["invoices"]
    assert isinstance(not_found.reply, ReplyNotFound)
    assert without_account(retained, kept)
    assert without_account(not_found, unknown)
    assert isinstance(done.reply, ReplyDone)
    assert (done.reply.account, done.reply.records) == (account, 3)  # the customer, an order, and one as a guest
    assert again.body == first.body
    assert len(bench.platform.asked) == asked  # nothing is fetched for a repeat
    assert await held(bench, eve) == await held(bench, former) == []
    assert await held(bench, other) == ["orders"]
    assert (
        await bench.rows("SELECT name, account FROM invoices ORDER BY number DESC LIMIT 2") == [("Eve Guest", None)] * 2
    )
    assert "example.com" not in said
    assert "eve" not in said
    assert TOKEN not in said


async def test_an_order_that_cannot_be_kept_is_refused_and_told_to_no_log(bench: Bench, log: IO[str]) -> None:
    """Half of a pair of UTF-16 is no text: Postgres takes none, and its driver would repeat all of it."""
    order = {"email": address(), "name": "Eve", "item": "Tea", "cents": 990, "ship_to": "1 Sample Street"}
    async with bench.orders(log=log), httpx.AsyncClient() as http:
        for field in ("name", "item", "ship_to"):
            body = json.dumps(order | {field: "Unmistakable \ud800"})
            assert (await http.post(f"{bench.url}/orders", content=body)).status_code == 422
    log.seek(0)
    assert "Unmistakable" not in log.read()


async def test_dsr_away_is_waited_for_without_a_transaction_a_wrong_answer_or_a_lost_place(bench: Bench) -> None:
    eve = address()
    async with bench.orders() as process:
        await guest(bench, eve)
        bench.platform.status["token"] = 503
        request = await ask(bench, None, eve)
        await until(lambda: _refused(bench, 1))
        bench.platform.status.clear()
        bench.platform.status["identifiers"] = 500
        await until(lambda: _asked(bench, 1))
        bench.platform.blocks = True
        bench.platform.released.clear()
        await until(lambda: _asked(bench, 2))
        assert await _transactions(bench) == 0
        assert await bench.is_ready(process)
        assert not await bench.has_read_all()
        assert await bench.answers(request) == []
        assert await held(bench, eve) == ["orders"]
        bench.platform.status.clear()
        bench.platform.blocks = False
        bench.platform.released.set()
        [answer] = await bench.answered(request)
        await until(bench.has_read_all)
    assert isinstance(answer.reply, ReplyRetained)
    assert await held(bench, eve) == []


async def _refused(bench: Bench, times: int) -> bool:
    return bench.platform.refused >= times


async def _asked(bench: Bench, times: int) -> bool:
    return len(bench.platform.asked) >= times


async def _transactions(bench: Bench) -> int:
    """How many transactions the order system has open."""
    [(count,)] = await bench.rows(
        "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'virtualxid'"
        " AND datname = current_database() AND usename = 'orders'"
    )
    return int(count)


async def test_killed_between_fetch_and_deletion_it_asks_again_and_answers_once(bench: Bench) -> None:
    eve = address()
    async with bench.orders() as process:
        await guest(bench, eve)
        async with _locked(bench, "orders"):
            request = await ask(bench, None, eve)

            async def in_between() -> bool:
                return bool(bench.platform.asked) and await _transactions(bench) == 1

            await until(in_between)
            process.kill()
            process.wait()
    assert await held(bench, eve) == ["orders"]
    assert await bench.answers(request) == []
    async with bench.orders():
        [answer] = await bench.answered(request)
    assert isinstance(answer.reply, ReplyRetained)
    assert bench.platform.asked == [request] * 2
    assert await held(bench, eve) == []


@asynccontextmanager
async def _locked(bench: Bench, table: str) -> AsyncIterator[None]:
    """Nobody gets at the table."""
    connection = await asyncpg.connect(bench.owner_url)
    try:
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


async def test_where_no_address_is_told_the_account_has_to_do_and_a_guest_is_not_answered(bench: Bench) -> None:
    eve = address()
    async with bench.orders():
        await guest(bench, eve)
        for status, problem in (
            (404, "not-asked"),
            (410, "identifiers-gone"),
            (404, "not-found"),
        ):  # the last: release 1
            account = await bench.customer()
            await bench.order(account)
            bench.platform.status["identifiers"], bench.platform.problem = status, problem
            unnamed, named = await ask(bench, None, eve), await ask(bench, account, eve)
            [answer] = await bench.answered(named)
            await until(bench.has_read_all)
            assert isinstance(answer.reply, ReplyRetained)
            assert await bench.holds("orders", account) == 0
            assert await bench.answers(unnamed) == []
            assert await held(bench, eve) == ["orders"]
        bench.platform.status.clear()
        await ask(bench, None, eve, request=unnamed, attempt=2)
        [late] = await bench.answered(unnamed)
    assert isinstance(late.reply, ReplyRetained)
    assert await held(bench, eve) == []


async def test_another_servers_404_in_the_place_of_dsr_costs_no_guests_order(bench: Bench) -> None:
    eve = address()
    async with bench.orders():
        account = await bench.customer()
        await guest(bench, eve)
        bench.platform.status["identifiers"], bench.platform.problem = 404, "no-such-page"
        request = await ask(bench, account, eve)
        await until(lambda: _asked(bench, 2))
        assert await bench.answers(request) == []
        bench.platform.status.clear()
        [answer] = await bench.answered(request)
    assert isinstance(answer.reply, ReplyRetained)
    assert await held(bench, eve) == []


async def test_a_database_of_the_earlier_version_is_brought_up_and_that_version_still_runs_on_it(bench: Bench) -> None:
    found = servers.start(DEFAULT_DIRECTORY / "test").postgres
    database = f"orders_test_{uuid4().hex[:8]}"
    await databases.create_database(found.url, "orders", database)
    url = databases.url(found.port, "orders_owner", found.roles["orders_owner"], database)
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(Path(__file__).with_name("schema_1.sql").read_text("utf-8"))
        for version in (1, 2):
            if version == 2:
                env = os.environ | bench.environment | {"OWNER_DATABASE_URL": url}
                subprocess.run([sys.executable, "-m", "orders", "migrate"], env=env, check=True)  # noqa: ASYNC221
            await connection.execute(
                "INSERT INTO orders (id, account, item, cents, ship_to) VALUES ($1, $2, $3, $4, $5)",
                *(uuid4(), "a1", "Tea", 1, "here"),
            )
            await connection.execute(
                "INSERT INTO invoices (account, name, address, cents) VALUES ($1, $2, $3, $4) RETURNING number",
                *("a1", "Ann", "here", 1),
            )
        assert len(await connection.fetch("DELETE FROM orders WHERE account = $1 RETURNING id", "a1")) == 2
        assert await connection.fetchval("SELECT count(*) FROM invoices WHERE account = $1", "a1") == 2
    finally:
        await connection.close()
        await databases.drop_database(found.url, database)


@pytest.mark.promise(67)
async def test_what_a_restored_backup_brings_back_is_deleted_again_and_answered_the_same(bench: Bench) -> None:
    """Dsr, which does not tell the guest's address a second time, is not asked."""
    eve, tables = address(), ("orders", "customers", "answers")
    async with bench.orders():
        await guest(bench, eve)
        account = await bench.customer()
        await bench.order(account)
        backup = [await bench.rows(f"SELECT t::text FROM {table} AS t") for table in tables]  # noqa: S608 - constants
        requests = [await ask(bench, None, eve), await ask(bench, account, address())]
        [first], _ = [await bench.answered(each) for each in requests]
    for table, rows in zip(tables, backup, strict=True):
        restore = f"INSERT INTO {table} SELECT (t::{table}).* FROM unnest($1::text[]) AS t"  # noqa: S608 - constants
        await bench.rows(f"TRUNCATE {table}")
        await bench.rows(restore, [text for (text,) in rows])
    assert await held(bench, eve) == ["orders"]
    async with bench.orders():
        assert await held(bench, eve) == []
        assert await bench.holds("orders", account) == 0
        assert (await bench.order(account)).status_code == 404
        asked = len(bench.platform.asked)
        await ask(bench, None, eve, request=requests[0], attempt=2)
        _, again = await bench.answered(requests[0], 2)
    assert again.body == first.body
    assert len(bench.platform.asked) == asked
