"""What is kept: for shoppers before they pay, for channels, and from sale."""

from services.allocation import hold_pages, rule_pages
from services.allocation.handlers import holding, ruling
from shared.contracts import holds, rules
from shared.contracts.base import Message
from shared.service import consume, every

CONSUMES = [
    consume(holds.StockHoldRequested, holding.hold_units),
    consume(holds.StockHoldReleaseRequested, holding.release_holds),
    consume(holds.ChannelHoldRequested, holding.hold_units, answer_unreadable=holding.answer_unreadable_requests),
    consume(holds.ChannelHoldReleaseRequested, holding.release_holds, answer_unreadable=holding.answer_unreadable_requests),
    consume(rules.StockSafetyRequested, ruling.set_safety_stock),
    consume(rules.ChannelPoolRequested, ruling.set_channel_pools),
]
PUBLISHES: list[type[Message]] = [
    *(holds.StockHoldAnswered, holds.StockHoldRejected, holds.ChannelHoldAnswered, holds.ChannelHoldRejected, holds.ChannelHoldShrunk),
    *(rules.StockSafetySet, rules.StockSafetyRejected, rules.ChannelPoolSet, rules.ChannelPoolRejected),
]
SCHEDULES = [
    every(seconds=0.5, run=holding.expire_holds),
    every(seconds=60.0, run=holding.forget_closed_holds),
]
ROUTES = [*hold_pages.ROUTES, *rule_pages.ROUTES]
