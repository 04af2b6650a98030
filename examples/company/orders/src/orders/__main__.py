"""The company's order system itself: `python -m orders` serves, `python -m orders migrate` makes its tables.

Its HTTP side is for the shop's inner network: it takes orders, and says whether it is ready.
"""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg
import uvicorn
from jsonschema import Draft202012Validator
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from orders.privacy import Pool, consume

env = os.environ
AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
LARGEST_BODY = 16 * 1024
TEXT = {"type": "string", "minLength": 1, "pattern": "^[^\\u0000\\ud800-\\udfff]*$"}
"""Postgres stores no NUL and no half of a pair; its driver would repeat the whole text in an error, and so in a log."""
_ATOM, _LABEL = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+", r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
ADDRESS = rf"^(?=[^@]{{1,64}}@){_ATOM}(\.{_ATOM})*@({_LABEL}\.)+(?=[A-Za-z]){_LABEL}\Z"
"""No wider than what dsr takes: whoever orders as a guest can ask for deletion."""
ORDER = Draft202012Validator(
    {
        "type": "object",
        "required": ["item", "cents", "ship_to"],
        "oneOf": [{"required": ["account"]}, {"required": ["email"]}],
        "dependentRequired": {"email": ["name"]},
        "properties": {
            "account": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,48}$"},
            "email": {"type": "string", "pattern": ADDRESS, "maxLength": 254},
            "name": TEXT | {"maxLength": 200},
            "item": TEXT | {"maxLength": 200},
            "cents": {"type": "integer", "minimum": 0, "maximum": 10**12},
            "ship_to": TEXT | {"maxLength": 500},
            "invoice": {"type": "boolean"},
        },
    }
)


def problem(status: int, code: str, title: str) -> JSONResponse:
    """An error after RFC 9457, which never repeats what was sent."""
    told = {"type": f"urn:problem:{code}", "title": title, "status": status}
    return JSONResponse(told, status, media_type="application/problem+json")


async def order(request: Request) -> JSONResponse:
    """Take an order of a customer that we know, or of a guest; with it an invoice, unless told otherwise.

    201 {"id", "invoice"}. A guest's address is kept in lower case: as such it is looked for when it is to be deleted.
    """
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) > LARGEST_BODY:
        return problem(413, "too-large", "The body is too large")
    try:
        body = await request.json()
    except ValueError:
        return problem(400, "not-json", "The body is not JSON")
    if not ORDER.is_valid(body):
        return problem(422, "invalid", "The body is not an order")
    account, email, name = body.get("account"), body.get("email"), body.get("name")
    order_id, number = uuid4(), None
    async with request.app.state.pool.acquire() as tx, tx.transaction():
        if account:
            name = await tx.fetchval("SELECT name FROM customers WHERE account = $1 AND NOT gone FOR SHARE", account)
            if name is None:
                return problem(404, "not-found", "No such customer")
        if body.get("invoice", env.get("INVOICE", "1") != "0"):
            number = await tx.fetchval(
                "INSERT INTO invoices (account, name, address, cents) VALUES ($1, $2, $3, $4) RETURNING number",
                *(account, name, body["ship_to"], int(body["cents"])),  # JSON's 5.0 is an integer
            )
        await tx.execute(
            "INSERT INTO orders (id, account, email, name, item, cents, ship_to, invoice)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            *(order_id, account, email and email.lower(), None if account else name),
            *(body["item"], int(body["cents"]), body["ship_to"], number),
        )
    return JSONResponse({"id": str(order_id), "invoice": number}, 201)


async def ready(request: Request) -> JSONResponse:
    """200 when Kafka and the database answer, else 503 with what is missing."""
    missing = [] if "kafka" in request.app.state.ready else ["kafka"]
    try:
        await request.app.state.pool.fetchval("SELECT 1 FROM customers LIMIT 1", timeout=2)
    except AWAY:
        missing.append("database")
    return JSONResponse({"missing": missing}, 503 if missing else 200)


async def erase_expired(pool: Pool) -> None:
    """Once an hour, erase the invoices that no law makes us keep any longer."""
    while True:
        try:
            await pool.execute("DELETE FROM invoices WHERE keep_until < current_date")
        except AWAY as fault:
            logging.getLogger("orders").warning("invoices wait: %s", type(fault).__name__)
        await asyncio.sleep(3600)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """The pool connects when it is first needed, so that we start without the database."""
    settings = {"search_path": "orders", "application_name": "orders"}
    app.state.ready = set()
    async with asyncpg.create_pool(env["DATABASE_URL"], min_size=0, server_settings=settings) as app.state.pool:
        tasks = [asyncio.create_task(consume(app.state.pool, app.state.ready))]
        tasks.append(asyncio.create_task(erase_expired(app.state.pool)))
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def migrate() -> None:
    """Make the tables, as the owner."""
    connection = await asyncpg.connect(env["OWNER_DATABASE_URL"])
    await connection.execute(Path(__file__).with_name("schema.sql").read_text("utf-8"))
    await connection.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it says much while the broker is away
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each call
    if sys.argv[1:] == ["migrate"]:
        asyncio.run(migrate())
    else:
        routes = [Route("/readyz", ready), Route("/orders", order, methods=["POST"])]
        app = Starlette(routes=routes, lifespan=lifespan)
        uvicorn.run(
            app, host=env.get("HOST", "127.0.0.1"), port=int(env["PORT"]), access_log=False, log_level="warning"
        )
