"""The accounts system, put together."""

from accounts import api, feeds, heartbeats
from accounts.handlers import handlers
from accounts.restored import restate
from accounts.settings import Settings
from chassis.app import App, Runtime


def build(runtime: Runtime[Settings]) -> App:
    """Everything that runs in this system."""
    return App(
        routers=api.routers(runtime),
        handlers=handlers(runtime),
        timers={heartbeats.KIND: heartbeats.handler(runtime)},
        jobs=feeds.kinds(runtime),
        restate=restate,
        on_start=lambda: heartbeats.begin(runtime),
    )
