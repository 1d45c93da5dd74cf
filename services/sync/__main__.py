"""The sync service: orders in from channels; stock numbers, tracking and refunds out to them."""

from services.sync.errands import errands
from services.sync.handlers import cancellations, catalogue, edits, orders, payments, refunds, shipments, stock
from services.sync.pages import changing, placing, reading
from services.sync.settings import Settings
from shared.contracts import channels, fulfillment, returns
from shared.contracts import orders as order_messages
from shared.contracts import stock as stock_messages
from shared.service import Service, consume, every, get, post

SERVICE = Service(
    name="sync",
    settings=Settings,
    consumes=[
        consume(channels.ChannelOrderReceived, orders.receive_orders, answer_unreadable=orders.answer_unreadable_orders),
        consume(
            channels.ChannelCancelRequested,
            cancellations.pass_on_cancellations,
            answer_unreadable=cancellations.answer_unreadable_cancellations,
        ),
        consume(channels.ChannelEditRequested, edits.pass_on_edits, answer_unreadable=edits.answer_unreadable_edits),
        consume(channels.ProductRegistrationRequested, catalogue.register_products),
        consume(channels.ListingRegistrationRequested, catalogue.register_listings),
        consume(stock_messages.StockAvailabilityChanged, stock.change_availability),
        consume(fulfillment.FulfillmentShipped, shipments.schedule_notices),
        consume(order_messages.OrderEdited, orders.record_edits),
        consume(order_messages.OrderCancelled, orders.record_cancellations),
        consume(order_messages.OrderCancelRejected, cancellations.tell_refusals),
        consume(order_messages.OrderEditRejected, edits.tell_outcomes),
        consume(order_messages.OrderPaymentRequested, payments.ask_for_payments),
        consume(order_messages.OrderPaymentVoided, payments.void_payments),
        consume(channels.ChannelPaymentCollected, payments.take_collections),
        consume(channels.ChannelPaymentRefused, payments.take_refusals),
        consume(returns.RefundExecutionRequested, refunds.request_refunds),
    ],
    publishes=[
        *(order_messages.OrderPlaced, channels.ChannelOrderRejected, channels.ProductRegistered),
        *(channels.ListingRegistered, channels.ListingRegistrationRejected, returns.RefundSucceeded, returns.RefundFailed),
        *(order_messages.OrderCancelRequested, channels.ChannelCancelDecided, channels.ChannelOrderChanged),
        *(order_messages.OrderEditRequested, channels.ChannelEditDecided),
        *(channels.ChannelPaymentRequested, channels.ChannelPaymentVoided, order_messages.PaymentCollected, order_messages.PaymentRefused),
    ],
    schedules=[every(seconds=600, run=stock.forget_old_latencies), every(seconds=1, run=cancellations.take_up_waiting_cancellations)],
    errands=errands,
    routes=[
        *(post("/webhooks/{channel}", placing.receive_webhook, public=True), post("/orders", placing.place_order)),
        post("/webhooks/{channel}/cancellations", changing.receive_cancellation, public=True),
        post("/webhooks/{channel}/edits", changing.receive_edit, public=True),
        post("/webhooks/{channel}/shopify", changing.receive_shopify_topic, public=True),
        get("/orders/by-external/{channel}/{external_id:.+}", reading.read_order_by_external_id),
        get("/orders/{order_id}", reading.read_order),
        get("/products/{sku:.+}", reading.read_product),
        *(get("/listings", reading.read_listings), get("/channels", reading.read_channels)),
    ],
)
if __name__ == "__main__":
    SERVICE.main()
