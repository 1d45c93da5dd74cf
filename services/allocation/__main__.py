"""The allocation service: who has which units, what waits, what each channel may sell. Run with ``python -m services.allocation``."""

from services.allocation import feed_pages, hold_pages, pages, rule_pages, upload_pages
from services.allocation.handlers import (
    changing,
    counting,
    feeds,
    fulfilling,
    holding,
    placing,
    policies,
    preordering,
    promising,
    receiving,
    registering,
    ruling,
    serving,
    snapshots,
    supplying,
    uploading,
)
from shared.contracts import channels, fulfillment, holds, orders, returns, rules, stock
from shared.contracts import feeds as feed
from shared.service import Service, consume, every

SERVICE = Service(
    name="allocation",
    consumes=[
        *(consume(orders.OrderPlaced, placing.reserve_placed_orders), consume(orders.OrderEdited, changing.apply_edited_orders)),
        consume(orders.OrderCancelled, changing.release_cancelled_orders),
        *(consume(holds.StockHoldRequested, holding.hold_units), consume(holds.StockHoldReleaseRequested, holding.release_holds)),
        consume(holds.ChannelHoldRequested, holding.hold_units, answer_unreadable=holding.answer_unreadable_requests),
        consume(holds.ChannelHoldReleaseRequested, holding.release_holds, answer_unreadable=holding.answer_unreadable_requests),
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
        *(consume(rules.StockSafetyRequested, ruling.set_safety_stock), consume(rules.ChannelPoolRequested, ruling.set_channel_pools)),
        consume(channels.ProductRegistered, registering.open_pools),
        consume(fulfillment.LocationRegistered, registering.register_locations),
    ],
    publishes=[
        *(stock.StockReserved, stock.StockBackordered, stock.StockReservationReleased, stock.StockPromiseChanged),
        *(stock.StockAvailabilityChanged, stock.StockAdjusted, stock.StockAdjustmentRejected, stock.ShortagePolicySet),
        *(stock.SupplyReceiptBooked, stock.SupplyRejected, fulfillment.FulfillmentAssigned, fulfillment.FulfillmentAssignmentRejected),
        *(holds.StockHoldAnswered, holds.StockHoldRejected, holds.ChannelHoldAnswered, holds.ChannelHoldRejected, holds.ChannelHoldShrunk),
        *(rules.StockSafetySet, rules.StockSafetyRejected, rules.ChannelPoolSet, rules.ChannelPoolRejected),
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
        *(every(seconds=0.5, run=holding.expire_holds), every(seconds=60.0, run=holding.forget_closed_holds)),
    ],
    gauges=[feed_pages.GAUGES],
    routes=[*pages.ROUTES, *feed_pages.ROUTES, *hold_pages.ROUTES, *rule_pages.ROUTES, *upload_pages.ROUTES],
)
if __name__ == "__main__":
    SERVICE.main()
