"""Operations on orders: place, read, find, cancel, edit, trace."""

from __future__ import annotations

import asyncio
from uuid import UUID

from aiohttp import web

from services.portal import asking, neighbours, queries
from services.portal.api.models import (
    AnswerDelay,
    CancelOrder,
    DelayDocument,
    EditOrder,
    LineDocument,
    NotificationDocument,
    OrderDocument,
    OrderList,
    OrderSummary,
    ParcelDocument,
    Placed,
    RefundDocument,
    ReturnDocument,
    TimelineEntry,
    TraceDocument,
)
from services.portal.api.naming import in_address
from services.portal.api.operation import Call, Problem, answered, invalid, not_found
from services.portal.api.outcomes import problem_of, shown, told
from services.portal.api.previews import completed, preview_with_stock
from services.portal.decide.order import OrderView
from services.portal.decide.traces import flatten
from services.portal.reading import as_uuid, read_order_view, read_order_views
from shared.contracts.envelope import new_id
from shared.contracts.orders import Actor, OrderCancelRequested, OrderDelayAnswered, OrderEditRequested


async def place_order(call: Call) -> web.StreamResponse:
    """Takes a paid order in the name of its channel. The channel and its ``external_id`` identify it for ever: placing the same order again
    changes nothing, the same number with different content is refused."""
    # Sync recognises an order by its content; the delivery id is kept stable so that its inbox does, too.
    delivery = call.request_id("order", call.body.channel, call.body.external_id)
    reply = await asking.call(
        call.environment,
        "sync",
        "POST",
        "/orders",
        body=call.body.model_dump_json(exclude_unset=True).encode(),
        headers={"X-Ordermesh-Delivery-Id": str(delivery)},
    )
    if not reply.succeeded:
        raise problem_of(reply)
    placed = Placed.model_validate({"result": reply.document["status"], "order_id": reply.document["order_id"]})
    return answered(placed, 202)


def summary_of(view: OrderView) -> OrderSummary:
    """An order as lists show it."""
    identity = view.identity
    return OrderSummary(
        order_id=view.order_id,
        channel=identity.channel if identity else None,
        external_id=identity.external_id if identity else None,
        placed_at=identity.placed_at if identity else None,
        status=view.status,
        units_ordered=sum(line.ordered for line in view.lines),
        units_waiting=view.waiting_units,
        units_shipped=sum(line.shipped for line in view.lines),
        total_cents=view.total_cents,
        currency=identity.currency if identity else None,
    )


async def find_orders(call: Call) -> web.StreamResponse:
    """Finds orders by id, by the channel's number, by the customer's e-mail address or by a tracking number; without a query the newest."""
    query, limit = call.text("query").strip(), int(call.values["limit"])
    async with call.environment.database.acquire(timeout=10) as connection:
        if query:
            rows = await queries.search_orders(connection, query, as_uuid(query), limit)
        else:
            rows = await queries.newest_orders(connection, limit)
        views = await read_order_views(connection, rows)
    return answered(OrderList(orders=[summary_of(view) for view in views]))


async def _known(call: Call, order_id: UUID) -> OrderView:
    async with call.environment.database.acquire(timeout=10) as connection:
        view = await read_order_view(connection, order_id)
    if view is None:
        raise not_found("order")
    return view


async def read_order(call: Call) -> web.StreamResponse:
    """One order as all services together know it: lines, parcels, timeline, notifications, the routing decision, its stock. A service that
    does not answer is named in ``unavailable``; the rest is shown all the same."""
    order_id = call.uuid("order_id")
    view = await _known(call, order_id)
    async with call.environment.database.acquire(timeout=10) as connection:
        notifications = await queries.read_notifications(connection, order_id)
    routing, stock, channel_order = await asyncio.gather(
        neighbours.routing_of(call.environment, order_id),
        neighbours.stock_of(call.environment, order_id),
        neighbours.channel_order(call.environment, order_id),
    )
    identity = view.identity
    return answered(
        OrderDocument(
            order_id=order_id,
            channel=identity.channel if identity else None,
            external_id=identity.external_id if identity else None,
            placed_at=identity.placed_at if identity else None,
            currency=identity.currency if identity else None,
            order_version=view.order_version,
            status=view.status,
            ship_to=dict(view.ship_to),
            customer_email=identity.customer_email if identity else None,
            total_cents=view.total_cents,
            refunded_cents=view.refunded_cents,
            lines=[LineDocument.model_validate(line, from_attributes=True) for line in view.lines],
            parcels=[ParcelDocument.model_validate(parcel, from_attributes=True) for parcel in view.parcels],
            returns=[ReturnDocument.model_validate(item, from_attributes=True) for item in view.returns],
            refunds=[RefundDocument.model_validate(refund, from_attributes=True) for refund in view.refunds],
            pending_changes=[change.change_id for change in view.pending_changes],
            delay=None if view.delay is None else DelayDocument.model_validate(view.delay, from_attributes=True),
            trace_id=view.trace_id,
            timeline=[TimelineEntry.model_validate(entry, from_attributes=True) for entry in view.entries],
            notifications=[NotificationDocument.model_validate(dict(row)) for row in notifications],
            routing=routing.document,
            stock=stock.document,
            channel_order=channel_order.document,
            unavailable=[
                name for name, shown in (("routing", routing), ("allocation", stock), ("sync", channel_order)) if shown.away is not None
            ],
        )
    )


async def cancel_order(call: Call) -> web.StreamResponse:
    """Cancels what has not shipped, or what is named of it in ``lines``; what the warehouse has started it is asked to hold back. 200
    ``cancelled``; 202 ``pending`` while a 3PL is asked: what does not leave is refunded then, what leaves all the same gets a prepaid
    return. 409 when everything has shipped. Cancelling a cancelled order is 200 ``cancelled`` too.

    When lines are named the order goes on without them: 200 ``edited``, with ``not_cancelled`` for units that ship all the same (a parcel
    is held back only as a whole); 409 with the reason of each line when none of them can be stopped."""
    wanted: CancelOrder = call.body
    order_id = call.uuid("order_id")
    change_id = call.request_id("cancel", order_id)
    command = OrderCancelRequested(
        order_id=order_id,
        change_id=change_id,
        actor=Actor(kind="support", name=wanted.operator),
        expected_order_version=wanted.expected_order_version,
        reason=wanted.reason,
        lines=wanted.lines,
    )
    return await told(call, "routing", command, event_id=change_id, order_id=order_id, names=[in_address(call, "order", "order_id")])


async def retry_order(call: Call) -> web.StreamResponse:
    """Has routing try an order again that needs a person (``GET /api/attention`` lists them), once its trouble is dealt with. Answers with
    the order as routing has it then; 409 ``nothing_to_retry`` when it goes on by itself."""
    return shown(await neighbours.retry_order(call.environment, call.uuid("order_id")))


async def list_attention(call: Call) -> web.StreamResponse:
    """Orders that routing cannot bring forward alone: each with the reason, what can be done, and before when to decide."""
    return shown(await neighbours.read_attention(call.environment))


async def list_delays(call: Call) -> web.StreamResponse:
    """Orders that wait for their customer to say whether to wait longer, the most urgent first; ``next_after`` begins the next page."""
    return shown(await neighbours.list_delays(call.environment, call.text("after")))


async def answer_delay(call: Call) -> web.StreamResponse:
    """Answers for the customer whether to wait. A yes: 200 ``done``. A no: 200 ``cancelled``, or 202 ``pending`` while the warehouse ships
    what it has started. 409 when the answer decides nothing: too late, the date has moved again, nothing waits any more."""
    wanted: AnswerDelay = call.body
    order_id = call.uuid("order_id")
    event_id = call.request_id("delay answer", order_id)
    command = OrderDelayAnswered(
        order_id=order_id,
        consent_id=wanted.consent_id,
        answer=wanted.answer,
        actor=Actor(kind="support", name=wanted.operator),
        answered_at=call.environment.now(),
    )
    names = [in_address(call, "order", "order_id")]
    return await told(call, "routing", command, event_id=event_id, order_id=order_id, identifier=wanted.consent_id, names=names)


async def _edit_command(call: Call, order_id: UUID, change_id: UUID) -> OrderEditRequested:
    wanted: EditOrder = call.body
    if wanted.ship_to is None and not wanted.line_changes and wanted.service_level is None and wanted.split_policy is None:
        raise invalid("line_changes", "nothing is to be changed", "send ship_to, line_changes, service_level or split_policy")
    return OrderEditRequested(
        order_id=order_id,
        change_id=change_id,
        actor=Actor(kind="support", name=wanted.operator),
        expected_order_version=wanted.expected_order_version,
        ship_to=wanted.ship_to,
        line_changes=[await completed(call.environment, number, change) for number, change in enumerate(wanted.line_changes)],
        service_level=wanted.service_level,
        split_policy=wanted.split_policy,
    )


async def preview_edit(call: Call) -> web.StreamResponse:
    """Shows what a change of address, lines, service level or split policy would do: the new lines, the money, whether what it adds can be
    had, and what shipping it would cost. Nothing is changed, and nobody is asked or told."""
    order_id = call.uuid("order_id")
    command = await _edit_command(call, order_id, new_id())
    async with call.environment.database.acquire(timeout=10) as connection:
        view = await read_order_view(connection, order_id)
    return answered(await preview_with_stock(call.environment, command, view))


async def edit_order(call: Call) -> web.StreamResponse:
    """Changes address, lines, service level or split policy before the cutoff. 200 ``edited``; 202 ``pending`` while a 3PL is asked; 409
    when it may not be changed, for instance when the new total is higher than what was paid."""
    order_id = call.uuid("order_id")
    change_id = call.request_id("edit", order_id)
    command = await _edit_command(call, order_id, change_id)
    return await told(call, "routing", command, event_id=change_id, order_id=order_id, names=[in_address(call, "order", "order_id")])


async def read_order_trace(call: Call) -> web.StreamResponse:
    """Every message that any service said or heard about the order, as one tree: who said it, who handled it and how, what it caused."""
    order_id = call.uuid("order_id")
    trace = await neighbours.read_trace(call.environment, order_id)
    if not trace.roots and not trace.away:
        raise not_found("order")
    if not trace.roots:
        raise Problem(503, "service_unavailable", f"no answer from {', '.join(trace.away)}: try again in a moment")
    trace_ids = sorted({row.span.trace_id for row in flatten(trace.roots)})
    return answered(
        TraceDocument(
            order_id=order_id,
            trace_ids=trace_ids,
            messages=[root.as_json() for root in trace.roots],
            unavailable=list(trace.away),
        )
    )
