"""The operations on products, listings and locations."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from services.portal.api import catalogue, models
from services.portal.api.operation import Operation, Parameter
from services.portal.api.routes.parameters import REPEATED

CATALOGUE: tuple[Operation, ...] = (
    Operation(
        "POST",
        "/api/products",
        "Catalogue",
        "Register products",
        catalogue.register_products,
        models.Outcome,
        status=201,
        request=models.RegisterProducts,
        errors=(409, 422, 503),
        idempotent=True,
        more_statuses=REPEATED,
    ),
    Operation(
        "POST",
        "/api/listings",
        "Catalogue",
        "Register listings",
        catalogue.register_listings,
        models.Outcome,
        status=201,
        request=models.RegisterListings,
        errors=(409, 422, 503),
        idempotent=True,
        more_statuses=REPEATED,
    ),
    Operation(
        "POST",
        "/api/locations",
        "Catalogue",
        "Register a location",
        catalogue.register_location,
        models.Outcome,
        status=201,
        request=models.RegisterLocation,
        errors=(409, 422, 503),
        idempotent=True,
        more_statuses=REPEATED,
    ),
    Operation(
        "GET",
        "/api/locations",
        "Catalogue",
        "List locations, or those near a postal code",
        catalogue.read_locations,
        models.Document,
        parameters=(
            Parameter("near", "query", Annotated[str, Field(min_length=1, max_length=120)], "A postal code."),
            Parameter("country", "query", Annotated[str, Field(pattern="^[A-Z]{2}$")], "Its country, two capital letters.", "US"),
            Parameter("within_miles", "query", Annotated[int, Field(ge=0, le=20_000)], "Not farther than this."),
        ),
        errors=(422, 503),
    ),
)
