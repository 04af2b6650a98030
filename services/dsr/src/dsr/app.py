"""How the service is put together; read from top to bottom."""

from chassis.app import App, Runtime
from chassis.database import Connection
from dsr import alarms, api, handlers, restored
from dsr.pages import routes
from dsr.queries import requests
from dsr.settings import Settings, desk


def build(runtime: Runtime[Settings]) -> App:
    """The routes, handlers, timers and numbers of the service."""
    clock, pool = runtime.clock, runtime.pool
    at_hand = desk(runtime.settings, runtime.sealing, runtime.company.time_zone)

    async def overdue(tx: Connection) -> float:
        return await requests.count_overdue(tx, clock.now())

    return App(
        restate=restored.build(at_hand),
        routers=[
            *api.routers(pool, clock, runtime.auth, at_hand),
            routes.router(pool, clock, at_hand, runtime.company),
        ],
        handlers=handlers.build(at_hand, clock),
        timers=alarms.build(at_hand, clock),
        gauges={"dsr_requests_open": requests.count_open, "dsr_requests_overdue": overdue},
    )
