"""The ways to choose that are compared. Every one of them leaves service and price to the planner, and keeps the promise where it can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from benchmarks.savings.scenario import NOON, Order, Scenario, Shelves
from services.routing.decide.foresight import StockPrices
from services.routing.decide.outlook import Ordered, Outlook, StockPriceList, in_pieces
from services.routing.decide.plans import Plan


class ByList:
    """By hand: the first location of a list that has everything, else what the first has, the rest from the next, and so on."""

    def __init__(self, scenario: Scenario, codes: Sequence[str]) -> None:
        self._scenario = scenario
        self._codes = codes

    def plan(self, order: Order, shelves: Shelves, number: int) -> Plan:
        """The planner's plan, when it may take each product from that place only."""
        return _forced(self._scenario, order, filled_from(self._codes, order.skus, shelves))


class BiggestFirst:
    """The same, with the location first that has most units of all products on its shelves at the moment."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._codes = [location.code for location in scenario.planner.network.locations]

    def plan(self, order: Order, shelves: Shelves, number: int) -> Plan:
        """The planner's plan, when it may take each product from that place only."""
        units = dict.fromkeys(self._codes, 0)
        for places in shelves.values():
            for code, have in places.items():
                units[code] += have
        biggest_first = sorted(self._codes, key=lambda code: -units[code])
        return _forced(self._scenario, order, filled_from(biggest_first, order.skus, shelves))


class EachFromTheNearest:
    """Every product by itself from the nearest place that carried it at the start; when that is sold out, from outside."""

    def __init__(self, scenario: Scenario, outside: str) -> None:
        self._scenario = scenario
        self._outside = outside

    def plan(self, order: Order, shelves: Shelves, number: int) -> Plan:
        """The planner's plan, when it may take each product from that place only."""
        reaches = self._scenario.planner.network.reach(order.destination, self._scenario.planner.tariffs)
        chosen = {}
        for sku in order.skus:
            nearest = next(reach.location.code for reach in reaches if self._scenario.stock[sku].get(reach.location.code, 0))
            chosen[sku] = nearest if shelves[sku][nearest] else self._outside
        return _forced(self._scenario, order, chosen)


class Nearest:
    """The fewest miles: the planner's own objective ``closest``."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._planner = replace(scenario.planner, objective="closest")

    def plan(self, order: Order, shelves: Shelves, number: int) -> Plan:
        """The planner's plan."""
        return self._planner.plan(self._scenario.request(order, shelves))


class Live:
    """The planner as it comes: the least that this order can cost with what is there now."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario

    def plan(self, order: Order, shelves: Shelves, number: int) -> Plan:
        """The planner's plan."""
        return self._scenario.planner.plan(self._scenario.request(order, shelves))


class Prices:
    """The product's own prices, as it works them out in the background, from the orders of the period before.

    Args:
        scenario: the period.
        alone: whether to stop at the prices of each product by itself, which the product falls back to when time is short.
    """

    def __init__(self, scenario: Scenario, *, alone: bool = False) -> None:
        self._scenario = scenario
        self._alone = alone
        self._ordered = [
            Ordered(tuple((sku, 1) for sku in sorted(order.skus)), order.destination, order.service_level, order.residential, 1.0)
            for order in scenario.before
        ]

    def prices(self, shelves: Mapping[str, Mapping[str, int]], to_come: int) -> Mapping[tuple[str, str], int]:
        """Cents per unit, by product and location, with so many orders to come after this one."""
        planner, share = self._scenario.planner, to_come / len(self._ordered)
        weights = self._scenario.unit_grams
        found = StockPriceList()
        outlook = Outlook(planner.network, planner.tariffs, planner.split_cents, shelves, weights, self._ordered, share)
        for piece in in_pieces(outlook):
            if self._alone and piece.together:
                break
            found.take(piece)
        return found.cents


class Forward:
    """The planner with its objective ``forward_looking``; the prices are worked out anew after every so many orders."""

    def __init__(self, scenario: Scenario, prices: Prices, every: int) -> None:
        self._scenario = scenario
        self._planner = replace(scenario.planner, objective="forward_looking")
        self._prices = prices
        self._every = every
        self._known = StockPrices(0, NOON, {})

    def plan(self, order: Order, shelves: Shelves, number: int) -> Plan:
        """The planner's plan."""
        if number % self._every == 0:
            cents: dict[str, dict[str, int]] = {}
            for (sku, code), price in self._prices.prices(shelves, len(self._scenario.orders) - number - 1).items():
                cents.setdefault(sku, {})[code] = price
            self._known = StockPrices(number // self._every, NOON, cents)
        return self._planner.plan(replace(self._scenario.request(order, shelves), stock_prices=self._known))


def filled_from(codes: Sequence[str], skus: Sequence[str], shelves: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    """Goes down a list: the first place that has all that is left anywhere, else each product from the first that has it."""
    wanted = [sku for sku in skus if any(shelves[sku].values())]
    for code in codes:
        if all(shelves[sku].get(code, 0) for sku in wanted):
            return dict.fromkeys(wanted, code)
    return {sku: next(code for code in codes if shelves[sku].get(code, 0)) for sku in wanted}


def _forced(scenario: Scenario, order: Order, chosen: Mapping[str, str]) -> Plan:
    return scenario.planner.plan(scenario.request(order, {sku: {code: 1} for sku, code in chosen.items()}))
