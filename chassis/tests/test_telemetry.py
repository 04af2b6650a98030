"""One trace from a request to the last service: HTTP, outbox, Kafka, handler, outbox."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from uuid_utils.compat import uuid7

from chassis import jobs, telemetry, timers
from chassis.app.runtime import App, Runtime
from chassis.consumer import Handlers, Received
from chassis.database import Connection, transaction
from chassis.telemetry import span, traceparent
from chassis.testing import START, client, deliver_records, outbox, record, run_jobs, run_timers, until
from privacy_contracts.replies import ReplyDone
from privacy_contracts.topology import topics

from .conftest import Subscribed, published
from .sample import NOTES, SERVICE, Note, Sample, note
from .test_outbox import relay, running

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


Ended = Callable[[str], ReadableSpan]


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Ended:
    """`ended("timer ring")` is the span of that name, once it has ended."""
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(telemetry, "_tracer", provider.get_tracer("tests"))
    return lambda name: next(each for each in kept.get_finished_spans() if each.name == name)


def trace_of(traceparent: str | None) -> int:
    return int((traceparent or "--").split("-")[1], 16)


def links_of(span: ReadableSpan) -> list[int]:
    return [each.context.trace_id for each in span.links]


def ids_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_what_a_span_is_about_is_on_every_span_within_it(ended: Ended) -> None:
    with span("outer", request_id="r1"):
        with span("inner", event_id="e1"):
            telemetry.about(job="j1")
            with span("innermost"):
                carried = telemetry.carried()
        with span("beside"):
            pass
    with span("apart"):
        pass
    assert ids_of(ended("outer")) == ids_of(ended("beside")) == {"request_id": "r1"}
    assert ids_of(ended("inner")) == ids_of(ended("innermost")) == {"request_id": "r1", "event_id": "e1", "job": "j1"}
    assert ids_of(ended("apart")) == {}
    assert trace_of(carried.pop("traceparent")) == trace_of_span(ended("innermost"))
    assert carried == ids_of(ended("innermost"))


def trace_of_span(span: ReadableSpan) -> int:
    assert span.context
    return int(span.context.trace_id)


async def test_a_timer_starts_a_trace_linked_to_the_one_that_set_it_and_a_job_goes_on(
    rt: Runtime[Any], ended: Ended, tmp_path: Path
) -> None:
    with span("setting", PARENT, request_id="r1"):
        async with transaction(rt.pool) as tx:
            await timers.put(tx, "ring", "a", START, {"number": 1})
            await jobs.put(tx, "call", "a", {"file": str(tmp_path / "called")}, timedelta(minutes=1))
    app = Sample().app(rt)
    await run_timers(app, rt)
    await run_jobs(app, rt)
    timer, job = ended("timer ring"), ended("job call")
    assert ids_of(timer) == ids_of(job) == {"request_id": "r1"}
    assert trace_of_span(timer) != int(TRACE, 16) == trace_of_span(job)
    assert (links_of(timer), links_of(job)) == ([int(TRACE, 16)], [])


async def test_a_batch_is_linked_to_the_traces_of_its_events_and_each_goes_on_in_its_own(
    rt: Runtime[Any], ended: Ended
) -> None:
    odd = {"traceparent": b"\xff"}
    reply = ReplyDone(request=uuid7(), system="orders", account="a1", answered_by="system/orders", answered_at=START)
    handlers = Handlers([topics()["replies.orders"]])

    @handlers.reaction(ReplyDone)
    async def react(_: Received[ReplyDone], __: Connection) -> None:
        pass

    app = App(routers=[], handlers=handlers)
    good = record(reply, headers={"traceparent": PARENT.encode()})
    await deliver_records(app, rt, good, record(reply, headers=odd), record(reply, headers={"traceparent": None}))
    assert await rt.pool.fetchval("SELECT count(*) FROM chassis.dead_letters") == 0
    assert int(TRACE, 16) in links_of(ended("batch"))
    event = ended("event reply.done")
    assert trace_of_span(event) == int(TRACE, 16)
    assert ids_of(event)["request_id"] == str(reply.request)


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
