"""The portal's table of contents: it hears what happens to orders, shows it, tells customers, and asks for operators and shoppers."""

from services.portal import handlers
from services.portal.api import routes as api
from services.portal.errands import errands
from services.portal.pages import routes as pages
from services.portal.settings import PortalSettings
from shared.contracts import fulfillment, orders, returns, stock
from shared.service import Service, consume

SERVICE = Service(
    name="portal",
    settings=PortalSettings,
    consumes=[
        consume(orders.OrderPlaced, handlers.record_placed_orders),
        consume(orders.OrderEdited, handlers.record_edited_orders),
        *[
            consume(message, handlers.record_progress)
            for message in (
                *(orders.OrderEditRejected, orders.OrderChangePending, orders.OrderCancelled, orders.OrderCancelRejected),
                *(orders.OrderDelayed, orders.OrderDelayConsentSettled, orders.OrderPaymentRequested),
                *(stock.StockReserved, stock.StockBackordered, stock.StockPromiseChanged, stock.StockReservationReleased),
                *(fulfillment.FulfillmentStarted, fulfillment.FulfillmentShipped, fulfillment.FulfillmentDelivered),
                *(fulfillment.FulfillmentCancelled, fulfillment.FulfillmentInterceptionMoved, fulfillment.OrderNeedsAttention),
                *(returns.ReturnApproved, returns.ReturnDeclined, returns.ReturnInspected, returns.ReturnClosed),
                *(returns.RefundSucceeded, returns.RefundFailed),
            )
        ],
    ],
    publishes=[],
    errands=errands,
    routes=[*pages.ROUTES, *api.ROUTES],
)

if __name__ == "__main__":
    SERVICE.main()
