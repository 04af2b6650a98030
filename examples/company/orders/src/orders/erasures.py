"""What was deleted, in a file outside the database: a backup that is restored has it deleted once more.

Invariant: a line is on the disk before its deletion commits, and from then on the deletion stands, with its answer. It
names the person by opaque ids alone.
"""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

LEDGER = Path(os.environ["ERASURE_LEDGER"])


def note(account: str | None, orders: Sequence[UUID], kind: str, answer: dict[str, Any]) -> None:
    """Write down what is about to be deleted, and what is answered."""
    line = {"account": account, "orders": [str(each) for each in orders], "type": kind, "answer": answer}
    with LEDGER.open("a", encoding="utf-8") as ledger:
        ledger.write(f"\n{json.dumps(line)}\n")  # a line of its own, even after one that a crash tore
        ledger.flush()
        os.fsync(ledger.fileno())


def _lines() -> list[dict[str, Any]]:
    lines = LEDGER.read_text("utf-8", "replace").splitlines() if LEDGER.exists() else []
    whole: list[dict[str, Any]] = []
    for line in lines:
        with suppress(ValueError):  # empty, or torn by a crash: its deletion never committed
            whole.append(json.loads(line))
    return whole


async def repeat(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    """Have all of it deleted and answered, whatever the database knows of it."""
    lines = _lines()
    async with pool.acquire() as tx, tx.transaction():
        await tx.executemany(
            "INSERT INTO customers (account, version, gone) VALUES ($1, 0, true)"
            " ON CONFLICT (account) DO UPDATE SET name = NULL, email = NULL, gone = true",
            [(line["account"],) for line in lines if line["account"]],
        )
        await tx.execute("DELETE FROM orders WHERE id = ANY ($1)", [each for line in lines for each in line["orders"]])
        await tx.executemany(
            "INSERT INTO answers VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            [(line["answer"]["request"], line["type"], json.dumps(line["answer"])) for line in lines],
        )
