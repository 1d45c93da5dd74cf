"""The operations on rules about stock and on checkout holds, for the table of operations."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from services.portal.api import models, rules
from services.portal.api.operation import Operation, Parameter
from shared.contracts.base import Code, Sku

SKU = Parameter("sku", "path", Sku, "The stock keeping unit, exactly as the merchant writes it; percent-encoded.")
LOCATION = Parameter("location", "path", Code, "The location's code.")
CHANNEL = Parameter("channel", "path", Code, "The channel's code.")
HOLD = Parameter("hold_id", "path", UUID, "The id that the channel chose for the hold.")
OF_SKU = Parameter("sku", "query", Sku, "Only of this SKU.")
OF_LOCATION = Parameter("location", "query", Code, "Only of this location.")
OF_CHANNEL = Parameter("channel", "query", Code, "Only of this channel.")
AFTER = Parameter("after", "query", str, "Begin behind this SKU: next_after of the page before.")
BEFORE = Parameter("before", "query", str, "Begin before this entry: next_before of the page before.")
LIMIT = Parameter("limit", "query", Annotated[int, Field(ge=1, le=1_000)], "How many at most, 1 to 1,000.", 100)

RULES: tuple[Operation, ...] = (
    Operation(
        "PUT",
        "/api/safety-stock/{sku:.+}",
        "Stock",
        "Set the safety stock of a SKU",
        rules.set_safety,
        models.Outcome,
        request=models.SetSafety,
        parameters=(SKU,),
        errors=(409, 422, 503),
        idempotent=True,
    ),
    Operation(
        "PUT",
        "/api/safety-stock-at/{location}/{sku:.+}",
        "Stock",
        "Set the safety stock of a SKU at a location",
        rules.set_location_safety,
        models.Outcome,
        request=models.SetSafety,
        parameters=(LOCATION, SKU),
        errors=(409, 422, 503),
        idempotent=True,
    ),
    Operation(
        "PUT",
        "/api/channel-pools/{channel}/{sku:.+}",
        "Stock",
        "Decide what a channel may take of a SKU",
        rules.set_channel_pool,
        models.Outcome,
        request=models.SetChannelPool,
        parameters=(CHANNEL, SKU),
        errors=(409, 422, 503),
        idempotent=True,
    ),
    Operation(
        "GET",
        "/api/channel-pools",
        "Stock",
        "List what channels may take",
        rules.list_channel_pools,
        models.Document,
        parameters=(OF_CHANNEL, AFTER, LIMIT),
        errors=(422, 503),
    ),
    Operation(
        "GET",
        "/api/adjustments",
        "Stock",
        "List corrections of stock",
        rules.list_adjustments,
        models.Document,
        parameters=(OF_SKU, OF_LOCATION, BEFORE, LIMIT),
        errors=(422, 503),
    ),
    Operation(
        "GET",
        "/api/rule-changes",
        "Stock",
        "List changes of stock rules",
        rules.list_rule_changes,
        models.Document,
        parameters=(OF_SKU, BEFORE, LIMIT),
        errors=(422, 503),
    ),
    Operation(
        "POST",
        "/api/holds",
        "Holds",
        "Hold units for a shopper",
        rules.request_hold,
        models.Outcome,
        request=models.RequestHold,
        errors=(409, 422, 503),
    ),
    Operation(
        "GET",
        "/api/holds",
        "Holds",
        "List open holds",
        rules.list_holds,
        models.Document,
        parameters=(OF_SKU, OF_CHANNEL, LIMIT),
        errors=(422, 503),
    ),
    Operation(
        "GET", "/api/holds/{hold_id}", "Holds", "Read a hold", rules.read_hold, models.Document, parameters=(HOLD,), errors=(404, 503)
    ),
    Operation(
        "POST",
        "/api/holds/{hold_id}/release",
        "Holds",
        "Release a hold",
        rules.release_hold,
        models.Outcome,
        parameters=(HOLD,),
        errors=(404, 409, 503),
    ),
)
