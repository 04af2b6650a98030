"""What a service is given, and what it gives back: plain values, no container."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from fastapi import APIRouter

from chassis.auth import Auth, Caller
from chassis.clock import Clock
from chassis.consumer.handlers import Handlers
from chassis.consumer.records import Received
from chassis.database import Connection, Pool
from chassis.jobs import JobKind
from chassis.sealing import Sealing
from chassis.settings import Company, Settings
from chassis.timers import TimerHandler

S = TypeVar("S", bound=Settings)
S_co = TypeVar("S_co", bound=Settings, covariant=True)


@dataclass(frozen=True)
class Runtime(Generic[S_co]):
    """What a composition root builds on."""

    name: str
    settings: S_co
    pool: Pool
    clock: Clock
    sealing: Sealing
    auth: Auth
    call: Caller

    @property
    def company(self) -> Company:
        """Whom this deployment serves."""
        return self.settings.company


@dataclass(frozen=True)
class App:
    """A service, put together. `gauges` are further numbers to show; `on_start` runs once the schema is there.

    `restate` applies an event that this service itself once wrote, and that its restored database does not know: state
    alone, nothing is emitted and no key erased. It says whether the database knows all of it now.
    """

    routers: list[APIRouter]
    handlers: Handlers
    timers: Mapping[str, TimerHandler] = field(default_factory=dict)
    jobs: Mapping[str, JobKind] = field(default_factory=dict)
    gauges: Mapping[str, Callable[[Connection], Awaitable[float]]] = field(default_factory=dict)
    on_start: Callable[[], Awaitable[None]] | None = None
    restate: Callable[[Received[Any], Connection], Awaitable[bool]] | None = None


def kafka(settings: Settings) -> dict[str, Any]:
    """SASL/SCRAM-SHA-256 for this service's principal, for a client of aiokafka."""
    return {
        "bootstrap_servers": settings.kafka_bootstrap,
        "security_protocol": "SASL_SSL" if settings.kafka_tls else "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": settings.kafka_username,
        "sasl_plain_password": settings.kafka_password.get_secret_value(),
    }
