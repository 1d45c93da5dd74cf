"""The operations on orders."""

from __future__ import annotations

from services.portal.api import models, orders
from services.portal.api.operation import Operation
from services.portal.api.routes.parameters import AFTER, CHANGES, LIMIT, ORDER, PENDING, SEARCH

ORDERS: tuple[Operation, ...] = (
    Operation(
        "POST",
        "/api/orders",
        "Orders",
        "Place an order",
        orders.place_order,
        models.Placed,
        status=202,
        request=models.PlaceOrder,
        errors=(409, 422, 503),
        idempotent=True,
    ),
    Operation(
        "GET", "/api/orders", "Orders", "Find orders", orders.find_orders, models.OrderList, parameters=(SEARCH, LIMIT), errors=(422,)
    ),
    Operation(
        "GET",
        "/api/orders/{order_id}",
        "Orders",
        "Read an order",
        orders.read_order,
        models.OrderDocument,
        parameters=(ORDER,),
        errors=(404,),
    ),
    Operation(
        "POST",
        "/api/orders/{order_id}/cancel",
        "Orders",
        "Cancel an order",
        orders.cancel_order,
        models.Outcome,
        request=models.CancelOrder,
        parameters=(ORDER,),
        errors=CHANGES,
        idempotent=True,
        more_statuses=PENDING,
    ),
    Operation(
        "POST",
        "/api/orders/{order_id}/edit",
        "Orders",
        "Change an order",
        orders.edit_order,
        models.Outcome,
        request=models.EditOrder,
        parameters=(ORDER,),
        errors=CHANGES,
        idempotent=True,
        more_statuses=PENDING,
    ),
    Operation(
        "POST",
        "/api/orders/{order_id}/delay-answer",
        "Orders",
        "Answer about a delay",
        orders.answer_delay,
        models.Outcome,
        request=models.AnswerDelay,
        parameters=(ORDER,),
        errors=CHANGES,
        idempotent=True,
        more_statuses={202: "What the warehouse has started ships first, then the rest is cancelled."},
    ),
    Operation(
        "GET",
        "/api/delays",
        "Orders",
        "List orders that wait for their customer",
        orders.list_delays,
        models.Document,
        parameters=(AFTER,),
        errors=(422, 503),
    ),
    Operation(
        "GET",
        "/api/orders/{order_id}/trace",
        "Orders",
        "Trace an order",
        orders.read_order_trace,
        models.TraceDocument,
        parameters=(ORDER,),
        errors=(404, 503),
    ),
)
