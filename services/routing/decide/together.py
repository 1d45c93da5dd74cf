"""Which products are priced together: those that are ordered together most, in clusters that a programme can hold (feature C8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import merge
from itertools import combinations

from services.routing.decide.whole_plans import TRACE_UNITS, Orders

MOST_SKUS_TOGETHER = 20
"""Larger programmes take longer for each SKU, and know little more: what travels with a product of another cluster is still seen whole,
only its price is that of before."""


Ties = dict[str, dict[str, float]]
"""How many orders have both of two SKUs."""


def clusters(orders: Sequence[Orders], shelves: Mapping[str, Mapping[str, int]]) -> list[tuple[Sequence[str], Sequence[Orders]]]:
    """The SKUs whose price depends on what they travel with, in clusters, those that are wanted most first; each with its orders.

    What some shelf could run out of while others have it may have a price; what is only ordered by itself has it by itself.
    """
    wanted: dict[str, float] = {}
    accompanied: set[str] = set()
    for entry in orders:
        for sku, units in entry.lines:
            wanted[sku] = wanted.get(sku, 0.0) + units * entry.count
        if len(entry.lines) > 1:
            accompanied.update(sku for sku, _ in entry.lines)
    scarce = {sku for sku in accompanied if len(shelves[sku]) > 1 and min(shelves[sku].values()) < wanted[sku] * (1 + TRACE_UNITS)}
    of_sku: dict[str, list[int]] = {}
    ties: Ties = {}
    for number, entry in enumerate(orders):
        own = [sku for sku, _ in entry.lines if sku in scarce]
        for sku in own:
            of_sku.setdefault(sku, []).append(number)
        for one, other in combinations(own, 2):
            others = ties.setdefault(one, {})
            others[other] = others.get(other, 0.0) + entry.count
    found: list[tuple[Sequence[str], Sequence[Orders]]] = []
    for skus in _packed(_tied(scarce, ties), wanted):
        numbers = sorted({number for sku in skus for number in of_sku[sku]})
        found.append((skus, [orders[number] for number in numbers]))
    return found


def _tied(scarce: set[str], ties: Ties) -> list[list[str]]:
    """Joins what is ordered together most, as long as it does not become too much."""
    cluster_of = {sku: [sku] for sku in sorted(scarce)}
    # Merged from many, because one sort of everything would hold up the whole process.
    strongest = merge(*(sorted((-orders, one, other) for other, orders in others.items()) for one, others in ties.items()))
    for _, one, other in strongest:
        first, second = cluster_of[one], cluster_of[other]
        if first is not second and len(first) + len(second) <= MOST_SKUS_TOGETHER:
            first.extend(second)
            cluster_of.update(dict.fromkeys(second, first))
    return list({id(cluster): cluster for cluster in cluster_of.values()}.values())


def _packed(found: Sequence[Sequence[str]], wanted: Mapping[str, float]) -> list[Sequence[str]]:
    """Most wanted first; small ones side by side, because a programme has its own overhead."""
    by_demand = sorted((sorted(skus) for skus in found), key=lambda skus: (-sum(wanted[sku] for sku in skus), skus))
    packed: list[Sequence[str]] = []
    open_one: list[str] = []
    for skus in by_demand:
        if len(open_one) + len(skus) > MOST_SKUS_TOGETHER:
            packed.append(open_one)
            open_one = []
        open_one = [*open_one, *skus]
    return [*packed, open_one] if open_one else packed
