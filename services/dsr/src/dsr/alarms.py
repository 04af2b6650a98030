"""What time brings about: nobody confirmed, the cooling-off is over, a system is silent, an address is too old."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from uuid import UUID

from chassis.clock import Clock
from chassis.database import Connection
from chassis.timers import Timer, TimerHandler
from dsr import case, orchestration
from dsr.domain.deletion import Deletion, Step, ask_again, escalate, remind
from dsr.queries import links
from dsr.settings import Desk


def build(desk: Desk, clock: Clock) -> dict[str, TimerHandler]:
    """A handler for each kind of timer. Keys are the request's id, or `<request>/<system>`."""

    async def verification_expiry(timer: Timer, tx: Connection) -> None:
        await case.expire(tx, desk, UUID(timer.key), clock.now())

    async def cooling_off(timer: Timer, tx: Connection) -> None:
        await orchestration.begin(tx, desk, UUID(timer.key), clock.now())

    async def destroy_address(timer: Timer, tx: Connection) -> None:
        await case.forget_final_address(tx, desk, UUID(timer.key))

    async def forget_counts(_: Timer, tx: Connection) -> None:
        await links.forget_counts(tx, clock.now())

    async def system(decide: Callable[[Deletion, str, datetime], Step], timer: Timer, tx: Connection) -> None:
        request_id, _, name = timer.key.partition("/")
        await orchestration.look_again(tx, desk, decide, UUID(request_id), name, clock.now())

    return {
        "verification_expiry": verification_expiry,
        "cooling_off": cooling_off,
        "guest_cooling_off": cooling_off,
        "destroy_address": destroy_address,
        "forget_counts": forget_counts,
        "reminder": partial(system, remind),
        "escalation": partial(system, escalate),
        "retry": partial(system, ask_again),
    }
