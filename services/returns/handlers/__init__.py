"""Per message: load, decide, save, return what to publish. The rules are in ``decide``."""

from services.returns.handlers.authorisations import authorise_returns
from services.returns.handlers.locations import register_locations
from services.returns.handlers.orders import (
    apply_cancellations,
    apply_edits,
    book_payments,
    open_books_of_placed_orders,
    record_deliveries,
    record_shipments,
)
from services.returns.handlers.refunds import book_requested_refunds, retry_refund, settle_failed_refunds, settle_succeeded_refunds
from services.returns.handlers.scans import book_scans, expire_returns

__all__ = [
    "apply_cancellations",
    "apply_edits",
    "authorise_returns",
    "book_payments",
    "book_requested_refunds",
    "book_scans",
    "expire_returns",
    "open_books_of_placed_orders",
    "record_deliveries",
    "record_shipments",
    "register_locations",
    "retry_refund",
    "settle_failed_refunds",
    "settle_succeeded_refunds",
]
