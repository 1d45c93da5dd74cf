"""The operations on checkout holds."""

from __future__ import annotations

from services.portal.api import holds, models
from services.portal.api.operation import Operation
from services.portal.api.routes.parameters import HOLD, LONG_LIMIT, OF_CHANNEL, OF_SKU

HOLDS: tuple[Operation, ...] = (
    Operation(
        "POST",
        "/api/holds",
        "Holds",
        "Hold units for a shopper",
        holds.request_hold,
        models.Outcome,
        request=models.RequestHold,
        errors=(409, 422, 503),
    ),
    Operation(
        "GET",
        "/api/holds",
        "Holds",
        "List open holds",
        holds.list_holds,
        models.Document,
        parameters=(OF_SKU, OF_CHANNEL, LONG_LIMIT),
        errors=(422, 503),
    ),
    Operation(
        "GET", "/api/holds/{hold_id}", "Holds", "Read a hold", holds.read_hold, models.Document, parameters=(HOLD,), errors=(404, 503)
    ),
    Operation(
        "POST",
        "/api/holds/{hold_id}/release",
        "Holds",
        "Release a hold",
        holds.release_hold,
        models.Outcome,
        parameters=(HOLD,),
        errors=(404, 409, 503),
    ),
)
