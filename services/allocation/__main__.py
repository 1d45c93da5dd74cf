"""The allocation service: who has which units, what waits, what each channel may sell. Run with ``python -m services.allocation``."""

from services.allocation import feed_pages, pages, upload_pages
from services.allocation.handlers import (
    changing,
    counting,
    feeds,
    fulfilling,
    placing,
    policies,
    preordering,
    promising,
    receiving,
    registering,
    serving,
    snapshots,
    supplying,
    uploading,
)
from shared.contracts import channels, fulfillment, orders, returns, stock
from shared.contracts import feeds as feed
from shared.service import Service, consume, every, get

SERVICE = Service(
    name="allocation",
    consumes=[
        consume(orders.OrderPlaced, placing.reserve_placed_orders),
        consume(orders.OrderEdited, changing.apply_edited_orders),
        consume(orders.OrderCancelled, changing.release_cancelled_orders),
        consume(fulfillment.FulfillmentPlanned, fulfilling.assign_planned_fulfillments),
        consume(fulfillment.FulfillmentShipped, fulfilling.deduct_shipped_fulfillments),
        consume(fulfillment.FulfillmentCancelled, fulfilling.take_back_cancelled_fulfillments),
        consume(returns.ReturnInspected, counting.book_inspected_returns),
        *(consume(stock.SupplyScheduled, supplying.schedule_supply), consume(stock.SupplyReceived, receiving.receive_supply)),
        *(consume(stock.SupplyRescheduled, supplying.reschedule_supply), consume(stock.SupplyCancelled, supplying.cancel_supply)),
        consume(stock.SupplyChanged, supplying.change_supply),
        consume(stock.ThirdPartyReceipt, receiving.receive_third_party_receipts),
        *(consume(stock.StockPreorderOpened, preordering.open_preorders), consume(stock.StockPreorderClosed, preordering.close_preorders)),
        consume(stock.ThirdPartyStockAdjusted, counting.apply_third_party_adjustments),
        consume(stock.ThirdPartyStockSnapshot, snapshots.apply_stock_snapshots),
        consume(stock.StockAdjustmentRequested, counting.adjust_stock),
        *(consume(feed.FeedSettingsRequested, feeds.set_feed_settings), consume(feed.FeedGapCloseRequested, feeds.close_feed_gaps)),
        consume(stock.ShortagePolicyRequested, policies.set_shortage_policy),
        consume(channels.ProductRegistered, registering.open_pools),
        consume(fulfillment.LocationRegistered, registering.register_locations),
    ],
    publishes=[
        *(stock.StockReserved, stock.StockBackordered, stock.StockReservationReleased, stock.StockPromiseChanged),
        *(stock.StockAvailabilityChanged, stock.StockAdjusted, stock.StockAdjustmentRejected, stock.ShortagePolicySet),
        *(stock.SupplyReceiptBooked, stock.SupplyRejected, fulfillment.FulfillmentAssigned, fulfillment.FulfillmentAssignmentRejected),
        *(feed.FeedSettingsChanged, feed.FeedSettingsRejected, feed.FeedGapClosed, feed.FeedGapCloseRejected),
    ],
    schedules=[
        *(every(seconds=3600.0, run=registering.prepare_ledger), every(seconds=3600.0, run=snapshots.forget_unregistered)),
        *(every(seconds=30.0, run=feeds.settle_sequences), every(seconds=5.0, run=snapshots.apply_remembered_counts)),
        *(every(seconds=0.5, run=uploading.apply_uploads), every(seconds=60.0, run=uploading.forget_uploads)),
        every(seconds=0.5, run=serving.serve_queues, woken_by=serving.LEAVES_WORK),
        every(seconds=60.0, run=serving.find_neglected_queues),
        every(seconds=0.5, run=promising.continue_dating, woken_by=promising.MOVES_DATES),
        every(seconds=0.5, run=promising.tell_promises, woken_by=promising.MOVES_DATES),
        *(every(seconds=1.0, run=preordering.release_due_preorders), every(seconds=60.0, run=supplying.take_back_overdue_dates)),
    ],
    gauges=[feed_pages.GAUGES],
    routes=[
        *(get("/stock/{sku}", pages.read_stock), get("/stock", pages.list_stock), get("/supplies", pages.list_supplies)),
        *(get("/preorders", pages.list_preorders), get("/orders/{order_id}/stock", pages.read_order_stock)),
        get("/shortage-policy", pages.read_shortage_policy),
        *(*feed_pages.ROUTES, *upload_pages.ROUTES),
    ],
)
if __name__ == "__main__":
    SERVICE.main()
