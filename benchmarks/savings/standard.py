"""The standard instances of the literature, asked of the product's own planner.

Jasin and Sinha (2015), "An LP-Based Correlated Rounding Scheme for Multi-Item Ecommerce Order Fulfillment", Operations Research 63(6). The
paper was not at hand; its set-up is taken from the code that Ma (2023), "Order-Optimal Correlated Rounding for Fulfilling Multi-Item
E-commerce Orders", publishes for the same experiments: 20 products; 5 order types of each size from 1 to 5, drawn without regard to
popularity; an arrival is of a size, or of none, with probabilities drawn uniformly and normalised, and so are the types of a size; 10
cities by population, 5 fulfilment centres; a parcel costs 8.759 and 0.423 + 0.000541 per mile for every unit; what is not on the shelves
comes from outside at twice the fixed price and twice the unit price of the farthest centre; a centre carries a product with probability
0.75 and opens with the demand of the cities whose nearest carrying centre it is, plus 0.5 standard deviations; 10,000 arrivals. There, 30
instances of 30 sequences each are averaged.

Here cities and centres lie at ZIP codes of our own map, and what is outside is one more location that never runs out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from random import Random

from benchmarks.savings.scenario import Order, Scenario, a_location
from services.routing.decide.geography import Place, miles_between
from services.routing.decide.network import Location, Network, Reach
from services.routing.decide.planner import Planner
from services.routing.decide.tariffs import Carrier, RateCard, Tariffs, Way
from services.routing.postal_codes import all_places

CITIES: Mapping[str, int] = {
    "10001": 18_680,
    "90012": 12_531,
    "60601": 8_587,
    "33130": 6_076,
    "75201": 5_911,
    "77002": 5_724,
    "19103": 5_540,
    "30303": 5_151,
    "20001": 5_067,
    "02118": 4_466,
}
"""The ten largest urban areas of the United States by a ZIP code in their middle, and thousands of people."""
CENTRES: Mapping[str, str] = {"tracy": "95304", "whitestown": "46075", "hazleton": "18202", "columbia": "29172", "fort-worth": "76177"}
OUTSIDE = "outside"
CARRIER = "carrier"

PRODUCTS, MOST_UNITS, TYPES_PER_SIZE = 20, 5, 5
CARRIED = 0.75
SAFETY = 0.5
PARCEL_DOLLARS, UNIT_DOLLARS, UNIT_MILE_DOLLARS = 8.759, 0.423, 0.000541
TIMES_OUTSIDE = 2
PER_DOLLAR = 10_000
"""Costs are told to the planner in hundredths of a cent, because a unit and a mile cost so little."""
POUND_GRAMS = 453
"""So that so many units weigh so many pounds, and a rate card by the pound is one by the unit."""
OUTSIDE_MILES = 100_000


@dataclass(frozen=True)
class PairedNetwork(Network):
    """A network in which every pair of a location and a city is a zone of its own, because the price goes by the mile."""

    zones: Mapping[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    """By location and postal code: zone and miles."""

    def _look(self, destination: Place, tariffs: Tariffs) -> tuple[Reach, ...]:
        seen = []
        for index, location in enumerate(self.locations):
            zone, miles = self.zones[location.code, destination.postal_code]
            seen.append(Reach(index, location, zone, miles, (Way(CARRIER, "ground", zone, 1),)))
        return tuple(sorted(seen, key=lambda reach: (reach.miles, reach.location.code)))


def the_planner() -> Planner:
    """The planner with this network and these prices."""
    locations = [a_location(code, all_places()[postal_code]) for code, postal_code in CENTRES.items()]
    zones: dict[tuple[str, str], tuple[int, int]] = {}
    cards: dict[int, tuple[int, ...]] = {}
    for postal_code in CITIES:
        city = all_places()[postal_code]
        miles = {location.code: _miles(location, city) for location in locations}
        for code in (*miles, OUTSIDE):
            times = TIMES_OUTSIDE if code == OUTSIDE else 1
            unit = times * (UNIT_DOLLARS + UNIT_MILE_DOLLARS * miles.get(code, max(miles.values())))
            zone = len(cards) + 1
            zones[code, postal_code] = zone, round(miles.get(code, OUTSIDE_MILES))
            dollars = (times * PARCEL_DOLLARS + count * unit for count in range(1, MOST_UNITS + 1))
            cards[zone] = tuple(round(PER_DOLLAR * price) for price in dollars)
    carrier = Carrier(
        name=CARRIER,
        cards={"ground": RateCard("ground", cards, (0,) * MOST_UNITS)},
        transit_days={"ground": dict.fromkeys(cards, 1)},
        offshore_days={"ground": 0},
    )
    tariffs = Tariffs("Jasin and Sinha", {CARRIER: carrier}, handling_cents=0)
    outside = a_location(OUTSIDE, all_places()["66101"])
    return Planner(PairedNetwork([*locations, outside], zones=zones), tariffs)


def _miles(location: Location, city: Place) -> float:
    return miles_between(location.place.latitude, location.place.longitude, city.latitude, city.longitude)


def draw_instance(instance: int, sequence: int, arrivals: int) -> Scenario:
    """One sequence of arrivals of one instance. Those that order nothing are left out, as nothing happens with them."""
    planner = the_planner()
    random = Random(f"instance {instance}")
    products = [f"product-{number:02d}" for number in range(PRODUCTS)]
    types = [tuple(random.sample(products, size)) for size in range(1, MOST_UNITS + 1) for _ in range(TYPES_PER_SIZE)]
    sizes = [random.random() for _ in range(MOST_UNITS + 1)]
    chances: list[float] = []
    for size in range(1, MOST_UNITS + 1):
        own = [random.random() for _ in range(TYPES_PER_SIZE)]
        chances.extend(sizes[size] / sum(sizes) * share / sum(own) for share in own)
    people = sum(CITIES.values())
    per_product = {product: sum(chance for kind, chance in zip(types, chances, strict=True) if product in kind) for product in products}
    demand = {(product, city): per_product[product] * count / people for product in products for city, count in CITIES.items()}
    stock = {product: _opening(random, planner, product, demand, arrivals) for product in products}

    def arriving(sequence: str) -> list[Order]:
        drawn = Random(f"instance {instance}, sequence {sequence}")
        chosen = drawn.choices([*types, ()], [*chances, sizes[0] / sum(sizes)], k=arrivals)
        cities = drawn.choices(list(CITIES), list(CITIES.values()), k=arrivals)
        return [Order(kind, all_places()[city], city) for kind, city in zip(chosen, cities, strict=True) if kind]

    return Scenario(planner, dict.fromkeys(products, POUND_GRAMS), stock, arriving(str(sequence)), arriving("before"), lists={})


def _opening(random: Random, planner: Planner, product: str, demand: Mapping[tuple[str, str], float], arrivals: int) -> dict[str, int]:
    """Units at each centre, and more outside than can ever be asked for."""
    carrying: Sequence[str] = [code for code in CENTRES if random.random() < CARRIED]
    shares = dict.fromkeys(carrying, 0.0)
    for city in CITIES:
        reaches = planner.network.reach(all_places()[city], planner.tariffs)
        nearest = next((reach.location.code for reach in reaches if reach.location.code in shares), None)
        if nearest is not None:
            shares[nearest] += demand[product, city]
    stock = {code: round(arrivals * share + SAFETY * sqrt(arrivals * share * (1 - share))) for code, share in shares.items()}
    return {**stock, OUTSIDE: arrivals}
