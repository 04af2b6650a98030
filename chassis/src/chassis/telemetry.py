"""Traces and metrics through one API. Attributes are ids, names and numbers, never values about a person.

The trace context travels in `traceparent` (W3C Trace Context): HTTP header, outbox row, Kafka header.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import metrics, propagate, trace
from opentelemetry.context import Context
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Counter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span

_meter = metrics.get_meter("chassis")
_tracer = trace.get_tracer("chassis")


def setup(service: str) -> None:
    """Once per process, before the first request."""
    resource = Resource.create({SERVICE_NAME: service})
    trace.set_tracer_provider(TracerProvider(resource=resource))
    metrics.set_meter_provider(MeterProvider([PrometheusMetricReader()], resource))


def counter(name: str, description: str) -> Counter:
    """A count that only grows."""
    return _meter.create_counter(name, description=description)


@contextmanager
def span(name: str, traceparent: str | None = None, **attributes: str) -> Iterator[Span]:
    """A span of the current trace, or of the one named by `traceparent`. Errors are noted by class name only."""
    context: Context | None = propagate.extract({"traceparent": traceparent}) if traceparent else None
    with _tracer.start_as_current_span(
        name, context, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield current
        except Exception as error:
            current.set_attribute("error.type", type(error).__name__)
            raise


def traceparent() -> str | None:
    """The current trace context as a header value, if there is one."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier.get("traceparent")
