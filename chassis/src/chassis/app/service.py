"""One service as one process: the HTTP application with everything else running in its lifespan.

It starts without Kafka or Postgres, says in `/readyz` what is missing, and never asks another service how it is.
"""

import asyncio
import contextlib
import functools
import logging
import signal
from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi import Depends, FastAPI, Response
from fastapi.responses import JSONResponse
from opentelemetry.metrics import get_meter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from chassis import jobs, migrate, outbox, problems, timers
from chassis.app import idempotency, letters, recovery
from chassis.app.recovery import OutOfStep
from chassis.app.runtime import App, Runtime, kafka
from chassis.consumer import dead_letters
from chassis.consumer.batches import Batches
from chassis.consumer.subscription import Subscription
from chassis.database import Pool, end_stopped, repeat, transaction
from chassis.migrate import Migration
from chassis.problems import Problem
from chassis.sealing import WrongKey
from chassis.settings import Settings
from privacy_contracts import asyncapi

log = logging.getLogger(__name__)
_GAUGES = {
    "outbox_oldest_seconds": outbox.oldest_age,
    "dead_letters": dead_letters.count,
    "oldest_hold_seconds": dead_letters.oldest_hold,
}
_gauge = functools.cache(lambda name: get_meter("chassis").create_gauge(name))
_LOOK_SECONDS = 2.0
_GAUGE_SECONDS = 5.0
_HOUSEKEEPING_SECONDS = 3600.0
_DRAIN_SECONDS = 6


class Service:
    """Runs an `App`. `problems` and `stopped` are what `/readyz` answers."""

    def __init__(self, runtime: Runtime[Settings], app: App, migrations: list[Migration]) -> None:
        self._runtime, self._app, self._migrations = runtime, app, migrations
        settings = runtime.settings
        self._started: str | None = "starting"
        self._serves = False
        self._touch: asyncio.Task[None] | None = None
        batches = Batches(runtime.pool, app.handlers, runtime.sealing)
        self._subscription = Subscription(batches, runtime.name, settings)
        prefix, instance = settings.topic_prefix, settings.instance
        self._relay = outbox.Relay(runtime.pool, runtime.name, prefix, instance, kafka(settings), self._stay_in_step)

    @contextlib.asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Run everything beside HTTP; cancel it at the end and let it drain.

        Should it end by itself, the process ends too: half a service would look alive.
        """
        running = asyncio.create_task(self._run())
        running.add_done_callback(_ended)
        try:
            yield
        finally:
            running.remove_done_callback(_ended)
            running.cancel()
            await asyncio.wait([running], timeout=_DRAIN_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._runtime.pool.close()

    async def _run(self) -> None:
        runtime, app = self._runtime, self._app
        async with asyncio.TaskGroup() as parts:
            parts.create_task(repeat("ending who stopped", lambda: end_stopped(runtime.pool), _GAUGE_SECONDS))
            await self._prepare()
            parts.create_task(self._relay.run())
            parts.create_task(self._subscription.run())
            parts.create_task(repeat("looking", self._subscription.look, _LOOK_SECONDS))
            if app.timers:
                parts.create_task(timers.run(runtime.pool, app.timers, runtime.clock))
            parts.create_task(jobs.run(runtime.pool, app.jobs, runtime.settings.instance))
            parts.create_task(repeat("measuring", self._measure, _GAUGE_SECONDS))
            parts.create_task(repeat("housekeeping", self._keep_house, _HOUSEKEEPING_SECONDS))

    async def _prepare(self) -> None:
        """Wait for the schema and Kafka, and destroy again what a restored backup may have brought back.

        Nothing runs before the database and Kafka are known to be of one age. Routes answer while Kafka is away, when
        nobody can tell, and do not where the two differ.
        """
        while self._started:
            at_hand = False
            try:
                async with transaction(self._runtime.pool) as tx:
                    await migrate.check(tx, self._migrations)
                    await self._runtime.sealing.check(tx)
                    await tx.execute("SELECT chassis.roll_inbox()")
                    await jobs.take_up(tx, self._runtime.settings.instance)
                    if await tx.fetchval("SELECT current_setting('fsync') = 'off'"):
                        log.warning("the database runs without fsync: a loss of power may lose committed state")
                await self._runtime.sealing.replay_ledger(self._runtime.pool)
                at_hand = True
                await recovery.check(self._runtime.name, self._runtime.settings, self._runtime.pool)
                if self._app.on_start:
                    await self._app.on_start()
                self._started = None
            except Exception as error:
                told = isinstance(error, migrate.WrongSchema | WrongKey | OutOfStep)
                self._started = str(error) if told else f"waiting: {type(error).__name__}"
                self._serves = at_hand and not told
                log.info("cannot start yet: %s", self._started)
                await asyncio.sleep(0.5)

    async def _stay_in_step(self) -> None:
        """Asked before publishing: an older database that came back while we ran ends us; the next start says so."""
        try:
            await recovery.check(self._runtime.name, self._runtime.settings, self._runtime.pool)
        except OutOfStep:
            signal.raise_signal(signal.SIGTERM)
            raise

    async def _keep_house(self) -> None:
        async with transaction(self._runtime.pool) as tx:
            await tx.execute("SELECT chassis.roll_inbox()")
            await idempotency.forget(tx)

    async def _measure(self) -> None:
        """Read the gauges, so that a scrape never waits for the database."""
        _gauge("consumer_lag_seconds").set(self._subscription.lag)
        _gauge("consumer_stopped_topics").set(len(self.stopped))
        async with transaction(self._runtime.pool) as tx:
            for name, read in {**_GAUGES, **self._app.gauges}.items():
                _gauge(name).set(await read(tx))

    @property
    def starting(self) -> bool:
        """Whether what was erased may not be erased again yet, or the database is not of Kafka's age."""
        return self._started is not None and not self._serves

    @property
    def stopped(self) -> Mapping[str, str]:
        """Topics of which nothing more is applied, and why. HTTP and the other topics go on: that is ready."""
        return self._subscription.stopped

    async def problems(self) -> dict[str, str]:
        """What stands between this process and being ready, by part."""
        found = {"service": self._started, "consumer": self._subscription.problem, "relay": self._relay.problem}
        try:
            await self._touch_database()
        except Exception as error:
            found["database"] = type(error).__name__
        return {part: problem for part, problem in found.items() if problem}

    async def _touch_database(self) -> None:
        """Raises what it raises, or `TimeoutError`. One that hangs in a frozen database is waited for by all, once."""
        if self._touch is None or self._touch.done():
            self._touch = asyncio.create_task(_empty(self._runtime.pool))
        async with asyncio.timeout(_LOOK_SECONDS):
            await asyncio.shield(self._touch)


async def _empty(pool: Pool) -> None:
    async with transaction(pool):
        pass  # it ends with a statement of its own


def _ended(running: "asyncio.Task[None]") -> None:
    error = running.exception()
    parts = [type(each).__name__ for each in getattr(error, "exceptions", [error])]
    log.critical("a part of the service has ended: %s", ", ".join(parts))
    signal.raise_signal(signal.SIGTERM)


def http(runtime: Runtime[Settings], app: App, service: Service | None) -> FastAPI:
    """The HTTP application; without a `service` nothing runs beside it."""
    problem = {"description": "A problem (RFC 9457)", "content": {"application/problem+json": {}}}
    options: dict[str, Any] = {"docs_url": None, "redoc_url": None, "responses": {"4XX": problem}}
    api = FastAPI(title=runtime.name, version="1", lifespan=service.lifespan if service else None, **options)
    problems.install(api)
    api.state.fingerprint = runtime.sealing.fingerprint

    @api.get("/livez", include_in_schema=False)
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    @api.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        missing = await service.problems() if service else {}
        status, code = ("not ready", 503) if missing else ("ready", 200)
        return JSONResponse({"status": status, "missing": missing, "stopped": service.stopped if service else {}}, code)

    @api.get("/asyncapi.json", include_in_schema=False)
    async def events() -> dict[str, Any]:
        return asyncapi.document(runtime.name)

    @api.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    async def started() -> None:
        if service and service.starting:
            raise Problem(503, "starting", "Try again shortly", headers={"Retry-After": "2"})

    for router in (*app.routers, letters.router(runtime, app)):
        api.include_router(router, dependencies=[Depends(started)])
    return api
