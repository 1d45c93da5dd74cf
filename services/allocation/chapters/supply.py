"""Supply: goods on their way, preorders, and the dates that are promised from both."""

from services.allocation import supply_pages
from services.allocation.handlers import preordering, promising, receiving, supplying
from shared.contracts import stock
from shared.contracts.base import Message
from shared.service import consume, every

CONSUMES = [
    consume(stock.SupplyScheduled, supplying.schedule_supply),
    consume(stock.SupplyRescheduled, supplying.reschedule_supply),
    consume(stock.SupplyChanged, supplying.change_supply),
    consume(stock.SupplyCancelled, supplying.cancel_supply),
    consume(stock.SupplyReceived, receiving.receive_supply),
    consume(stock.ThirdPartyReceipt, receiving.receive_third_party_receipts),
    consume(stock.StockPreorderOpened, preordering.open_preorders),
    consume(stock.StockPreorderClosed, preordering.close_preorders),
]
PUBLISHES: list[type[Message]] = [stock.SupplyReceiptBooked, stock.SupplyRejected, stock.StockPromiseChanged]
SCHEDULES = [
    every(seconds=0.5, run=promising.continue_dating, woken_by=promising.MOVES_DATES),
    every(seconds=0.5, run=promising.tell_promises, woken_by=promising.MOVES_DATES),
    every(seconds=1.0, run=preordering.release_due_preorders),
    every(seconds=60.0, run=supplying.take_back_overdue_dates),
]
ROUTES = supply_pages.ROUTES
