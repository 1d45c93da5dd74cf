"""The continuous auditor: what breaks the books is named, and operators decide what mends them."""

from services.allocation import findings_pages
from services.allocation.handlers import auditing, compensating
from shared.contracts import stock
from shared.contracts.base import Message
from shared.service import consume, every

CONSUMES = [
    consume(stock.StockCompensationRequested, compensating.apply_compensations),
    consume(stock.StockFindingDismissalRequested, compensating.dismiss_findings),
]
PUBLISHES: list[type[Message]] = [stock.StockFindingDecided, stock.StockFindingRefused]
SCHEDULES = [every(seconds=2.0, run=auditing.audit_some)]
ROUTES = findings_pages.ROUTES
GAUGES = [findings_pages.GAUGES]
