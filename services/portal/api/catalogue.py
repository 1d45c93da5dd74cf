"""Operations on products, listings and locations. Sync and routing keep them."""

from __future__ import annotations

from aiohttp import web

from services.portal import neighbours
from services.portal.api.models import RegisterListings, RegisterProducts
from services.portal.api.naming import Named
from services.portal.api.operation import Call
from services.portal.api.outcomes import shown, told
from shared.contracts.channels import ListingRegistrationRequested, ProductRegistrationRequested
from shared.contracts.fulfillment import LocationRegistrationRequested


async def register_products(call: Call) -> web.StreamResponse:
    """Products to sell. Registering a SKU again replaces its data. A product with ``components`` is a kit: it has no stock of its own and
    is sold as long as its components are there. 422 when a component is not registered, unless it is on its way (409 ``not_yet``)."""
    wanted: RegisterProducts = call.body
    event_id = call.request_id("products")
    together = {product.sku for product in wanted.products}
    names = [
        Named("product", f"products.{number}.components.{place}.sku", component.sku)
        for number, product in enumerate(wanted.products)
        for place, component in enumerate(product.components)
        if component.sku not in together
    ]
    command = ProductRegistrationRequested(products=wanted.products)
    return await told(call, "sync", command, event_id=event_id, status=201, names=names)


async def register_listings(call: Call) -> web.StreamResponse:
    """What one channel sells. From then on the channel is told every new number of these SKUs."""
    wanted: RegisterListings = call.body
    event_id = call.request_id("listings")
    command = ListingRegistrationRequested(channel=wanted.channel, listings=wanted.listings)
    return await told(call, "sync", command, event_id=event_id, status=201)


async def register_location(call: Call) -> web.StreamResponse:
    """A place that holds stock. Registering the same code again replaces its data."""
    event_id = call.request_id("location")
    command = LocationRegistrationRequested.model_validate(call.body.model_dump())
    return await told(call, "routing", command, event_id=event_id, status=201)


async def read_locations(call: Call) -> web.StreamResponse:
    """Every location, as routing keeps it. Near a postal code: the nearest first, with ``miles`` and the carrier's ``zone``, which is null
    where it takes no parcels."""
    query = {name: str(call.values[name]) for name in ("near", "country", "within_miles") if call.values[name] is not None}
    return shown(await neighbours.read_locations(call.environment, **query))
