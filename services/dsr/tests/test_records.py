"""What is recorded by construction, and what never stands anywhere in clear."""

import ast
import logging
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import dsr as package
from dsr.queries import requests

SOURCE = Path(package.__file__).parent
ANN = "ann.unmistakable@example.com"


def calls(tree: ast.AST, owner: str, method: str) -> int:
    return sum(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == method
        and ast.unparse(node.func.value).endswith(owner)
        for node in ast.walk(tree)
    )


def test_sql_stands_in_queries_only() -> None:
    for file in SOURCE.rglob("*.py"):
        if "queries" in file.parts:
            continue
        tree = ast.parse(file.read_text("utf-8"))
        assert not any(calls(tree, "tx", method) for method in ("execute", "fetch", "fetchrow", "fetchval")), file


def test_every_read_of_an_address_takes_an_access() -> None:
    tree = ast.parse((SOURCE / "queries/personal.py").read_text("utf-8"))
    readers = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.AsyncFunctionDef) and not node.name.startswith("_") and node.name != "disclosed_on_page"
    ]
    assert {node.name for node in readers} == {"account_address", "typed_address", "final_address", "answers"}
    for node in readers:
        assert "access" in {argument.arg for argument in node.args.args}


def test_no_other_query_gives_out_an_address_sealed_or_not() -> None:
    sealed = r"\b(email|typed_address|final_address)\b"
    gives_out = re.compile(rf"\b(SELECT|RETURNING)\s+(\*|(?:(?!\bFROM\b).)*{sealed})", re.S)
    giving = {
        file.name
        for file in (SOURCE / "queries").glob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and gives_out.search(node.value)
    }
    assert giving == {"personal.py"}
    assert not {"typed_address", "final_address"} & {each.strip() for each in requests._COLUMNS.split(",")}


async def test_each_step_of_a_request_that_reads_an_address_records_who_read_it(dsr: Any) -> None:
    """The walk over routes, commands and timers; the fixture compares every opened value with the records."""
    await dsr.customer(email=ANN)
    request, link = await dsr.confirmed(ANN)
    await dsr.http.get(link)
    await dsr.pass_time(timedelta(days=3))
    await dsr.http.get(link)
    for system in ("orders", "marketing", "support", "consent", "notifier", "audit", "accounts"):
        await dsr.reply(request, system)
        await dsr.relay()
    await dsr.message(request, "completion")
    await dsr.http.get(link)
    await dsr.http.get(f"/v1/requests/{request}", headers=dsr.headers("website", "website"))
    await dsr.http.get("/v1/tasks", headers=dsr.headers("marketing", "system"))
    await dsr.http.get("/v1/findings", headers=dsr.headers("auditor-01", "auditor"))
    await dsr.pass_time(timedelta(days=30))
    recorded = [
        (each["actor"], each["purpose"], *each["categories"]) for each in await dsr.events("personal_data.accessed")
    ]
    assert recorded == [
        ("service/notifier", "notice", "contact"),  # whom to send the link to
        ("person", "request", "requests"),
        ("service/dsr", "request", "contact"),  # the point of no return holds the final address
        ("person", "request", "requests"),
        ("service/notifier", "notice", "contact"),  # whom to send the last mail to
        ("service/notifier", "notice", "requests"),  # and what it says
        ("person", "request", "requests"),
    ]


async def test_after_the_end_no_trace_of_the_address_is_left(dsr: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await dsr.customer(email=ANN)
    await dsr.closed(ANN)
    await dsr.pass_time(timedelta(days=8))
    tables = await dsr.pool.fetch(
        "SELECT schemaname || '.' || tablename AS name FROM pg_tables WHERE schemaname IN ('dsr', 'chassis', 'keys')"
        " AND has_table_privilege(format('%I.%I', schemaname, tablename), 'SELECT')"
    )
    for table in tables:
        for row in await dsr.pool.fetch(f"SELECT t::text AS text FROM {table['name']} AS t"):  # noqa: S608 - from the catalogue
            assert "unmistakable" not in row["text"]
            assert b"unmistakable".hex() not in row["text"]
    sealed = await dsr.pool.fetchval(
        "SELECT count(*) FROM dsr.requests WHERE typed_address IS NOT NULL OR final_address IS NOT NULL"
        " OR fingerprint IS NOT NULL"
    )
    assert sealed == 0
    assert await dsr.pool.fetchval("SELECT count(*) FROM dsr.accounts") == 0
    assert await dsr.pool.fetchval("SELECT count(*) FROM keys.owners") == 0
    assert await dsr.pool.fetchval("SELECT count(*) FROM dsr.messages") == 0
    logged = [each.getMessage() for each in caplog.records if each.name != "httpx"]  # the test's own client
    assert not any("unmistakable" in line or "/r/" in line for line in logged)
