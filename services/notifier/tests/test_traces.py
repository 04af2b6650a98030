"""A mail about a request is sent in the trace of the event that asked for it, and every span names the request."""

from typing import Any
from uuid import UUID

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from chassis import telemetry
from chassis.database import Pool
from chassis.testing import deliver, outbox, run_jobs

from .test_requests import LINK, Notifier, received

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01".encode()


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(telemetry, "_tracer", provider.get_tracer("tests"))
    return kept


async def test_a_mail_goes_on_in_the_trace_that_asked_for_it_and_names_the_request_and_nobody(
    notifier: Notifier, pool: Pool, peers: Any, mail_server: Any, request_id: UUID, spans: InMemorySpanExporter
) -> None:
    app, runtime = notifier
    peers.message(request_id, template="verification", to="one@example.com", account="a1", link=LINK)

    await deliver(app, runtime, received(request_id), headers={"traceparent": PARENT})
    await run_jobs(app, runtime)

    assert len(mail_server.taken) == 1
    event, batch, job = spans.get_finished_spans()
    assert [each.name for each in (event, batch, job)] == ["event request.received", "batch", "job notice"]
    assert [each.context.trace_id for each in batch.links] == [int(TRACE, 16)]
    for each in (event, job):
        assert each.context
        assert each.context.trace_id == int(TRACE, 16)
        assert (each.attributes or {})["request_id"] == str(request_id)
    assert [TRACE in (each or "") for each in peers.traceparents] == [True]
    assert [TRACE in (each.traceparent or "") for each in await outbox(pool)] == [True] * 3
    told = "".join(each.to_json() for each in (event, batch, job))
    assert "one@" not in told
    assert LINK not in told
