"""How the service is put together; read from top to bottom."""

from uuid_utils.compat import uuid7

from chassis.app import App, OperatorAct, Runtime
from chassis.database import Connection
from chassis.outbox import emit
from dsr import alarms, api, handlers
from dsr.domain.deletion import SYSTEM
from dsr.pages import routes
from dsr.queries import requests
from dsr.settings import Settings, desk
from privacy_contracts.accesses import OperatorActed


def build(runtime: Runtime[Settings]) -> App:
    """The routes, handlers, timers and numbers of the service."""
    clock, pool = runtime.clock, runtime.pool
    at_hand = desk(runtime.settings, runtime.sealing, runtime.company.time_zone)

    async def overdue(tx: Connection) -> float:
        return await requests.count_overdue(tx, clock.now())

    return App(
        routers=[
            *api.routers(pool, clock, runtime.auth, at_hand),
            routes.router(pool, clock, at_hand, runtime.company),
        ],
        handlers=handlers.build(at_hand, clock),
        timers=alarms.build(at_hand, clock),
        gauges={"dsr_requests_open": requests.count_open, "dsr_requests_overdue": overdue},
        on_operator_act=operator_acted,
    )


async def operator_acted(tx: Connection, act: OperatorAct) -> None:
    """Somebody looked at, replayed or discarded a dead letter: that is an event like any other access."""
    event = OperatorActed(
        act=uuid7(),
        system=SYSTEM,
        actor=act.actor,
        action=act.action,
        dead_letter=act.dead_letter,
        reason=act.reason,
        acted_at=act.at,
    )
    await emit(tx, event, act.at)
