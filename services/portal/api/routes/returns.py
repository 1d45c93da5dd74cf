"""The operations on returns."""

from __future__ import annotations

from services.portal.api import models, returns
from services.portal.api.operation import Operation
from services.portal.api.routes.parameters import CHANGES, ORDER, REPEATED, RETURN

RETURNS: tuple[Operation, ...] = (
    Operation(
        "POST",
        "/api/orders/{order_id}/returns",
        "Returns",
        "Ask for a return",
        returns.request_return,
        models.Outcome,
        status=201,
        request=models.RequestReturn,
        parameters=(ORDER,),
        errors=CHANGES,
        idempotent=True,
        more_statuses=REPEATED,
    ),
    Operation(
        "GET",
        "/api/returns/{return_id}",
        "Returns",
        "Read a return",
        returns.read_return,
        models.Document,
        parameters=(RETURN,),
        errors=(404, 503),
    ),
    Operation(
        "POST",
        "/api/returns/{return_id}/scan",
        "Returns",
        "Scan a returned parcel",
        returns.scan_return,
        models.Outcome,
        request=models.ScanReturn,
        parameters=(RETURN,),
        errors=CHANGES,
        idempotent=True,
    ),
)
