"""What the API takes and gives, chapter by chapter."""

from services.portal.api.models.books import AuditCheck, AuditDocument, AuditViolation
from services.portal.api.models.catalogue import RegisterListings, RegisterLocation, RegisterProducts
from services.portal.api.models.feeds import ApplyCounts, CloseGap, SetFeed
from services.portal.api.models.holds import RequestHold
from services.portal.api.models.messages import ParkedList, ParkedMessage, Redriven
from services.portal.api.models.orders import (
    AnswerDelay,
    CancelOrder,
    DelayDocument,
    EditOrder,
    KitShareDocument,
    LineDocument,
    NotificationDocument,
    OrderDocument,
    OrderList,
    OrderSummary,
    ParcelDocument,
    Placed,
    PlaceOrder,
    RefundDocument,
    ReturnDocument,
    TimelineEntry,
    TraceDocument,
)
from services.portal.api.models.returns import RequestReturn, ScanReturn
from services.portal.api.models.rules import SetChannelPool, SetSafety
from services.portal.api.models.shapes import Document, ErrorAnswer, ErrorDetail, Outcome, OutcomeMessage, Request, Response
from services.portal.api.models.stock import AdjustStock, SetShortagePolicy
from services.portal.api.models.supplies import ChangeSupply, OpenPreorder, ReceiveSupply, RescheduleSupply, ScheduleSupply

__all__ = [
    "AdjustStock",
    "AnswerDelay",
    "ApplyCounts",
    "AuditCheck",
    "AuditDocument",
    "AuditViolation",
    "CancelOrder",
    "ChangeSupply",
    "CloseGap",
    "DelayDocument",
    "Document",
    "EditOrder",
    "ErrorAnswer",
    "ErrorDetail",
    "KitShareDocument",
    "LineDocument",
    "NotificationDocument",
    "OpenPreorder",
    "OrderDocument",
    "OrderList",
    "OrderSummary",
    "Outcome",
    "OutcomeMessage",
    "ParcelDocument",
    "ParkedList",
    "ParkedMessage",
    "PlaceOrder",
    "Placed",
    "ReceiveSupply",
    "Redriven",
    "RefundDocument",
    "RegisterListings",
    "RegisterLocation",
    "RegisterProducts",
    "Request",
    "RequestHold",
    "RequestReturn",
    "RescheduleSupply",
    "Response",
    "ReturnDocument",
    "ScanReturn",
    "ScheduleSupply",
    "SetChannelPool",
    "SetFeed",
    "SetSafety",
    "SetShortagePolicy",
    "TimelineEntry",
    "TraceDocument",
]
