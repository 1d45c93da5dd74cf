"""Parameters that several operations have, and what several of them answer."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from services.portal.api.operation import Parameter
from shared.contracts.base import Code, Sku


def _path(name: str, description: str, kind: object = UUID) -> Parameter:
    return Parameter(name, "path", kind, description)


ORDER = _path("order_id", "The order's id.")
RETURN = _path("return_id", "The return's id.")
LOCATION = _path("location", "The location's code.", Code)
CHANNEL = _path("channel", "The channel's code.", Code)
UPLOAD = _path("upload_id", "The upload's id.")
SUPPLY = _path("supply_id", "The supply's id.")
HOLD = _path("hold_id", "The id that the channel chose for the hold.")
SKU = _path("sku", "The stock keeping unit, exactly as the merchant writes it; percent-encoded.", Sku)
SERVICE = _path("service", "Whose parked message.", Code)
SERVICE_OF_WAITING = _path("service", "At which service it waits or was dismissed.", Code)
EVENT = _path("event_id", "The message's id.")

SEARCH = Parameter("query", "query", str, "An order id, a channel's order number, an e-mail address or a tracking number.", "")
ANY_SKU = Parameter("sku", "query", str, "Only what concerns this SKU.", "")
OF_SKU = Parameter("sku", "query", Sku, "Only of this SKU.")
OF_LOCATION = Parameter("location", "query", Code, "Only of this location.")
OF_CHANNEL = Parameter("channel", "query", Code, "Only of this channel.")
PURCHASE_ORDER = Parameter("purchase_order", "query", str, "Only supplies with this purchase order number.", "")
OVER_RECEIVED = Parameter("over_received", "query", bool, "Only supplies of which more came than they should have brought.", False)
AFTER = Parameter("after", "query", str, "next_after of the page before.", "")
AFTER_SKU = Parameter("after", "query", str, "Begin behind this SKU: next_after of the page before.")
BEFORE = Parameter("before", "query", str, "Begin before this entry: next_before of the page before.")
LIMIT = Parameter("limit", "query", Annotated[int, Field(ge=1, le=200)], "How many at most, 1 to 200.", 50)
LONG_LIMIT = Parameter("limit", "query", Annotated[int, Field(ge=1, le=1_000)], "How many at most, 1 to 1,000.", 100)

PENDING = {202: "Passed on: a 3PL is asked, and its word decides."}
REPEATED = {200: "This very request was made before."}
CHANGES = (404, 409, 422, 503)
