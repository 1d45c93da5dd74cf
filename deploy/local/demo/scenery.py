"""What must be in place before the first order: locations, products, listings, stock on the shelves, goods on the way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

from deploy.local.demo.counterparts import Operator, Simulators
from shared.contracts.envelope import new_id
from simulators.adapter.opening_stock import DeclaredStock, StockLine, Warehouse
from simulators.adapter.replay import Replay, demand_of

MOST_LINES = 1_000
"""The API's most products, listings or supply lines in one request."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Truck:
    """A supply on its way to one location."""

    supply_id: UUID
    warehouse: Warehouse
    units: Sequence[tuple[str, int]]


async def set_up(
    operator: Operator,
    simulators: Simulators,
    *,
    replay: Replay,
    warehouses: Sequence[Warehouse],
    stock: DeclaredStock,
    channels: Sequence[str],
    supply_after: timedelta,
) -> list[Truck]:
    """Registers everything and returns the supplies that customers are promised.

    Raises:
        LocalStackError: the API refused something.
    """
    for warehouse in warehouses:
        await operator.must("POST", "/api/locations", _location(warehouse), key=f"location {warehouse.code}")
    products: list[dict[str, object]] = [
        {
            "sku": item.sku,
            "title": item.title,
            "unit_price_cents": item.unit_price_cents,
            "unit_weight_grams": item.unit_weight_grams,
            "hazmat": item.hazmat,
        }
        for item in replay.catalogue
    ]
    for number, registered in enumerate(_parts(products)):
        await operator.must("POST", "/api/products", {"products": registered}, key=f"products {number}")
    for channel in channels:
        listings = [{"sku": item.sku, "external_listing_id": f"{channel}-{item.sku}"} for item in replay.catalogue]
        for number, part in enumerate(_parts(listings)):
            await operator.must("POST", "/api/listings", {"channel": channel, "listings": part}, key=f"listings {channel} {number}")
    await fill_shelves(operator, simulators, warehouses, stock.opening)
    return await announce_supply(operator, warehouses, stock.supply, supply_after)


async def fill_shelves(operator: Operator, simulators: Simulators, warehouses: Sequence[Warehouse], opening: Iterable[StockLine]) -> None:
    """Opening stock, as it really stands at the 3PL and as an operator books it: a supply that is there already."""
    for truck in await announce_supply(operator, warehouses, opening, timedelta()):
        await receive(operator, simulators, truck, truck.units)


async def receive(operator: Operator, simulators: Simulators, truck: Truck, units: Sequence[tuple[str, int]], *, part: int = 1) -> None:
    """Goods of a truck, or a numbered part of them, really stand at the 3PL, and an operator books them as received."""
    await simulators.shelve(truck.warehouse.partner, truck.warehouse.code, units)
    body = {"location": truck.warehouse.code, "lines": _lines(units)}
    await operator.must("POST", f"/api/supplies/{truck.supply_id}/receive", body, key=f"receipt {truck.supply_id} {part}")


async def announce_supply(
    operator: Operator, warehouses: Sequence[Warehouse], supply: Iterable[StockLine], after: timedelta
) -> list[Truck]:
    """Says which goods come to which location after a while, and returns the trucks that bring them."""
    expected_at = (datetime.now(UTC) + after).isoformat()
    trucks = []
    for warehouse, units in _by_warehouse(warehouses, supply):
        for part in _parts(units):
            truck = Truck(new_id(), warehouse, part)
            body = {
                "supply_id": str(truck.supply_id),
                "location": warehouse.code,
                "expected_at": expected_at,
                "lines": _lines(truck.units),
            }
            await operator.must("POST", "/api/supplies", body, key=f"supply {truck.supply_id}")
            trucks.append(truck)
    return trucks


def preorder_of(replay: Replay, stock: DeclaredStock) -> str | None:
    """The product that is sold before its release: the one that the day wants most of those of which there is enough."""
    wanted = demand_of(replay.good_orders)
    ample = sorted(sku for sku in wanted if sku not in stock.scarce_skus)
    return max(ample, key=wanted.__getitem__, default=None)


def _lines(units: Sequence[tuple[str, int]]) -> list[dict[str, object]]:
    return [{"sku": sku, "quantity": quantity} for sku, quantity in units]


def _location(warehouse: Warehouse) -> dict[str, object]:
    return {
        "location": warehouse.code,
        "name": warehouse.name,
        "partner": warehouse.partner,
        "postal_code": warehouse.postal_code,
        "country": "US",
        "time_zone": warehouse.time_zone,
        "hazmat_certified": warehouse.hazmat_certified,
    }


def _by_warehouse(warehouses: Sequence[Warehouse], lines: Iterable[StockLine]) -> Iterator[tuple[Warehouse, list[tuple[str, int]]]]:
    units: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for line in lines:
        units[line.location].append((line.sku, line.quantity))
    for warehouse in warehouses:
        if warehouse.code in units:
            yield warehouse, units[warehouse.code]


def _parts(items: Sequence[Item]) -> Iterator[list[Item]]:
    for start in range(0, len(items), MOST_LINES):
        yield list(items[start : start + MOST_LINES])
