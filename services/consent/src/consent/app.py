"""The consent service, put together: choices, decisions, policy versions and the policy page."""

from chassis.app import App, Runtime
from consent.api import choices, decisions, policies
from consent.handlers import handlers
from consent.pages import policy
from consent.restored import restate
from consent.settings import Settings


def build(runtime: Runtime[Settings]) -> App:
    """Everything that runs in this service."""
    return App(
        routers=[
            choices.router(runtime),
            decisions.router(runtime),
            policies.router(runtime),
            policy.router(runtime),
        ],
        handlers=handlers(runtime),
        restate=restate,
    )
