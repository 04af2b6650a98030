"""One trace from a request to the last service: HTTP, outbox, Kafka, handler, outbox."""

from collections.abc import Callable
from typing import Any

from chassis.app.runtime import Runtime
from chassis.consumer import Handlers, Received
from chassis.database import Connection
from chassis.telemetry import span, traceparent
from chassis.testing import client, outbox, until

from .conftest import Subscribed, published
from .sample import NOTES, SERVICE, Note, Sample, note
from .test_outbox import relay, running

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def test_a_trace_is_continued_and_there_is_none_without_a_start() -> None:
    assert traceparent() is None
    with span("outer", PARENT):
        assert TRACE in (traceparent() or "")
        with span("inner"):
            assert TRACE in (traceparent() or "")
    with span("odd", "not-a-traceparent"):
        assert TRACE not in (traceparent() or "")


async def test_a_trace_goes_through_http_outbox_kafka_and_handler(
    rt: Runtime[Any], bearer: Callable[..., dict[str, str]], subscribed: Subscribed
) -> None:
    headers = bearer("website", "website", audience=SERVICE) | {"traceparent": PARENT}
    async with client(rt, Sample().app(rt)) as http:
        await http.post("/things", json={"name": "a", "number": 1}, headers=headers)
    (put,) = await outbox(rt.pool)
    assert TRACE in (put.traceparent or "")
    next_service = Sample()
    next_service.handlers = Handlers([NOTES])

    @next_service.handlers.reaction(Note)
    async def react(received: Received[Note], tx: Connection) -> None:
        await note(tx, "next", received.event.number)

    async with running(relay(rt)), subscribed(next_service):
        traces = await until(lambda: rt.pool.fetch("SELECT trace FROM dsr.effects WHERE name = 'next'"))
    assert TRACE in traces[0]["trace"]
    (record,) = await published(rt)
    assert TRACE in (record.header("traceparent") or "")
