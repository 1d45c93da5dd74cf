"""One period of one merchant: locations, opening stock, and the orders that come. All of it declared and drawn from a seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from datetime import time as time_of_day
from functools import cache
from math import exp
from random import Random
from zoneinfo import ZoneInfo

from benchmarks.savings.history import Baskets
from services.routing.decide.geography import OFFSHORE_STATES, Place
from services.routing.decide.network import Location, Network
from services.routing.decide.planner import Planner
from services.routing.decide.plans import PlanRequest, Wanted
from services.routing.decide.tariffs import billable_pounds
from services.routing.postal_codes import all_places
from services.routing.tariff_files import SHIPPED_RATE_CARDS, load_tariffs

NOON = datetime(2026, 3, 4, 16, 0, tzinfo=UTC)
"""A Wednesday, before the cutoff of every location. All orders come then: what counts is their sequence."""

NETWORKS: Mapping[str, Sequence[tuple[str, str]]] = {
    "3 locations": (("newark", "07114"), ("reno", "89506"), ("dallas", "75236")),
    "5 locations": (("newark", "07114"), ("reno", "89506"), ("dallas", "75236"), ("columbus", "43217"), ("atlanta", "30336")),
    "10 locations": (
        ("newark", "07114"),
        ("reno", "89506"),
        ("dallas", "75236"),
        ("columbus", "43217"),
        ("atlanta", "30336"),
        ("joliet", "60433"),
        ("kent", "98032"),
        ("ontario", "91761"),
        ("aurora", "80011"),
        ("jacksonville", "32218"),
    ),
}
"""The home of the merchant first, then in the order in which the locations were added."""

TIGHTNESS = {"ample": 2.0, "usual": 1.3, "tight": 1.0}
"""Opening stock of every product, as a multiple of what was sold in the period before."""

CARRIED = 0.75
"""With this probability a location carries a product. At least one does."""
TWO_DAY_SHARE = 0.15
RESIDENTIAL_SHARE = 0.8
HANDLING_CENTS, PICK_CENTS = 150, 35
"""Routing's defaults."""

Shelves = dict[str, dict[str, int]]
"""Units per product and location."""


@dataclass(frozen=True, slots=True)
class Order:
    """What one customer wants: one unit of each product."""

    skus: tuple[str, ...]
    destination: Place
    region: str
    service_level: str = "standard"
    residential: bool = True


@dataclass(frozen=True)
class Scenario:
    """Everything that a policy may know, and the orders, of which it is told one after the other.

    Args:
        before: the orders of the period before, which are what is known of demand.
        lists: fixed lists of locations, by what they are called.
    """

    planner: Planner
    unit_grams: Mapping[str, int]
    stock: Mapping[str, Mapping[str, int]]
    orders: Sequence[Order]
    before: Sequence[Order]
    lists: Mapping[str, Sequence[str]]

    def request(self, order: Order, shelves: Mapping[str, Mapping[str, int]]) -> PlanRequest:
        """The order as the planner is asked about it."""
        return PlanRequest(
            wanted=[Wanted(str(number), sku, 1, self.unit_grams[sku], False) for number, sku in enumerate(order.skus)],
            assignable=shelves,
            destination=order.destination,
            service_level=order.service_level,
            deliver_by=None,
            promise_from=NOON,
            now=NOON,
            residential=order.residential,
        )

    def shelves(self) -> Shelves:
        """The opening stock, to be sold from."""
        return {sku: dict(places) for sku, places in self.stock.items()}


@cache
def destinations() -> Sequence[Place]:
    """Every ZIP code of the contiguous states, in an order that never changes."""
    return sorted((place for place in all_places().values() if place.state not in OFFSHORE_STATES), key=lambda place: place.postal_code)


def a_location(code: str, place: Place) -> Location:
    """One that works from Monday to Friday until three, where it is."""
    return Location(code, code, "third-party", place, ZoneInfo(place.time_zone), time_of_day(15), hazmat_certified=False, active=True)


def draw_scenario(baskets: Baskets, network: str, tightness: str, seed: int, count: int) -> Scenario:
    """A period of ``count`` orders, and the stock that the period before it suggested.

    Each seed has its own period of the history and its own destinations, weights and promises, the same for every network and tightness.
    """
    random, placing, weights = Random(f"orders, seed {seed}"), Random(f"{network}, seed {seed}"), Random(f"weights, seed {seed}")
    first = seed * count
    products = sorted({sku for basket in baskets.baskets for sku in basket})
    unit_grams = {sku: round(min(5_000.0, max(50.0, 400 * exp(weights.gauss(0, 0.8))))) for sku in products}
    before, orders = ([_order(random, basket) for basket in baskets.baskets[begin : begin + count]] for begin in (first, first + count))
    locations = [a_location(code, all_places()[postal_code]) for code, postal_code in NETWORKS[network]]
    planner = Planner(Network(locations), load_tariffs(SHIPPED_RATE_CARDS, handling_cents=HANDLING_CENTS), pick_cents=PICK_CENTS)
    sold = Counter(sku for order in before for sku in order.skus)
    regions = Counter(order.region for order in before)
    average = _average_cents(planner, before, unit_grams)
    home_first = [location.code for location in locations]
    central_first = sorted(home_first, key=lambda code: (sum(average[code, region] * count for region, count in regions.items()), code))
    return Scenario(
        planner=planner,
        unit_grams=unit_grams,
        stock={sku: _placed(placing, planner, before, max(1, round(TIGHTNESS[tightness] * sold[sku]))) for sku in products},
        orders=orders,
        before=before,
        lists={"by hand, home first": home_first, "by hand, central first": central_first},
    )


def _order(random: Random, basket: Sequence[str]) -> Order:
    place = random.choice(destinations())
    level = "two_day" if random.random() < TWO_DAY_SHARE else "standard"
    return Order(tuple(basket), place, place.postal_code[0], level, random.random() < RESIDENTIAL_SHARE)


def _placed(random: Random, planner: Planner, before: Sequence[Order], units: int) -> dict[str, int]:
    """Where the units of a product lie: each in the place that is nearest, of those that carry it, to a customer of the period before."""
    network = planner.network
    codes = [location.code for location in network.locations]
    carrying = [code for code in codes if random.random() < CARRIED] or [random.choice(codes)]
    nearest = Counter(
        next(reach.location.code for reach in network.reach(order.destination, planner.tariffs) if reach.location.code in carrying)
        for order in before
    )
    shares = [units * nearest[code] / len(before) for code in carrying]
    placed = {code: int(share) for code, share in zip(carrying, shares, strict=True)}
    by_rest = sorted(zip(carrying, shares, strict=True), key=lambda entry: (int(entry[1]) - entry[1], entry[0]))
    for code, _ in by_rest[: units - sum(placed.values())]:
        placed[code] += 1
    return placed


def _average_cents(planner: Planner, before: Sequence[Order], unit_grams: Mapping[str, int]) -> dict[tuple[str, str], int]:
    """What a parcel with an average order costs from each location to the customers of each region."""
    grams = sum(unit_grams[sku] for order in before for sku in order.skus) / len(before)
    pounds = billable_pounds(round(grams))
    cents: dict[tuple[str, str], list[int]] = {}
    for order in before:
        for location in planner.network.locations:
            ways = planner.tariffs.ways(location.place, order.destination)
            prices = planner.tariffs.prices(ways, residential=order.residential)
            assert prices is not None, "the shipped cards carry into every zone"
            cents.setdefault((location.code, order.region), []).append(prices[pounds] // 1_000)
    return {key: round(sum(found) / len(found)) for key, found in cents.items()}
