"""The routing service: which location ships which units, and whether an order may still be changed."""

import sys

from services.routing import current, handlers, pages, previews
from services.routing.chapters import foreseeing, ruling
from services.routing.settings import RoutingSettings
from shared.contracts import fulfillment, orders, returns, stock
from shared.errors import BadConfiguration
from shared.service import Service, consume, every, get, post

SERVICE = Service(
    name="routing",
    settings=RoutingSettings,
    consumes=[
        consume(orders.OrderPlaced, handlers.take_placed_orders),
        consume(stock.StockReserved, handlers.plan_reserved_units),
        consume(stock.StockBackordered, handlers.note_backorders),
        consume(stock.StockPromiseChanged, handlers.move_promises),
        consume(fulfillment.FulfillmentAssigned, handlers.hand_over_assigned_plans),
        consume(fulfillment.FulfillmentAssignmentRejected, handlers.plan_anew_after_refusals),
        *(consume(answer, handlers.hear_third_parties) for answer in handlers.ANSWERS),
        consume(orders.OrderCancelRequested, handlers.cancel_orders),
        consume(orders.OrderEditRequested, handlers.edit_orders),
        *(consume(orders.PaymentCollected, handlers.take_payments), consume(orders.PaymentRefused, handlers.drop_refused_payments)),
        *(consume(orders.OrderDelayAnswered, handlers.answer_delays), *ruling.CONSUMES),
    ],
    publishes=[
        *(fulfillment.FulfillmentPlanned, fulfillment.FulfillmentRequested, fulfillment.FulfillmentCancelRequested),
        *(fulfillment.FulfillmentInterceptRequested, fulfillment.FulfillmentInterceptionMoved, fulfillment.FulfillmentStarted),
        *(fulfillment.FulfillmentShipped, fulfillment.FulfillmentDelivered, fulfillment.FulfillmentCancelled, orders.OrderEdited),
        *(orders.OrderEditRejected, orders.OrderChangePending, orders.OrderCancelled, orders.OrderCancelRejected, orders.OrderDelayed),
        *(orders.OrderDelayConsentSettled, orders.OrderDelayAnswerRejected, returns.RefundRequested, returns.ReturnAuthorisationRequested),
        *(fulfillment.OrderNeedsAttention, orders.OrderPaymentRequested, orders.OrderPaymentVoided),
        *ruling.PUBLISHES,
    ],
    schedules=[
        every(seconds=0.5, run=handlers.wake_due_orders),
        every(seconds=0.5, run=handlers.adopt_early_reservations),
        every(seconds=3_600, run=handlers.keep_places),
        every(seconds=3_600, run=handlers.name_what_carries),
    ],
    errands=foreseeing.ERRANDS,
    gauges=foreseeing.GAUGES,
    routes=[
        *(get("/orders", pages.list_orders), get("/orders/{order_id}", pages.read_order), get("/attention", pages.list_attention)),
        *(get("/delays", pages.list_delays), post("/orders/{order_id}/retry", pages.retry_order), *ruling.ROUTES),
        *(post("/orders/{order_id}/edit/preview", previews.preview_edit_of_order), *foreseeing.ROUTES),
    ],
)
if __name__ == "__main__":
    try:
        current.warm_up()
    except BadConfiguration as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    SERVICE.main()
