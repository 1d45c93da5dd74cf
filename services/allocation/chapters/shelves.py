"""Shelves: products and places, what is counted, corrected and given back."""

from services.allocation import feed_pages, upload_pages
from services.allocation.handlers import counting, feeds, registering, snapshots, uploading
from shared.contracts import channels, fulfillment, returns, stock
from shared.contracts import feeds as feed
from shared.contracts.base import Message
from shared.service import consume, every

CONSUMES = [
    consume(channels.ProductRegistered, registering.open_pools),
    consume(fulfillment.LocationRegistered, registering.register_locations),
    consume(returns.ReturnInspected, counting.book_inspected_returns),
    consume(stock.ThirdPartyStockAdjusted, counting.apply_third_party_adjustments),
    consume(stock.ThirdPartyStockSnapshot, snapshots.apply_stock_snapshots),
    consume(stock.StockAdjustmentRequested, counting.adjust_stock),
    consume(feed.FeedSettingsRequested, feeds.set_feed_settings),
    consume(feed.FeedGapCloseRequested, feeds.close_feed_gaps),
]
PUBLISHES: list[type[Message]] = [
    *(stock.StockAdjusted, stock.StockAdjustmentRejected, feed.FeedSettingsChanged, feed.FeedSettingsRejected),
    *(feed.FeedGapClosed, feed.FeedGapCloseRejected),
]
SCHEDULES = [
    *(every(seconds=3600.0, run=registering.prepare_ledger), every(seconds=3600.0, run=snapshots.forget_unregistered)),
    *(every(seconds=30.0, run=feeds.settle_sequences), every(seconds=5.0, run=snapshots.apply_remembered_counts)),
    *(every(seconds=0.5, run=uploading.apply_uploads), every(seconds=60.0, run=uploading.forget_uploads)),
]
ROUTES = [*feed_pages.ROUTES, *upload_pages.ROUTES]
GAUGES = [feed_pages.GAUGES]
