"""The returns service: what may come back, what becomes of it, and how much money goes back, exactly once."""

from services.returns import handlers, pages
from shared.contracts import fulfillment, orders, returns
from shared.service import Service, consume, every, get, post, put

SERVICE = Service(
    name="returns",
    consumes=[
        consume(orders.OrderPlaced, handlers.open_books_of_placed_orders),
        consume(orders.OrderEdited, handlers.apply_edits),
        consume(orders.OrderCancelled, handlers.apply_cancellations),
        consume(fulfillment.FulfillmentShipped, handlers.record_shipments),
        consume(fulfillment.FulfillmentDelivered, handlers.record_deliveries),
        consume(fulfillment.LocationRegistered, handlers.register_locations),
        consume(returns.ReturnAuthorisationRequested, handlers.authorise_returns),
        consume(returns.ReturnScanRequested, handlers.book_scans),
        consume(orders.PaymentCollected, handlers.book_payments),
        consume(returns.RefundRequested, handlers.book_requested_refunds),
        consume(returns.RefundSucceeded, handlers.settle_succeeded_refunds),
        consume(returns.RefundFailed, handlers.settle_failed_refunds),
    ],
    publishes=[
        *(returns.ReturnApproved, returns.ReturnDeclined, returns.ReturnScanRejected, returns.ReturnInspected, returns.ReturnClosed),
        returns.RefundExecutionRequested,
    ],
    schedules=[every(seconds=60.0, run=handlers.expire_returns)],
    routes=[
        get("/returns", pages.list_returns),
        get("/returns/{return_id}", pages.read_return),
        get("/returns/{return_id}/label.pdf", pages.read_label),
        get("/orders/{order_id}/returnable", pages.read_returnable),
        get("/refunds", pages.list_refunds),
        post("/refunds/{refund_id}/retry", pages.retry),
        get("/policies", pages.list_policies),
        put("/policies/{segment}", pages.set_policy),
    ],
)
if __name__ == "__main__":
    SERVICE.main()
