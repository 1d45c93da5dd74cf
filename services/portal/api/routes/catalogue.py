"""The operations on products, listings and locations."""

from __future__ import annotations

from services.portal.api import catalogue, models
from services.portal.api.operation import Operation
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
    Operation("GET", "/api/locations", "Catalogue", "List locations", catalogue.read_locations, models.Document, errors=(503,)),
)
