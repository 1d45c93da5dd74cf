"""Products, listings and locations."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from services.portal.api.models.shapes import Request
from shared.contracts.base import Code
from shared.contracts.channels import Listing, Product
from shared.contracts.fulfillment import LocationRegistrationRequested


class RegisterProducts(Request):
    """Products to sell. Registering a SKU again replaces its data. With ``components`` it is a kit of registered products."""

    products: Annotated[list[Product], Field(min_length=1, max_length=1_000)]


class RegisterListings(Request):
    """What one channel sells."""

    channel: Code
    listings: Annotated[list[Listing], Field(min_length=1, max_length=1_000)]


class RegisterLocation(LocationRegistrationRequested):
    """A place that holds stock, and the 3PL that works there. Registering the same code again replaces its data."""

    model_config = ConfigDict(extra="forbid")
