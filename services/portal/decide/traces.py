"""One tree of everything all services said and heard about a subject.

No trace server is needed: the span under which a service handles an event follows from the event id and the service (shared.telemetry), and
every message carries the span it was caused under, so parents can be found again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.telemetry import handling_span_id, service_number


@dataclass(frozen=True, slots=True)
class Heard:
    """How one service dealt with a message."""

    service: str
    status: str
    attempts: int
    reason: str | None
    handled_at: datetime | None
    waited_ms: float | None
    """From when the message was written down by its sender to when this service had handled it."""


@dataclass(slots=True)
class Span:
    """One message: who said it, who heard it, what it led to."""

    event_id: UUID
    type: str
    source: str
    at: datetime | None
    trace_id: str
    sent: bool
    partner: str | None = None
    """Whose queue it went to, like ``3pl/west``: a partner does not tell us that it has read a message."""
    heard: list[Heard] = field(default_factory=list)
    children: list[Span] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The span and everything below it, for the API."""
        return {
            "event_id": str(self.event_id),
            "type": self.type,
            "source": self.source,
            "at": self.at.isoformat() if self.at else None,
            "trace_id": self.trace_id,
            "sent": self.sent,
            "partner": self.partner,
            "heard_by": [
                {
                    "service": heard.service,
                    "status": heard.status,
                    "attempts": heard.attempts,
                    "reason": heard.reason,
                    "handled_at": heard.handled_at.isoformat() if heard.handled_at else None,
                    "waited_ms": heard.waited_ms,
                }
                for heard in self.heard
            ],
            "caused": [child.as_json() for child in self.children],
        }


@dataclass(frozen=True, slots=True)
class FlatSpan:
    """A span with its depth, for a table."""

    span: Span
    depth: int


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _spans_said(reports: Sequence[Mapping[str, Any]]) -> tuple[dict[UUID, Span], dict[UUID, tuple[str, str]]]:
    """Every message that was said, and under which (service, parent span) it was caused."""
    spans: dict[UUID, Span] = {}
    caused_under: dict[UUID, tuple[str, str]] = {}
    for report in reports:
        for said in report["said"]:
            event_id = UUID(said["event_id"])
            traceparent = said["traceparent"] or ""
            spans[event_id] = Span(
                event_id=event_id,
                type=said["type"],
                source=f"ordermesh/{report['service']}",
                at=_moment(said["created_at"]),
                trace_id=traceparent[3:35] or event_id.hex,
                sent=said["sent_at"] is not None,
                partner=said.get("partner"),
            )
            caused_under[event_id] = (report["service"], traceparent[36:52])
    return spans, caused_under


def _hear(spans: dict[UUID, Span], caused_under: dict[UUID, tuple[str, str]], said: frozenset[UUID], report: Mapping[str, Any]) -> None:
    for heard in report["heard"]:
        event_id = UUID(heard["event_id"])
        handled_at = _moment(heard["handled_at"])
        if event_id not in spans:
            # A partner's or the console's message: nobody's outbox holds it, so it starts where it was first heard.
            traceparent = heard.get("traceparent") or ""
            trace_id = traceparent[3:35] or event_id.hex
            spans[event_id] = Span(event_id, heard["type"], heard["source"], _moment(heard["received_at"]), trace_id, sent=True)
            if traceparent:
                caused_under[event_id] = (report["service"], traceparent[36:52])
        # Only for what a service wrote down do we know when it was said.
        said_at = spans[event_id].at if event_id in said else None
        waited = (handled_at - said_at).total_seconds() * 1000 if handled_at and said_at else None
        spans[event_id].heard.append(Heard(report["service"], heard["status"], heard["attempts"], heard["reason"], handled_at, waited))


def trace_tree(reports: Sequence[Mapping[str, Any]]) -> list[Span]:
    """The roots of the tree, in the order in which they happened.

    Args:
        reports: what each service answered to ``GET /operations/messages?subject=``.
    """
    spans, caused_under = _spans_said(reports)
    said = frozenset(spans)
    for report in reports:
        _hear(spans, caused_under, said, report)
    handlings = {handling_span_id(event_id, service_number(report["service"])): event_id for report in reports for event_id in spans}
    children: dict[UUID | None, list[Span]] = defaultdict(list)
    for event_id, span in spans.items():
        parent = handlings.get(caused_under[event_id][1]) if event_id in caused_under else None
        children[parent if parent != event_id else None].append(span)
    for event_id, span in spans.items():
        span.children = sorted(children.get(event_id, []), key=_age)
        # What a partner said belongs to the trace of what it led to.
        if event_id not in caused_under and span.children:
            span.trace_id = span.children[0].trace_id
    return sorted(children[None], key=_age)


def _age(span: Span) -> tuple[bool, float, str]:
    return (span.at is None, span.at.timestamp() if span.at else 0.0, str(span.event_id))


def flatten(roots: Sequence[Span], depth: int = 0) -> list[FlatSpan]:
    """The tree as rows, parents before children."""
    rows: list[FlatSpan] = []
    for root in roots:
        rows.append(FlatSpan(root, depth))
        rows.extend(flatten(root.children, depth + 1))
    return rows
