"""Composition root: what the notifier is made of."""

from uuid_utils.compat import uuid7

from chassis.app import App, OperatorAct, Runtime
from chassis.database import Connection
from chassis.outbox import emit
from notifier import mailings, sending
from notifier.domain import SYSTEM
from notifier.handlers import handlers
from notifier.letters import Letters
from notifier.queries import ledger
from notifier.settings import Settings
from notifier.smtp import Connections, Server
from privacy_contracts.accesses import OperatorActed


def build(runtime: Runtime[Settings]) -> App:
    """The notifier takes events and sends mail; nobody calls it over HTTP."""
    settings = runtime.settings
    letters = Letters(runtime.company)
    lines = Connections(_server(settings, runtime.company.sender), settings.smtp_connections)
    return App(
        routers=[],
        handlers=handlers(runtime),
        jobs={
            mailings.KIND: mailings.kind(runtime),
            sending.KIND: sending.kind(runtime, letters, lines, settings.smtp_connections),
        },
        gauges={"mail_oldest_unsent_seconds": ledger.oldest_unsent},
        on_operator_act=operator_acted,
    )


async def operator_acted(tx: Connection, act: OperatorAct) -> None:
    """What an operator does with a dead letter is on record."""
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


def _server(settings: Settings, sender: str) -> Server:
    return Server(
        host=settings.smtp_host,
        port=settings.smtp_port,
        our_name=sender.rpartition("@")[2],
        tls=settings.smtp_tls,
        username=settings.smtp_username,
        password=settings.smtp_password.get_secret_value() if settings.smtp_password else None,
    )
