"""Which function handles which event, and whether it may run again.

A projection only writes tables that can be wiped and built again from the log: it neither emits, nor sets timers or
jobs. A reaction runs once for an event and never again.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from chassis.consumer.records import Received, Record
from chassis.database import Connection
from chassis.telemetry import span
from privacy_contracts import Event
from privacy_contracts.topology import Topic

Handler = Callable[[Received[Any], Connection], Awaitable[None]]
RawHandler = Callable[[Sequence[Record], Connection], Awaitable[None]]
H = TypeVar("H", bound=Handler)


class Handlers:
    """The Kafka edge of one service. `projected_tables` are wiped by `replay`."""

    def __init__(self, topics: Sequence[Topic], projected_tables: Sequence[str] = ()) -> None:
        self.topics: Mapping[str, Topic] = {topic.name: topic for topic in topics}
        self.projected_tables = tuple(projected_tables)
        self.raw_handler: RawHandler | None = None
        self.projections: dict[str, list[Handler]] = defaultdict(list)
        self.reactions: dict[str, list[Handler]] = defaultdict(list)
        self.events: dict[str, type[Event]] = {}

    def projection(self, *events: type[Event]) -> Callable[[H], H]:
        """Register a handler that `replay` may run again."""
        return self._register(self.projections, events)

    def reaction(self, *events: type[Event]) -> Callable[[H], H]:
        """Register a handler that runs once for an event, after the projections, in the same transaction."""
        return self._register(self.reactions, events)

    def raw(self, handler: RawHandler) -> RawHandler:
        """Register the one handler that takes every record as it is; it must recognise repeats itself."""
        self.raw_handler = handler
        return handler

    async def apply(self, received: Received[Event], tx: Connection, *, again: bool = False) -> None:
        """Run what is registered for the event; only projections when it is applied `again`."""
        kind = received.event.type
        with span(f"event {kind}", received.traceparent, event_id=received.id, **received.event.about):
            for handler in (*self.projections[kind], *([] if again else self.reactions[kind])):
                await handler(received, tx)

    def _register(self, table: dict[str, list[Handler]], events: tuple[type[Event], ...]) -> Callable[[H], H]:
        def register(handler: H) -> H:
            for event in events:
                table[event.type].append(handler)
                self.events[event.type] = event
            return handler

        return register
