"""The operations on messages that wait."""

from __future__ import annotations

from services.portal.api import messages, models
from services.portal.api.operation import Operation
from services.portal.api.routes.parameters import EVENT, SERVICE, SERVICE_OF_WAITING

MESSAGES: tuple[Operation, ...] = (
    Operation("GET", "/api/parked", "Operations", "List parked messages", messages.list_parked, models.ParkedList),
    Operation("GET", "/api/retrying", "Operations", "List messages that are tried again", messages.list_retrying, models.RetryingList),
    Operation("GET", "/api/dismissed", "Operations", "List dismissed messages", messages.list_dismissed, models.DismissedList),
    Operation(
        "GET",
        "/api/messages/{service}/{event_id}",
        "Operations",
        "Read a message that waits",
        messages.read_message,
        models.WaitingMessage,
        parameters=(SERVICE_OF_WAITING, EVENT),
        errors=(404, 422, 503),
    ),
    Operation(
        "POST",
        "/api/parked/{service}/{event_id}/dismiss",
        "Operations",
        "Dismiss a parked message",
        messages.dismiss_parked,
        models.Dismissed,
        request=models.DismissParked,
        parameters=(SERVICE, EVENT),
        errors=(404, 409, 422, 503),
    ),
    Operation(
        "POST",
        "/api/parked/{service}/{event_id}/redrive",
        "Operations",
        "Re-drive a parked message",
        messages.redrive_parked,
        models.Redriven,
        status=202,
        parameters=(SERVICE, EVENT),
        errors=(404, 422, 503),
    ),
)
