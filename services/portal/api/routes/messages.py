"""The operations on messages that wait."""

from __future__ import annotations

from services.portal.api import messages, models
from services.portal.api.operation import Operation
from services.portal.api.routes.parameters import EVENT, SERVICE

MESSAGES: tuple[Operation, ...] = (
    Operation("GET", "/api/parked", "Operations", "List parked messages", messages.list_parked, models.ParkedList),
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
