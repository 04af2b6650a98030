"""The verbs of a service: `serve`, `migrate`, `replay`, `recover`, `dead-letters`."""

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Callable
from importlib.resources.abc import Traversable
from typing import Any, TypeAlias
from uuid import UUID

import httpx
import uvicorn
from pydantic import ValidationError
from uuid_utils.compat import uuid7

from chassis import migrate, telemetry
from chassis.app.letters import Shown
from chassis.app.recovery import CannotRebuild, recover
from chassis.app.replay import replay
from chassis.app.runtime import App, Runtime, S
from chassis.app.service import Service, http
from chassis.auth import Auth, Caller, Issuer
from chassis.clock import Clock
from chassis.consumer import dead_letters
from chassis.database import Unavailable, open_pool, transaction
from chassis.sealing import Sealing, WrongKey
from chassis.settings import Settings, load
from privacy_contracts.accesses import OperatorActed

log = logging.getLogger(__name__)


Build: TypeAlias = Callable[[Runtime[S]], App]
ACTS = {
    "show": ("dead_letter_shown", "one, with its body"),
    "replay": ("dead_letter_replayed", "apply it and what waits behind it"),
    "discard": ("dead_letter_discarded", "drop it and apply what waits behind it"),
}
_CODES = "--operator and --reason take codes: lower-case letters, digits, '-', '_' and '.'"


def main(name: str, settings: type[S], build: Build[S], migrations: Traversable) -> None:
    """Read the command line and the environment, and do it. `migrations` is the service's folder of SQL."""
    arguments = _parser(name).parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    for noisy in ("aiokafka", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL if noisy == "aiokafka" else logging.WARNING)
    telemetry.setup(name)
    asyncio.run(_do(arguments, load(settings), build, name, migrate.all_of(name, migrations)))


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=name)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("serve", help="run the service")
    verbs.add_parser("migrate", help="bring the schema up to date, as the owner role")
    replayed = "wipe the projections and build them again from the log; the service must be stopped"
    verbs.add_parser("replay", help=replayed)
    went_on = "go on after the database or Kafka was restored; the service must be stopped"
    restored = verbs.add_parser("recover", help=went_on)
    restored.add_argument("--operator", help="your pseudonymous staff id; without it this only looks")
    restored.add_argument("--reason", default="restored", help="a code, such as restored")
    restored.add_argument("--read-on", choices=("beginning", "end"), help="where the log ends before our position")
    letters = verbs.add_parser("dead-letters", help="records that could not be applied")
    acts = letters.add_subparsers(dest="act", required=True)
    acts.add_parser("list", help="every dead letter, without bodies")
    for act, (_, text) in ACTS.items():
        one = acts.add_parser(act, help=text)
        one.add_argument("id", type=UUID)
        one.add_argument("--reason", required=act == "discard", default="inspection", help="a code, such as mended")
        one.add_argument("--operator", required=True, help="your pseudonymous staff id, such as operator-01")
    return parser


async def _do(
    arguments: argparse.Namespace, settings: S, build: Build[S], name: str, migrations: list[migrate.Migration]
) -> None:
    if arguments.verb == "migrate":
        return await _migrate(name, settings, migrations)
    pool = await open_pool(settings.database_url.get_secret_value(), name)
    async with httpx.AsyncClient(timeout=10, follow_redirects=False) as client:
        issuer = Issuer(client, settings.issuer, (settings.client_id, settings.client_secret.get_secret_value()))
        clock, sealing = Clock(settings.clock_offset), Sealing(settings.master_keys, settings.erasure_ledger)
        edges = Auth(issuer, name), Caller(client, issuer, settings.service_urls)
        runtime = Runtime(name, settings, pool, clock, sealing, *edges)
        try:
            app = build(runtime)
            if arguments.verb == "serve":
                return await _serve(runtime, app, migrations)
            async with transaction(pool) as tx:
                await migrate.check(tx, migrations)
                await sealing.check(tx)
            await sealing.replay_ledger(pool)  # after a restore nobody is shown who was erased since
            if arguments.verb == "replay":
                print(f"replayed {await replay(runtime, app)} events")
            elif arguments.verb == "recover":
                await _recover(runtime, app, arguments)
            else:
                await _dead_letters(runtime, app, arguments)
        except (CannotRebuild, migrate.WrongSchema, WrongKey, Unavailable) as refused:
            raise SystemExit(str(refused)) from None
        finally:
            await pool.close()


async def _serve(runtime: Runtime[Settings], app: App, migrations: list[migrate.Migration]) -> None:
    options: dict[str, Any] = {"host": runtime.settings.host, "port": runtime.settings.port}
    options |= {"access_log": False, "log_level": "warning", "server_header": False, "timeout_graceful_shutdown": 2}
    log.info("%s serves on port %d", runtime.name, runtime.settings.port)
    config = uvicorn.Config(http(runtime, app, Service(runtime, app, migrations)), **options)
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


async def _recover(runtime: Runtime[Settings], app: App, arguments: argparse.Namespace) -> None:
    who = {"actor": f"staff/{arguments.operator}", "reason": arguments.reason} if arguments.operator else None
    try:
        told = await recover(runtime, app, who, arguments.read_on)
    except ValidationError:
        raise SystemExit(_CODES) from None
    for each in told:
        print(json.dumps(each))
    print("recovered" if who and told else "nothing is changed: give --operator" if told else "nothing to recover")


async def _dead_letters(runtime: Runtime[Settings], app: App, arguments: argparse.Namespace) -> None:
    if arguments.act == "list":
        async with transaction(runtime.pool) as tx:
            for each in await dead_letters.listing(tx):
                print(json.dumps(each, default=str))
        return
    who = {"actor": f"staff/{arguments.operator}", "system": runtime.name}
    what = {"action": ACTS[arguments.act][0], "dead_letter": arguments.id, "reason": arguments.reason}
    try:
        acted = OperatorActed.model_validate({"act": uuid7(), "acted_at": runtime.clock.now(), **who, **what})
        done = await dead_letters.act(runtime.pool, runtime.sealing, app.handlers, acted)
    except ValidationError:
        raise SystemExit(_CODES) from None
    except dead_letters.NoSuchLetter as unknown:
        raise SystemExit(str(unknown)) from None
    except Exception as error:
        raise SystemExit(f"it failed again: {type(error).__name__}") from None
    if arguments.act == "show":
        print(Shown.of(done.letter).model_dump_json())
    else:
        print(f"applied {done.applied}" + (f"; the next one fails: {done.stuck}" if done.stuck else ""))
