"""One tree of what all services said and heard."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.portal.decide.traces import flatten, trace_tree
from shared.contracts.envelope import new_id
from shared.messaging.message import Connection
from shared.messaging.outbox import OutboxRow, about_subject, insert
from shared.telemetry import service_number, traceparent_of
from tests.portal.stories import NOON

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
RECEIVED, PLACED, RESERVED, PLANNED, CONFIRMED = (new_id() for _ in range(5))


def said(service: str, event_id: UUID, message_type: str, cause: UUID | None, seconds: float, sent: bool = True) -> dict[str, Any]:
    """A row of a service's outbox, with the traceparent that the runtime gives it."""
    parent = f"00-{TRACE}-{'1' * 16}-01"
    return {
        "event_id": str(event_id),
        "type": message_type,
        "created_at": (NOON + timedelta(seconds=seconds)).isoformat(),
        "sent_at": NOON.isoformat() if sent else None,
        "traceparent": traceparent_of(parent, cause or event_id, service_number(service)),
    }


def heard(event_id: UUID, message_type: str, source: str, seconds: float, **changes: Any) -> dict[str, Any]:
    """A row of a service's inbox."""
    moment = (NOON + timedelta(seconds=seconds)).isoformat()
    row = {
        "event_id": str(event_id),
        "source": source,
        "type": message_type,
        "status": "done",
        "attempts": 0,
        "reason": None,
        "received_at": moment,
        "handled_at": moment,
    }
    return {**row, **changes}


REPORTS: list[dict[str, Any]] = [
    {
        "service": "sync",
        "said": [said("sync", PLACED, "order.placed.v1", RECEIVED, 1)],
        "heard": [heard(RECEIVED, "channel.order_received.v1", "channel/shop", 0.5)],
    },
    {
        "service": "allocation",
        "said": [said("allocation", RESERVED, "stock.reserved.v1", PLACED, 2)],
        "heard": [heard(PLACED, "order.placed.v1", "ordermesh/sync", 1.5)],
    },
    {
        "service": "routing",
        "said": [said("routing", PLANNED, "fulfillment.planned.v1", RESERVED, 3, sent=False)],
        "heard": [
            heard(PLACED, "order.placed.v1", "ordermesh/sync", 1.6),
            heard(RESERVED, "stock.reserved.v1", "ordermesh/allocation", 2.5, status="retry", attempts=3, reason="away", handled_at=None),
        ],
    },
]


def shape(reports: list[dict[str, Any]]) -> list[tuple[int, str]]:
    """Depth and type of every row of the tree."""
    return [(row.depth, row.span.type) for row in flatten(trace_tree(reports))]


def test_what_a_message_caused_hangs_below_it_across_services() -> None:
    assert shape(REPORTS) == [
        (0, "channel.order_received.v1"),
        (1, "order.placed.v1"),
        (2, "stock.reserved.v1"),
        (3, "fulfillment.planned.v1"),
    ]


def test_every_message_knows_who_handled_it_how_and_after_what_time() -> None:
    rows = {row.span.type: row.span for row in flatten(trace_tree(REPORTS))}
    assert [(item.service, item.waited_ms) for item in rows["order.placed.v1"].heard] == [("allocation", 500.0), ("routing", 600.0)]
    (waiting,) = rows["stock.reserved.v1"].heard
    assert (waiting.status, waiting.attempts, waiting.reason, waiting.waited_ms) == ("retry", 3, "away", None)
    assert not rows["fulfillment.planned.v1"].sent


def test_a_partners_message_hangs_below_what_it_answers_and_nobody_knows_how_long_it_took() -> None:
    shipped = new_id()
    answer = heard(
        shipped,
        "3pl.shipped.v1",
        "3pl/west",
        9,
        traceparent=traceparent_of(f"00-{TRACE}-{'1' * 16}-01", RESERVED, service_number("routing")),
    )
    reports = [*REPORTS[:2], {**REPORTS[2], "heard": [*REPORTS[2]["heard"], answer]}]
    rows = {row.span.type: row for row in flatten(trace_tree(reports))}
    assert (rows["3pl.shipped.v1"].depth, rows["3pl.shipped.v1"].span.trace_id) == (3, TRACE)
    assert [item.waited_ms for item in rows["3pl.shipped.v1"].span.heard] == [None]


async def test_a_message_to_a_partner_names_the_partner_and_no_other_message_does(connection: Connection) -> None:
    messages = {
        "order.placed.v1": ("oms.events", "order.placed.v1"),
        "fulfillment.requested.v1": ("oms.commands", "3pl.west.fulfillment.requested.v1"),
        "channel.order_rejected.v1": ("oms.commands", "channel.webshop.order_rejected.v1"),
        "stock.adjustment_requested.v1": ("oms.commands", "stock.adjustment_requested.v1"),
    }
    rows = [OutboxRow(new_id(), name, "order", exchange, key, b"{}") for name, (exchange, key) in messages.items()]
    await insert(connection, rows, NOON)
    told = {row["type"]: row["partner"] for row in await about_subject(connection, "order")}
    assert told == {**dict.fromkeys(messages), "fulfillment.requested.v1": "3pl/west", "channel.order_rejected.v1": "channel/webshop"}
    (span,) = trace_tree(
        [{"service": "routing", "said": [{**said("routing", PLANNED, "x.v1", None, 1), "partner": "3pl/west"}], "heard": []}]
    )
    assert (span.partner, span.as_json()["partner"]) == ("3pl/west", "3pl/west")


def test_the_whole_order_is_one_trace_even_from_before_we_gave_it_one() -> None:
    assert {row.span.trace_id for row in flatten(trace_tree(REPORTS))} == {TRACE}


def test_a_message_whose_cause_is_unknown_stands_on_its_own() -> None:
    lone = said("returns", new_id(), "return.closed.v1", new_id(), 9)
    assert shape([*REPORTS, {"service": "returns", "said": [lone], "heard": []}])[-1] == (0, "return.closed.v1")


def test_a_message_that_nobody_caused_is_a_root() -> None:
    scheduled = said("routing", CONFIRMED, "order.needs_attention.v1", None, 9)
    assert shape([{"service": "routing", "said": [scheduled], "heard": []}]) == [(0, "order.needs_attention.v1")]


def test_nothing_is_an_empty_tree() -> None:
    assert trace_tree([]) == []


@given(st.permutations(REPORTS))
def test_the_order_in_which_services_answer_does_not_matter(reports: list[dict[str, Any]]) -> None:
    assert shape(reports) == shape(REPORTS)
