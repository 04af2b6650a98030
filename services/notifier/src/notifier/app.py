"""Composition root: what the notifier is made of."""

from chassis.app import App, Runtime
from notifier import mailings, sending
from notifier.handlers import handlers
from notifier.letters import Letters
from notifier.queries import ledger
from notifier.restored import restate
from notifier.settings import Settings
from notifier.smtp import Connections, Server


def build(runtime: Runtime[Settings]) -> App:
    """The notifier takes events and sends mail; nobody calls it over HTTP."""
    settings = runtime.settings
    letters = Letters(runtime.company)
    lines = Connections(_server(settings, runtime.company.sender), settings.smtp_connections)
    return App(
        routers=[],
        handlers=handlers(runtime),
        restate=restate,
        jobs={
            mailings.KIND: mailings.kind(runtime),
            sending.KIND: sending.kind(runtime, letters, lines, settings.smtp_connections),
        },
        gauges={"mail_oldest_unsent_seconds": ledger.oldest_unsent},
    )


def _server(settings: Settings, sender: str) -> Server:
    return Server(
        host=settings.smtp_host,
        port=settings.smtp_port,
        our_name=sender.rpartition("@")[2],
        tls=settings.smtp_tls,
        username=settings.smtp_username,
        password=settings.smtp_password.get_secret_value() if settings.smtp_password else None,
    )
