"""One service as one process: the HTTP application with everything else running in its lifespan.

It starts without Kafka or Postgres, says in `/readyz` what is missing, and never asks another service how it is.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator

from aiokafka import AIOKafkaProducer
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from opentelemetry.metrics import get_meter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from chassis import jobs, migrate, outbox, problems, timers
from chassis.app import idempotency
from chassis.app.runtime import App, Runtime, kafka, security
from chassis.consumer import dead_letters
from chassis.consumer.batches import Batches
from chassis.consumer.subscription import Subscription
from chassis.database import transaction
from chassis.migrate import Migration
from chassis.settings import Settings
from privacy_contracts import asyncapi

log = logging.getLogger(__name__)
_GAUGE_SECONDS = 5.0
_HOUSEKEEPING_SECONDS = 3600.0
_DRAIN_SECONDS = 6


class Service:
    """Runs an `App`. `state` says what `/readyz` answers."""

    def __init__(self, runtime: Runtime[Settings], app: App, migrations: list[Migration]) -> None:
        self._runtime, self._app, self._migrations = runtime, app, migrations
        settings = runtime.settings
        self._started: str | None = "starting"
        self._subscription = Subscription(
            Batches(runtime.pool, app.handlers, runtime.sealing),
            group=runtime.name,
            prefix=settings.topic_prefix,
            bootstrap=settings.kafka_bootstrap,
            security=security(settings),
            session_ms=settings.session_timeout_ms,
        )
        self._relay = outbox.Relay(runtime.pool, runtime.name, settings.topic_prefix, settings.instance, self._producer)

    def _producer(self) -> AIOKafkaProducer:
        settings = self._runtime.settings
        return AIOKafkaProducer(
            **kafka(settings), transactional_id=f"{settings.topic_prefix}{self._runtime.name}-relay", acks="all"
        )

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
        await self._prepare()
        runtime, app = self._runtime, self._app
        async with asyncio.TaskGroup() as parts:
            parts.create_task(self._relay.run())
            parts.create_task(self._subscription.run())
            parts.create_task(timers.run(runtime.pool, app.timers, runtime.clock))
            parts.create_task(jobs.run(runtime.pool, app.jobs, runtime.settings.instance))
            parts.create_task(self._measure())
            parts.create_task(self._keep_house())

    async def _prepare(self) -> None:
        """Wait for the schema, and destroy again what a restored backup may have brought back."""
        while True:
            try:
                async with transaction(self._runtime.pool) as tx:
                    lacking = await migrate.missing(tx, self._migrations)
                    if not lacking:
                        await tx.execute("SELECT chassis.roll_inbox()")
                    if await tx.fetchval("SELECT current_setting('fsync') = 'off'"):
                        log.warning("the database runs without fsync: a loss of power may lose committed state")
                if not lacking:
                    await self._runtime.sealing.replay_ledger(self._runtime.pool)
                    if self._app.on_start:
                        await self._app.on_start()
                    self._started = None
                    return
                self._started = f"migrations missing: {', '.join(lacking)}"
            except migrate.SchemaTooNew as error:
                self._started = str(error)
            except Exception as error:
                log.info("cannot start yet: %s", type(error).__name__)
                self._started = f"waiting: {type(error).__name__}"
            await asyncio.sleep(0.5)

    async def _keep_house(self) -> None:
        while True:
            with contextlib.suppress(Exception):  # tried again within the hour; nothing depends on one round
                async with transaction(self._runtime.pool) as tx:
                    await tx.execute("SELECT chassis.roll_inbox()")
                    await idempotency.forget(tx)
            await asyncio.sleep(_HOUSEKEEPING_SECONDS)

    async def _measure(self) -> None:
        """Read the gauges now and then, so that a scrape never waits for the database."""
        gauges = {
            "outbox_oldest_seconds": outbox.oldest_age,
            "dead_letters": dead_letters.count,
            "oldest_hold_seconds": dead_letters.oldest_hold,
            **self._app.gauges,
        }
        meter = get_meter("chassis")
        shown = {name: meter.create_gauge(name) for name in (*gauges, "consumer_lag_seconds")}
        while True:
            with contextlib.suppress(Exception):  # a gap in a curve; readiness tells of the database
                async with transaction(self._runtime.pool) as tx:
                    for name, read in gauges.items():
                        shown[name].set(await read(tx))
            shown["consumer_lag_seconds"].set(self._subscription.lag)
            await asyncio.sleep(_GAUGE_SECONDS)

    async def problems(self) -> dict[str, str]:
        """What stands between this process and being ready, by part."""
        found: dict[str, str | None] = {"service": self._started}
        if self._started is None:
            found |= {"consumer": self._subscription.problem, "relay": self._relay.problem}
        try:
            async with transaction(self._runtime.pool) as tx:
                await tx.execute("SELECT 1")
        except Exception as error:
            found["database"] = type(error).__name__
        for name, check in self._app.ready.items():
            try:
                found[name] = await check()
            except Exception as error:
                found[name] = type(error).__name__
        return {part: problem for part, problem in found.items() if problem}


def _ended(running: "asyncio.Task[None]") -> None:
    error = running.exception()
    parts = [type(each).__name__ for each in getattr(error, "exceptions", [error])]
    log.critical("a part of the service has ended: %s", ", ".join(parts))
    signal.raise_signal(signal.SIGTERM)


def http(runtime: Runtime[Settings], app: App, service: Service | None) -> FastAPI:
    """The HTTP application; without a `service` nothing runs beside it."""
    api = FastAPI(
        title=runtime.name,
        version="1",
        docs_url=None,
        redoc_url=None,
        lifespan=service.lifespan if service else None,
        responses={"4XX": {"description": "A problem (RFC 9457)", "content": {"application/problem+json": {}}}},
    )
    problems.install(api)
    api.state.fingerprint = runtime.sealing.fingerprint

    @api.get("/livez", include_in_schema=False)
    async def livez() -> Response:
        return JSONResponse({"status": "alive"})

    @api.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        missing = await service.problems() if service else {}
        return JSONResponse(
            {"status": "not ready" if missing else "ready", "missing": missing}, 503 if missing else 200
        )

    @api.get("/asyncapi.json", include_in_schema=False)
    async def events() -> Response:
        return JSONResponse(asyncapi.document(runtime.name))

    @api.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    for router in app.routers:
        api.include_router(router)
    return api
