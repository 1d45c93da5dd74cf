"""Which location ships which items at the least cost: exact for orders of up to twelve items (docs/decisions/0019-planner.md).

The items are cut into parcels by dynamic programming over subsets: the best location for every subset first, then the best way to cut the
whole into such subsets. One or two parcels are looked at before anything else; when three at their cheapest would cost more, that is all.
Nothing is assumed of the prices: where sending two parcels from one place would be cheaper than one, which a plan cannot do, the places
concerned are looked at one by one.

With more items, those in stock at the same locations travel as one group; with more than twelve groups all sets of up to three locations
are searched, then the location that has most is taken again and again. Both may miss the optimum.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from services.routing.decide.combining import NEVER, cheapest_parcels
from services.routing.decide.few_items import FEW_ITEMS, UNDECIDED, cheapest_of_few
from services.routing.decide.location_sets import best_of_location_sets, emptying_the_fullest
from services.routing.decide.options import Option, Partition, bits_of
from services.routing.decide.tariffs import Numbers, billable_pounds_of_many

MOST_ITEMS = 12
"""Up to so many items, or groups of items, are cut by dynamic programming."""
Cuts = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]


def cheapest_partition(options: Sequence[Option], weights: Sequence[int]) -> Partition | None:
    """Gives every item, in full, to one location, at the least total score. None when some item is in full nowhere.

    Args:
        options: the locations; the first of equals wins.
        weights: grams of each item.
    """
    if not weights:
        return Partition(0, {})
    if len(weights) <= MOST_ITEMS:
        return _by_subsets(options, weights)
    groups = _groups(options, len(weights))
    if groups is None:
        return None
    group_weights = [sum(weights[index] for index in bits_of(group)) for group in groups]
    if len(groups) > MOST_ITEMS:
        return best_of_location_sets(options, groups, group_weights) or emptying_the_fullest(options, groups, group_weights)
    by_group = [
        Option(
            _in_groups(option.whole, groups),
            option.prices,
            option.extra,
            option.base_grams,
            tuple(sum(option.worths[index] for index in bits_of(group)) for group in groups) if option.worths else (),
        )
        for option in options
    ]
    found = _by_subsets(by_group, group_weights)
    assert found is not None, "every group is somewhere in full"
    items = {option: sum(groups[index] for index in bits_of(mask)) for option, mask in found.items.items()}
    return Partition(found.score, items)


def _groups(options: Sequence[Option], count: int) -> list[int] | None:
    """Items that the same locations have in full, as bit sets. None when some item is in full nowhere."""
    by_locations: dict[int, int] = {}
    for item in range(count):
        bit = 1 << item
        having = 0
        for index, option in enumerate(options):
            if option.whole & bit:
                having |= 1 << index
        if not having:
            return None
        by_locations[having] = by_locations.get(having, 0) | bit
    return list(by_locations.values())


def _in_groups(whole: int, groups: Sequence[int]) -> int:
    return sum(1 << index for index, group in enumerate(groups) if whole & group)


def _by_subsets(options: Sequence[Option], weights: Sequence[int]) -> Partition | None:
    """The dynamic programme for one order."""
    if not options:
        return None
    if len(weights) <= FEW_ITEMS:
        found = cheapest_of_few(options, weights)
        if found is not UNDECIDED:
            return found
    return _cut(_Offers(options, weights), len(weights))


class _Offers:
    """What every subset of the items costs in one parcel.

    Locations that ask the same (they lie in one zone, mostly) share a row: among them it only matters whether any has the whole subset.
    """

    def __init__(self, options: Sequence[Option], weights: Sequence[int]) -> None:
        size = 1 << len(weights)
        grams = _subset_sums(weights)
        pounds = billable_pounds_of_many(grams)
        self._options = options
        self._row_of: list[int] = []
        rows: dict[tuple[int, int, int, tuple[int, ...]], int] = {}
        priced: list[Numbers] = []
        for option in options:
            key = (id(option.prices), option.base_grams, option.extra, option.worths)
            row = rows.get(key)
            if row is None:
                row = rows[key] = len(priced)
                by_pound = not option.base_grams and not option.prices.by_load
                scores = option.prices.scores(pounds) + option.extra if by_pound else option.scores(grams)
                priced.append(scores + _subset_sums(option.worths) if option.worths else scores)
            self._row_of.append(row)
        self._scores = np.stack(priced)
        shipped = np.zeros((len(priced), size), dtype=np.bool_)
        shipped[self._row_of, [option.whole & size - 1 for option in options]] = True
        for item in range(len(weights)):
            halves = shipped.reshape(len(priced), -1, 2, 1 << item)
            halves[:, :, 0] |= halves[:, :, 1]
        self.best: Numbers = np.where(shipped, self._scores, NEVER).min(axis=0)
        """Of every subset, from whoever ships it cheapest; nothing costs nothing."""
        self.best[0] = 0

    def first(self, block: int) -> int:
        """The first of the locations that ship a subset cheapest."""
        least = self.best[block]
        cheapest = (self._scores[:, block] == least).tolist()
        return next(
            index
            for index, (option, row) in enumerate(zip(self._options, self._row_of, strict=True))
            if cheapest[row] and option.whole & block == block
        )

    def of_all(self) -> Numbers:
        """Of every subset from every location; where it cannot be, never."""
        scores: Numbers = self._scores[self._row_of]
        whole = np.array([option.whole for option in self._options], dtype=np.int16)
        scores[(np.arange(scores.shape[1], dtype=np.int16) & ~whole[:, None]) != 0] = NEVER
        scores[:, 0] = 0
        return scores


def _subset_sums(weights: Sequence[int]) -> Numbers:
    """The weight of every subset, or what it is worth."""
    sums: Numbers = _members(len(weights)) @ np.array(weights, dtype=np.int64)
    return sums


@lru_cache(maxsize=MOST_ITEMS)
def _members(count: int) -> Numbers:
    """Of every subset, per item whether it is in it."""
    return np.arange(1 << count, dtype=np.int64)[:, None] >> np.arange(count) & 1


@lru_cache(maxsize=MOST_ITEMS)
def _with_each(count: int) -> NDArray[np.intp]:
    """Of every item, the subsets that have it."""
    return np.array([np.flatnonzero(column) for column in _members(count).T])


@lru_cache(maxsize=MOST_ITEMS)
def _cuts(count: int) -> list[Cuts]:
    """Every way to cut a subset in two: the part with its first item and the rest, for the subsets of one item, of two, and so on.

    Larger parts come first, so that among equals the fewest parcels win.
    """
    subsets = np.arange(1 << count)
    bits = subsets[:, None] >> np.arange(count) & 1
    cuts = []
    for size in range(1, count + 1):
        own = subsets[bits.sum(axis=1) == size]
        items = 1 << np.nonzero(bits[own])[1].reshape(len(own), size)
        chosen = np.arange((1 << (size - 1)) - 1, -1, -1) >> np.arange(size - 1)[:, None] & 1
        parts = items[:, :1] + items[:, 1:] @ chosen
        cuts.append((own, parts, own[:, None] - parts))
    return cuts


def _cut(offers: _Offers, count: int) -> Partition | None:
    """The best way to cut an order of ``count`` items into parcels."""
    best = offers.best
    _, parts, rests = (array[0] for array in _cuts(count)[-1])
    two = best[parts] + best[rests]
    first = int(two.argmin())
    score = int(two[first])
    blocks = [int(parts[first]), int(rests[first])]
    if score > _bound_of_three(best, count):
        total = _totals(best, count)
        score = int(total[-1])
        if score < NEVER:
            blocks = _blocks(best, total, count)
    return None if score >= NEVER else _sent(offers, blocks, score, count)


def _bound_of_three(best: Numbers, count: int) -> int:
    """What three parcels or more cost at least: of the cheapest there is two, and the cheapest with the item that is dearest to send.

    A parcel that joins another may cost less than nothing, by a card that gets cheaper with the weight: then as many as there can be.
    """
    if count < 3:
        return NEVER << 1
    dearest = int(best[_with_each(count)].min(axis=1).max())
    cheapest = min(int(best[1:].min()), NEVER >> 2)
    return dearest + (count - 1 if cheapest < 0 else 2) * cheapest


def _totals(best: Numbers, count: int) -> Numbers:
    """The least score of every subset in any number of parcels."""
    total = np.zeros_like(best)
    for own, parts, rests in _cuts(count):
        total[own] = np.minimum((best[parts] + total[rests]).min(axis=1), NEVER)
    return total


def _blocks(best: Numbers, total: Numbers, count: int) -> list[int]:
    """The parcels, as subsets, of the least score of all."""
    blocks = []
    left = (1 << count) - 1
    while left:
        own, parts, rests = _cuts(count)[left.bit_count() - 1]
        row = int(np.searchsorted(own, left))
        part = int(parts[row, (best[parts[row]] + total[rests[row]]).argmin()])
        blocks.append(part)
        left ^= part
    return blocks


def _sent(offers: _Offers, blocks: Sequence[int], score: int, count: int) -> Partition:
    """Each parcel from the first of its best locations. Two from one location are one."""
    chosen: dict[int, int] = {}
    twice = set()
    for block in blocks:
        if block:
            option = offers.first(block)
            if option in chosen:
                twice.add(option)
            chosen[option] = chosen.get(option, 0) | block
    if twice:
        scores = offers.of_all()
        if sum(int(scores[option, block]) for option, block in chosen.items()) > score:
            found = cheapest_parcels(scores, [2] * count)
            assert found is not None, "two parcels that may travel from one location may do so as one"
            return Partition(*found)
    return Partition(score, chosen)
