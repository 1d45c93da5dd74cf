"""Traces, metrics and logs.

Every order is one trace: the envelope's ``traceparent`` goes from message to message through outbox and inbox. The span id under which
a service handles an event is derived from the event id and the service's name, so the tree of an order can be rebuilt from the outboxes
alone, without a trace server, and a redelivered message keeps its span. Spans are only built when an OTLP exporter is configured.
Source of the format: W3C Trace Context, level 1.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_LOW_64_BITS = 0xFFFF_FFFF_FFFF_FFFF


@lru_cache(maxsize=64)
def service_number(service: str) -> int:
    """A fixed 64-bit number of a service, mixed into span ids so that two services handling one event have two spans."""
    number = 0xCBF29CE484222325
    for byte in service.encode():
        number = ((number ^ byte) * 0x100000001B3) & _LOW_64_BITS
    return number


def handling_span_id(event_id: UUID, number: int) -> str:
    """The span id under which the service with this number handles this event: 16 hexadecimal digits, never zero."""
    return f"{((event_id.int & _LOW_64_BITS) ^ number) or 1:016x}"


def trace_id_of(traceparent: str | None, event_id: UUID) -> str:
    """The trace an event belongs to; an event without one starts its own trace, named after it."""
    return traceparent[3:35] if traceparent else event_id.hex


def is_sampled(event_id: UUID, ratio: float) -> bool:
    """Whether a trace that starts with this event is recorded; every service that asks comes to the same answer."""
    return (event_id.int & 0xFFFF_FFFF) < ratio * 0x1_0000_0000


def traceparent_of(traceparent: str | None, event_id: UUID, number: int, *, sample_ratio: float = 1.0) -> str:
    """What goes into messages caused by an event: same trace, with the handling span as parent."""
    flags = traceparent[53:55] if traceparent else ("01" if is_sampled(event_id, sample_ratio) else "00")
    return f"00-{trace_id_of(traceparent, event_id)}-{handling_span_id(event_id, number)}-{flags}"


@dataclass(frozen=True)
class HandledEvent:
    """What a span needs to know of one handled message."""

    event_id: UUID
    type: str
    traceparent: str | None


class SpanRecorder:
    """Sends one span per handled message and one per batch, linked to each other, to an OTLP endpoint."""

    def __init__(self, service: str, endpoint: str) -> None:
        self._number = service_number(service)
        self._resource = Resource.create({"service.name": f"ordermesh-{service}"})
        self._processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint))

    def record_batch(self, batch_id: UUID, handler: str, events: Sequence[HandledEvent], started_ns: int, outcome: str) -> None:
        """Records one transaction: a batch span, and a consumer span for each message, below its publisher's."""
        ended_ns = time.time_ns()
        events = [event for event in events if event.traceparent is None or int(event.traceparent[53:55], 16) & TraceFlags.SAMPLED]
        if not events:
            return
        contexts = [self._context(event.event_id, event.traceparent) for event in events]
        batch_context = self._context(batch_id, None)
        self._processor.on_end(
            ReadableSpan(
                name=f"batch {handler}",
                context=batch_context,
                resource=self._resource,
                kind=SpanKind.INTERNAL,
                start_time=started_ns,
                end_time=ended_ns,
                attributes={"messaging.batch.message_count": len(events), "ordermesh.outcome": outcome},
                links=[Link(context) for context in contexts],
            )
        )
        for event, context in zip(events, contexts, strict=True):
            self._processor.on_end(
                ReadableSpan(
                    name=f"process {event.type}",
                    context=context,
                    parent=self._parent(event.traceparent),
                    resource=self._resource,
                    kind=SpanKind.CONSUMER,
                    start_time=started_ns,
                    end_time=ended_ns,
                    attributes={
                        "messaging.system": "rabbitmq",
                        "messaging.message.id": str(event.event_id),
                        "messaging.operation.type": "process",
                    },
                    links=[Link(batch_context)],
                )
            )

    def _context(self, event_id: UUID, traceparent: str | None) -> SpanContext:
        flags = int(traceparent[53:55], 16) if traceparent else 1
        return SpanContext(
            trace_id=int(trace_id_of(traceparent, event_id), 16),
            span_id=int(handling_span_id(event_id, self._number), 16),
            is_remote=False,
            trace_flags=TraceFlags(flags),
        )

    @staticmethod
    def _parent(traceparent: str | None) -> SpanContext | None:
        if traceparent is None:
            return None
        return SpanContext(
            trace_id=int(traceparent[3:35], 16),
            span_id=int(traceparent[36:52], 16),
            is_remote=True,
            trace_flags=TraceFlags(int(traceparent[53:55], 16)),
        )

    def close(self) -> None:
        """Sends what is left."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]  # the SDK leaves it untyped


class Measured(NamedTuple):
    """One value of a gauge that a service keeps itself. Labels are codes (locations, channels), never ids."""

    name: str
    labels: Mapping[str, str]
    value: float


class Metrics:
    """The Prometheus metrics of one process. Labels are message types and outcomes, never ids."""

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        constant: Mapping[str, Any] = {"namespace": "ordermesh", "registry": self.registry}
        self.handled = Counter("messages_handled", "Messages by type and outcome", ["type", "outcome"], **constant)
        self.batch_messages = Histogram(
            "batch_messages", "Messages per transaction", ["type"], buckets=(1, 2, 5, 10, 25, 50, 100, 200), **constant
        )
        self.batch_seconds = Histogram(
            "batch_seconds",
            "Duration of one batch, from its first message to the commit",
            ["type"],
            buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
            **constant,
        )
        self.published = Counter("messages_published", "Messages confirmed by the broker", ["type"], **constant)
        self.publish_failures = Counter("publish_failures", "Publishes that were refused, returned or timed out", **constant)
        self.relay_seconds = Histogram(
            "outbox_delay_seconds",
            "From the commit of an outbox row to its confirmed publish",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
            **constant,
        )
        self.waiting = Gauge("waiting_messages", "Inbox rows that wait, by status", ["status"], **constant)
        self.unsent = Gauge("outbox_unsent_messages", "Outbox rows not yet confirmed", **constant)
        self.ready = Gauge("ready", "1 when this process can do its work", **constant)
        self.errands = Counter("errands", "Calls to the outside world by name and outcome", ["name", "outcome"], **constant)
        self.service = service
        self._own: dict[str, Gauge] = {}

    def declare(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        """Adds a gauge of the service's own."""
        self._own[name] = Gauge(name, documentation, list(labels), namespace="ordermesh", registry=self.registry)

    def measure(self, measured: Sequence[Measured]) -> None:
        """Sets the service's own gauges; values that are not measured any more disappear."""
        for gauge in self._own.values():
            gauge.clear()
        for value in measured:
            gauge = self._own[value.name]
            # prometheus_client gives a gauge that was declared without labels no labels(), not even empty ones.
            (gauge.labels(**value.labels) if value.labels else gauge).set(value.value)


def configure_logging(service: str, level: str) -> None:
    """JSON lines on standard output. Callers log ids and reasons, never personal data."""
    numeric = logging.getLevelNamesMapping()[level]
    line = '{"level":"%(levelname)s","logger":"%(name)s","event":"%(message)s"}'
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format=line)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # Never the locals: they hold personal data and passwords.
            structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=12)),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
