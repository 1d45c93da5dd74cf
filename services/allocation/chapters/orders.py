"""Orders: placed, changed, planned, shipped; and the queues of those that wait."""

from services.allocation import pages
from services.allocation.handlers import changing, fulfilling, placing, policies, serving
from shared.contracts import fulfillment, orders, stock
from shared.contracts.base import Message
from shared.service import consume, every

CONSUMES = [
    consume(orders.OrderPlaced, placing.reserve_placed_orders),
    consume(orders.OrderEdited, changing.apply_edited_orders),
    consume(orders.OrderCancelled, changing.release_cancelled_orders),
    consume(fulfillment.FulfillmentPlanned, fulfilling.assign_planned_fulfillments),
    consume(fulfillment.FulfillmentShipped, fulfilling.deduct_shipped_fulfillments),
    consume(fulfillment.FulfillmentCancelled, fulfilling.take_back_cancelled_fulfillments),
    consume(stock.ShortagePolicyRequested, policies.set_shortage_policy),
]
PUBLISHES: list[type[Message]] = [
    *(stock.StockReserved, stock.StockBackordered, stock.StockReservationReleased, stock.StockAvailabilityChanged),
    *(fulfillment.FulfillmentAssigned, fulfillment.FulfillmentAssignmentRejected, stock.ShortagePolicySet),
]
SCHEDULES = [
    every(seconds=0.5, run=serving.serve_queues, woken_by=serving.LEAVES_WORK),
    every(seconds=60.0, run=serving.find_neglected_queues),
]
ROUTES = pages.ROUTES
