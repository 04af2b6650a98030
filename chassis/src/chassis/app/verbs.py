"""The verbs of a service: `serve`, `migrate`, `replay`, `dead-letters`."""

import argparse
import asyncio
import getpass
import json
import logging
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.resources.abc import Traversable
from uuid import UUID

import httpx
import uvicorn

from chassis import migrate, telemetry
from chassis.app.replay import CannotReplay, replay
from chassis.app.runtime import App, Runtime, S, edges
from chassis.app.service import Service, http
from chassis.clock import Clock
from chassis.consumer import dead_letters
from chassis.consumer.dead_letters import OperatorAct
from chassis.database import open_pool, transaction
from chassis.sealing import Sealing
from chassis.settings import Settings, company, load

log = logging.getLogger(__name__)


def main(name: str, settings: type[S], build: Callable[[Runtime[S]], App], migrations: Traversable) -> None:
    """Read the command line and the environment, and do it. `migrations` is the service's folder of SQL."""
    arguments = _parser(name).parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    for noisy in ("aiokafka", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL if noisy == "aiokafka" else logging.WARNING)
    telemetry.setup(name)
    given = load(settings)
    wanted = migrate.all_of(name, migrations)
    if arguments.verb == "migrate":
        asyncio.run(_migrate(name, given, wanted))
    elif arguments.verb == "serve":
        asyncio.run(_serve(name, given, build, wanted))
    elif arguments.verb == "replay":
        asyncio.run(_replay(name, given, build))
    else:
        asyncio.run(_dead_letters(name, given, build, arguments))


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=name)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("serve", help="run the service")
    verbs.add_parser("migrate", help="bring the schema up to date, as the owner role")
    verbs.add_parser(
        "replay", help="wipe the projections and build them again from the log; the service must be stopped"
    )
    letters = verbs.add_parser("dead-letters", help="records that could not be applied").add_subparsers(
        dest="act", required=True
    )
    letters.add_parser("list", help="every dead letter, without bodies")
    for act, text in (
        ("show", "one, with its body"),
        ("replay", "apply it and what waits behind it"),
        ("discard", "drop it and apply what waits behind it"),
    ):
        one = letters.add_parser(act, help=text)
        one.add_argument("id", type=UUID)
        one.add_argument("--reason", required=act == "discard", default="inspection", help="a code, such as mended")
        one.add_argument("--operator", default=getpass.getuser(), help="your pseudonymous staff id")
    return parser


@asynccontextmanager
async def _runtime(name: str, settings: S) -> AsyncIterator[Runtime[S]]:
    pool = await open_pool(settings.database_url.get_secret_value(), name)
    async with httpx.AsyncClient(timeout=10, follow_redirects=False) as client:
        auth, call = edges(settings, name, client)
        try:
            yield Runtime(
                name=name,
                settings=settings,
                pool=pool,
                clock=Clock(settings.clock_offset),
                sealing=Sealing.from_files(settings.master_keys, settings.erasure_ledger),
                auth=auth,
                call=call,
                company=company(settings.company),
            )
        finally:
            await pool.close()


async def _serve(
    name: str, settings: S, build: Callable[[Runtime[S]], App], migrations: list[migrate.Migration]
) -> None:
    async with _runtime(name, settings) as runtime:
        app = build(runtime)
        api = http(runtime, app, Service(runtime, app, migrations))
        config = uvicorn.Config(
            api,
            host=settings.host,
            port=settings.port,
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        log.info("%s serves on port %d", name, settings.port)
        await uvicorn.Server(config).serve()


async def _migrate(name: str, settings: Settings, migrations: list[migrate.Migration]) -> None:
    if settings.owner_database_url is None:
        raise SystemExit("OWNER_DATABASE_URL is needed to migrate")
    owner = await migrate.connect(settings.owner_database_url.get_secret_value())
    try:
        for applied in await migrate.apply(owner, name, migrations):
            print(f"applied {applied}")
    finally:
        await owner.close()


async def _replay(name: str, settings: S, build: Callable[[Runtime[S]], App]) -> None:
    async with _runtime(name, settings) as runtime:
        try:
            print(f"replayed {await replay(runtime, build(runtime))} events")
        except CannotReplay as error:
            raise SystemExit(str(error)) from None


async def _dead_letters(
    name: str, settings: S, build: Callable[[Runtime[S]], App], arguments: argparse.Namespace
) -> None:
    async with _runtime(name, settings) as runtime:
        app = build(runtime)
        if arguments.act == "list":
            async with transaction(runtime.pool) as tx:
                for letter in await dead_letters.listing(tx):
                    print(json.dumps(letter, default=str))
            return
        done = {"show": "dead_letter_shown", "replay": "dead_letter_replayed", "discard": "dead_letter_discarded"}
        act = OperatorAct(
            arguments.id, done[arguments.act], arguments.reason, f"staff/{arguments.operator}", runtime.clock.now()
        )
        try:
            if arguments.act == "show":
                shown = await dead_letters.show(runtime.pool, runtime.sealing, app.on_operator_act, act)
                print(shown.reason, shown.record)
            else:
                work = dead_letters.replay if arguments.act == "replay" else dead_letters.discard
                applied = await work(runtime.pool, runtime.sealing, app.handlers, app.on_operator_act, act)
                print(f"applied {applied}")
        except dead_letters.NoSuchLetter as error:
            raise SystemExit(str(error)) from None
        except Exception as error:
            raise SystemExit(f"it failed again: {type(error).__name__}") from None
