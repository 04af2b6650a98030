"""The composition of the audit service, from top to bottom."""

from uuid_utils.compat import uuid7

from audit import queries
from audit.api import routers
from audit.domain import intake
from audit.handlers import CHECK, gap_timer, record_handlers
from audit.settings import Settings
from chassis import outbox, timers
from chassis.app import App, Runtime
from chassis.consumer.dead_letters import OperatorAct
from chassis.database import Connection, transaction
from privacy_contracts.accesses import OperatorActed


def build(runtime: Runtime[Settings]) -> App:
    """Intake of every topic, the check for gaps, and the auditors' routes."""

    async def on_start() -> None:
        async with transaction(runtime.pool) as tx:
            await timers.put(tx, CHECK, "all", runtime.clock.now())

    return App(
        routers=routers(runtime),
        handlers=record_handlers(runtime),
        timers={CHECK: gap_timer(runtime)},
        gauges={
            "audit_entries": _entries,
            "audit_intake_lag_seconds": queries.log.lag,
            "audit_open_gaps": queries.tracks.open_gaps,
            "audit_open_findings": queries.findings.still_open,
        },
        on_operator_act=_operator_acted,
        on_start=on_start,
    )


async def _entries(tx: Connection) -> float:
    return float(await queries.log.size(tx))


async def _operator_acted(tx: Connection, act: OperatorAct) -> None:
    event = OperatorActed(
        act=uuid7(),
        system=intake.NAME,
        actor=act.actor,
        action=act.action,
        dead_letter=act.dead_letter,
        reason=act.reason,
        acted_at=act.at,
    )
    await outbox.emit(tx, event, act.at)
