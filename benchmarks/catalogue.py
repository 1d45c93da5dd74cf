"""The shop that is measured: products, five warehouses of two 3PLs, listings, stock; and how they get into the system.

Everything enters as messages, through the handlers that would take it from an operator. SKUs are numbers of one length, so that sorting
them as text (as the services do when they lock) and as numbers (as pgbench can) is the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from deploy.local.process_table import THIRD_PARTY_LOGISTICS
from shared.contracts.base import Message
from shared.contracts.channels import Listing, ListingRegistrationRequested, Product, ProductRegistered, ProductRegistrationRequested
from shared.contracts.envelope import CONTENT_TYPE, new_id
from shared.contracts.fulfillment import LocationRegistered, LocationRegistrationRequested
from shared.contracts.registry import exchange_of, routing_key_of
from shared.contracts.stock import SupplyLine, SupplyReceived
from shared.messaging.pipelining import Publication
from shared.messaging.topology import queue_of
from simulators.adapter.opening_stock import Warehouse, warehouses

FIRST_SKU = 1_000_000
UNITS_PER_SHELF = 200
HOT_UNITS_PER_SHELF = 1_000_000
PRODUCTS_IN_ONE_MESSAGE = 1_000


def sku_number(position: int) -> str:
    """The SKU at a position of the catalogue; position 0 is the hot one."""
    return str(FIRST_SKU + position)


def envelope(data: Message, *, source: str, subject: str | None = None) -> bytes:
    """A message as its sender would put it on the wire."""
    head: dict[str, str] = {
        "specversion": "1.0",
        "id": str(new_id()),
        "source": source,
        "type": data.type,
        "time": datetime.now(UTC).isoformat(),
        "datacontenttype": CONTENT_TYPE,
    }
    if subject is not None:
        head["subject"] = subject
    return f'{json.dumps(head)[:-1]}, "data": {data.model_dump_json()}}}'.encode()


def for_everybody(data: Message) -> Publication:
    """A message on its ordinary way."""
    return Publication(exchange_of(type(data)), routing_key_of(type(data)), envelope(data, source="benchmark"), data.type)


def for_one(service: str, data: Message, *, subject: str | None = None) -> Publication:
    """A message into the queue of one service only."""
    return Publication("", queue_of(service, type(data)), envelope(data, source="benchmark", subject=subject), data.type)


def places() -> list[Warehouse]:
    """The five warehouses."""
    return warehouses(THIRD_PARTY_LOGISTICS)


def _chunks(skus: int) -> Iterator[range]:
    for start in range(0, skus, PRODUCTS_IN_ONE_MESSAGE):
        yield range(start, min(skus, start + PRODUCTS_IN_ONE_MESSAGE))


def _products(chunk: range) -> list[Product]:
    return [
        Product(
            sku=sku_number(position),
            title=f"Thing number {position}",
            unit_price_cents=500 + position % 9_500,
            unit_weight_grams=100 + position * 37 % 4_900,
        )
        for position in chunk
    ]


def supplies(skus: int) -> Iterator[SupplyReceived]:
    """Goods for every shelf of every warehouse."""
    for place in places():
        for chunk in _chunks(skus):
            lines = [
                SupplyLine(sku=sku_number(position), quantity=UNITS_PER_SHELF if position else HOT_UNITS_PER_SHELF) for position in chunk
            ]
            yield SupplyReceived(receipt_id=new_id(), location=place.code, lines=lines)


def filling_of_allocation(skus: int) -> list[list[Publication]]:
    """What allocation hears from its neighbours about a catalogue; each step needs the one before."""
    located = [
        LocationRegistered(
            location=place.code, name=place.name, partner=place.partner, hazmat_certified=place.hazmat_certified, active=True
        )
        for place in places()
    ]
    registered = [ProductRegistered(products=_products(chunk)) for chunk in _chunks(skus)]
    return [[for_one("allocation", message) for message in step] for step in (located, registered, list(supplies(skus)))]


def filling_of_everything(skus: int, channels: Sequence[str]) -> list[list[Publication]]:
    """What an operator says to the whole system; each step needs the one before. Every SKU is listed on every channel."""
    located = [
        LocationRegistrationRequested(
            location=place.code,
            name=place.name,
            partner=place.partner,
            postal_code=place.postal_code,
            country="US",
            time_zone=place.time_zone,
            hazmat_certified=place.hazmat_certified,
        )
        for place in places()
    ]
    wanted = [ProductRegistrationRequested(products=_products(chunk)) for chunk in _chunks(skus)]
    listed = [
        ListingRegistrationRequested(
            channel=channel,
            listings=[Listing(sku=sku_number(position), external_listing_id=f"L{sku_number(position)}") for position in chunk],
        )
        for channel in channels
        for chunk in _chunks(skus)
    ]
    return [[for_everybody(message) for message in step] for step in ([*located, *wanted], list(supplies(skus)), listed)]
