"""The composition of the audit service, from top to bottom."""

from audit import queries
from audit.api import routers
from audit.handlers import CHECK, gap_timer, record_handlers
from audit.settings import Settings
from chassis import timers
from chassis.app import App, Runtime
from chassis.database import Connection, transaction


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
        on_start=on_start,
    )


async def _entries(tx: Connection) -> float:
    return float(await queries.log.size(tx))
