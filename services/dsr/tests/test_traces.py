"""What the traces say about a request: its id on every span, and which trace another goes back to."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from uuid_utils.compat import uuid7

from chassis import telemetry
from privacy_contracts import Event
from privacy_contracts.notices import NoticeSent

Ended = Callable[[], list[ReadableSpan]]
OF_MANY = ("batch", "timer forget_counts")
"""Spans that may be about several requests."""


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Ended:
    """`ended()` are the spans that have ended since it was last called, in the order of their ends."""
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(telemetry, "_tracer", provider.get_tracer("tests"))

    def since() -> list[ReadableSpan]:
        spans = list(kept.get_finished_spans())
        kept.clear()
        return spans

    return since


def trace_of(span: ReadableSpan) -> int:
    assert span.context
    return int(span.context.trace_id)


def links_of(span: ReadableSpan) -> list[int]:
    return [each.context.trace_id for each in span.links]


async def test_every_span_about_a_request_names_it_and_nobody(dsr: Any, ended: Ended) -> None:
    await dsr.customer()
    ended()
    request = await dsr.ask()
    link = await dsr.link(request)
    await dsr.http.get(link)
    for action in ("verify", "confirm"):
        await dsr.press(link, action)
    await dsr.http.get(f"/v1/requests/{request}", headers=dsr.headers("website", "website"))
    await dsr.pass_time(timedelta(days=3))
    await dsr.reply(request, "orders", "retained")
    task = await dsr.pool.fetchval("SELECT id FROM dsr.tasks WHERE request_id = $1 AND system = 'marketing'", request)
    await dsr.http.post(f"/v1/tasks/{task}/reply", json={"outcome": "done"}, headers=dsr.headers("marketing", "system"))
    await dsr.relay()
    for system in ("support", "consent", "notifier", "audit", "accounts"):
        await dsr.reply(request, system)
        await dsr.relay()
    assert await dsr.status(request) == "closed"
    last = await dsr.link(request, "completion")
    sent = NoticeSent(notice=uuid7(), template="completion", request=request, account="a1", sent_at=dsr.clock.now())
    await dsr.deliver(sent)
    await dsr.http.get(last)
    await dsr.pass_time(timedelta(days=45))

    spans = ended()
    assert {each.name for each in spans} == {
        "HTTP GET",
        "HTTP POST",
        "batch",
        "event notice.sent",
        "event reply.done",
        "event reply.retained",
        "timer cooling_off",
        "timer destroy_address",
        "timer escalation",
        "timer forget_counts",
        "timer reminder",
        "timer verification_expiry",
    }
    about = [each for each in spans if each.name not in OF_MANY]
    assert {(each.name, (each.attributes or {}).get("request_id")) for each in about} == {
        (each.name, str(request)) for each in about
    }
    told = "".join(each.to_json() for each in spans)
    assert not [secret for secret in ("ann@", "example.com", link, last) if secret in told]


async def test_what_a_mail_link_opens_goes_back_to_the_trace_that_minted_it(dsr: Any, ended: Ended) -> None:
    await dsr.customer()
    request = await dsr.ask()
    ended()
    links = [await dsr.link(request), await dsr.link(request)]
    minting = [trace_of(each) for each in ended()]
    assert len(set(minting)) == 2

    await dsr.http.get(links[1])
    await dsr.press(links[1], "verify")
    await dsr.http.get(links[0])

    looked, pressed, looked_again = ended()
    assert [links_of(each) for each in (looked, pressed, looked_again)] == [[minting[1]], [minting[1]], [minting[0]]]
    assert len({*minting, *map(trace_of, (looked, pressed, looked_again))}) == 5


async def test_a_wrong_link_goes_back_to_nothing(dsr: Any, ended: Ended) -> None:
    await dsr.customer()
    request = await dsr.ask()
    await dsr.link(request)
    ended()
    await dsr.http.get(f"/r/{request}/wrong")
    (looked,) = ended()
    assert (links_of(looked), dict(looked.attributes or {})) == ([], {})


async def test_the_end_of_the_cooling_off_goes_back_to_the_confirmation_and_its_events_go_on(
    dsr: Any, ended: Ended, reply_event: Callable[..., Event]
) -> None:
    await dsr.customer()
    request = await dsr.ask()
    link = await dsr.link(request)
    await dsr.press(link, "verify")
    ended()
    await dsr.press(link, "confirm")
    (confirmed,) = ended()

    await dsr.pass_time(timedelta(days=3))

    fired = next(each for each in ended() if each.name == "timer cooling_off")
    assert (links_of(fired), trace_of(fired) == trace_of(confirmed)) == ([trace_of(confirmed)], False)
    (asked,) = [each for each in await dsr.everything() if each.type == "deletion.requested"]
    assert int(asked.traceparent.split("-")[1], 16) == trace_of(fired)

    replies = [reply_event(request, system, "done", dsr.clock.now()) for system in ("orders", "marketing", "support")]
    await dsr.deliver(*replies, headers={"traceparent": asked.traceparent.encode()})

    *replied, batch = ended()
    assert [(each.name, trace_of(each)) for each in replied] == [("event reply.done", trace_of(fired))] * 3
    assert set(links_of(batch)) == {trace_of(fired)}
    asked_next = [each for each in await dsr.everything() if each.type == "deletion.requested"][-1]
    assert int(asked_next.traceparent.split("-")[1], 16) == trace_of(fired)
