"""Traces and metrics through one API. Attributes are ids, names and numbers, never values about a person.

The trace context travels in `traceparent` (W3C Trace Context): HTTP header, outbox row, Kafka header. What waits for
a while, a timer or a link in a mail, starts a trace of its own, linked to the one that set it. The ids that a span is
about, such as the request's, are on every span within it too.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice
from types import MappingProxyType

from opentelemetry import metrics, propagate, trace
from opentelemetry.context import Context
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Counter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Link, Span

MOST_LINKS = 128
"""What the SDK keeps of a span's links."""
_LONGEST = 64
_meter = metrics.get_meter("chassis")
_tracer = trace.get_tracer("chassis")
_about: ContextVar[Mapping[str, str]] = ContextVar("about", default=MappingProxyType({}))


def setup(service: str) -> None:
    """Once per process, before the first request."""
    resource = Resource.create({SERVICE_NAME: service})
    trace.set_tracer_provider(TracerProvider(resource=resource))
    metrics.set_meter_provider(MeterProvider([PrometheusMetricReader()], resource))


def counter(name: str, description: str) -> Counter:
    """A count that only grows."""
    return _meter.create_counter(name, description=description)


@contextmanager
def span(name: str, traceparent: str | None = None, links: Iterable[str | None] = (), **ids: str) -> Iterator[Span]:
    """A span of the current trace, or of the one named by `traceparent`. Errors are noted by class name only."""
    first = islice(dict.fromkeys(each for each in links if each), MOST_LINKS)
    linked = [trace.get_current_span(_context(each)).get_span_context() for each in first]
    about_this = {**_about.get(), **ids}
    noted = _about.set(about_this)
    try:
        with _tracer.start_as_current_span(
            name,
            _context(traceparent) if traceparent else None,
            attributes=about_this,
            links=[Link(each) for each in linked if each.is_valid],
            record_exception=False,
            set_status_on_exception=False,
        ) as current:
            try:
                yield current
            except Exception as error:
                current.set_attribute("error.type", type(error).__name__)
                raise
    finally:
        _about.reset(noted)


def about(**ids: str) -> None:
    """Say what the current span is about, and all that follow within it."""
    trace.get_current_span().set_attributes(ids)
    _about.set({**_about.get(), **ids})


def link(traceparent: str | None) -> None:
    """Link the current span to an earlier trace, if there was one."""
    if traceparent:
        trace.get_current_span().add_link(trace.get_current_span(_context(traceparent)).get_span_context())


def traceparent() -> str | None:
    """The current trace context as a header value, if there is one."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier.get("traceparent")


def carried() -> dict[str, str]:
    """What `span` needs to go on later: the trace context, and the ids that it is about."""
    current = traceparent()
    return {**_about.get(), **({"traceparent": current} if current else {})}


def _context(traceparent: str) -> Context:
    well_formed = len(traceparent) <= _LONGEST  # the library logs a warning for each that is not
    return propagate.extract({"traceparent": traceparent} if well_formed else {}, Context())
