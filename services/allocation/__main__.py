"""The allocation service: who has which units, what waits, what each channel may sell. Run with ``python -m services.allocation``."""

from services.allocation import feed_pages, findings_pages, pages, upload_pages
from services.allocation.handlers import (
    auditing,
    changing,
    compensating,
    counting,
    feeds,
    fulfilling,
    placing,
    policies,
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
        *(consume(stock.SupplyScheduled, supplying.schedule_supply), consume(stock.SupplyReceived, supplying.receive_supply)),
        *(consume(stock.SupplyRescheduled, supplying.reschedule_supply), consume(stock.SupplyCancelled, supplying.cancel_supply)),
        consume(stock.ThirdPartyReceipt, supplying.receive_third_party_receipts),
        consume(stock.ThirdPartyStockAdjusted, counting.apply_third_party_adjustments),
        consume(stock.ThirdPartyStockSnapshot, snapshots.apply_stock_snapshots),
        consume(stock.StockAdjustmentRequested, counting.adjust_stock),
        *(consume(feed.FeedSettingsRequested, feeds.set_feed_settings), consume(feed.FeedGapCloseRequested, feeds.close_feed_gaps)),
        consume(stock.ShortagePolicyRequested, policies.set_shortage_policy),
        consume(stock.StockCompensationRequested, compensating.apply_compensations),
        consume(stock.StockFindingDismissalRequested, compensating.dismiss_findings),
        consume(channels.ProductRegistered, registering.open_pools),
        consume(fulfillment.LocationRegistered, registering.register_locations),
    ],
    publishes=[
        *(stock.StockReserved, stock.StockBackordered, stock.StockReservationReleased, stock.StockPromiseChanged),
        *(stock.StockAvailabilityChanged, stock.StockAdjusted, stock.StockAdjustmentRejected, stock.ShortagePolicySet),
        *(fulfillment.FulfillmentAssigned, fulfillment.FulfillmentAssignmentRejected, stock.StockFindingDecided, stock.StockFindingRefused),
        *(feed.FeedSettingsChanged, feed.FeedSettingsRejected, feed.FeedGapClosed, feed.FeedGapCloseRejected),
    ],
    schedules=[
        *(every(seconds=3600.0, run=registering.prepare_ledger), every(seconds=3600.0, run=snapshots.forget_unregistered)),
        *(every(seconds=30.0, run=feeds.settle_sequences), every(seconds=5.0, run=snapshots.apply_remembered_counts)),
        *(every(seconds=0.5, run=uploading.apply_uploads), every(seconds=60.0, run=uploading.forget_uploads)),
        every(seconds=0.5, run=serving.serve_queues, woken_by=serving.LEAVES_WORK),
        *(every(seconds=60.0, run=serving.find_neglected_queues), every(seconds=2.0, run=auditing.audit_some)),
    ],
    gauges=[feed_pages.GAUGES, findings_pages.GAUGES],
    routes=[
        *(get("/stock/{sku}", pages.read_stock), get("/stock", pages.list_stock), get("/supplies", pages.list_supplies)),
        *(get("/orders/{order_id}/stock", pages.read_order_stock), get("/shortage-policy", pages.read_shortage_policy)),
        *(*feed_pages.ROUTES, *upload_pages.ROUTES, *findings_pages.ROUTES),
    ],
)
if __name__ == "__main__":
    SERVICE.main()
