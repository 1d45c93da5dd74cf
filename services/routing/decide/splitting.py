"""Which location ships which items at the least cost: exact for orders of up to twelve items (docs/decisions/0019-planner.md).

The items are cut into parcels by dynamic programming over subsets: the best location for every subset first, then the best way to cut the
whole into such subsets. One or two parcels are looked at before anything else; when three at their cheapest would cost more, that is all.
Nothing is assumed of the prices: where sending two parcels from one place would be cheaper than one, which a plan cannot do, the places
concerned are looked at one by one.

With more items, those in stock at the same locations travel as one group; with more than twelve groups all sets of up to three locations
are searched, then the location that has most is taken again and again. Both may miss the optimum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, permutations, product

import numpy as np
from numpy.typing import NDArray

from services.routing.decide.combining import NEVER, cheapest_parcels
from services.routing.decide.tariffs import Numbers, Prices, billable_pounds, billable_pounds_of_many

MOST_ITEMS = 12
"""Up to so many items, or groups of items, are cut by dynamic programming."""
MOST_SEARCHED_LOCATIONS = 12
"""How many locations the search over sets of locations considers."""
FEW_ITEMS = 5
"""Up to so many items a plain loop is faster than arrays."""
Cuts = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]


@dataclass(slots=True)
class Option:
    """A location that may ship: what of the wanted items it has in full (a bit per item), and what it asks.

    ``extra`` is added for a parcel from there (distance, when closeness is the goal). ``base_grams`` already travel from there.
    Where volume is billed, all weights in grams are loads: volume and weight in one number, which the prices of all options then take.
    ``worths`` are added for each item taken there in full, and a share of them for a part of it; nothing: none has any.
    """

    whole: int
    prices: Prices
    extra: int = 0
    base_grams: int = 0
    worths: tuple[int, ...] = ()

    def score(self, grams: int) -> int:
        """What ``grams`` more from here add to the cost."""
        if not self.base_grams:
            return self.prices[self.prices.measured(grams)] + self.extra
        return self.prices[self.prices.measured(self.base_grams + grams)] - self.prices[self.prices.measured(self.base_grams)]

    def scores(self, grams: Numbers) -> Numbers:
        """The same for many weights at once."""
        if not self.base_grams:
            return self.prices.scores(self.prices.measured_of_many(grams)) + self.extra
        return (
            self.prices.scores(self.prices.measured_of_many(self.base_grams + grams)) - self.prices[self.prices.measured(self.base_grams)]
        )


@dataclass(frozen=True, slots=True)
class Partition:
    """Items per option (a bit per item), and what it all costs as a score."""

    score: int
    items: dict[int, int]


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
    group_weights = [sum(weights[index] for index in _bits(group)) for group in groups]
    if len(groups) > MOST_ITEMS:
        return _by_location_sets(options, groups, group_weights) or _greedily(options, groups, group_weights)
    by_group = [
        Option(
            _in_groups(option.whole, groups),
            option.prices,
            option.extra,
            option.base_grams,
            tuple(sum(option.worths[index] for index in _bits(group)) for group in groups) if option.worths else (),
        )
        for option in options
    ]
    found = _by_subsets(by_group, group_weights)
    assert found is not None, "every group is somewhere in full"
    items = {option: sum(groups[index] for index in _bits(mask)) for option, mask in found.items.items()}
    return Partition(found.score, items)


def _bits(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


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
        found = _by_a_plain_loop(options, weights)
        if found is not _BY_ARRAYS:
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


_BY_ARRAYS = Partition(NEVER, {})
"""What the plain loop answers when it cannot tell."""


def _by_a_plain_loop(options: Sequence[Option], weights: Sequence[int]) -> Partition | None:
    """The same for few items, where making arrays costs more than it saves.

    ``best[s]``: one parcel with the items of ``s``; ``total[s]``: in any number of parcels.
    """
    size = 1 << len(weights)
    parcels = _best_parcels(options, weights)
    if parcels is None:
        return _BY_ARRAYS
    best, sender = parcels
    total = best.copy()
    total[0] = 0
    cut = list(range(size))
    for subset, ways in _ways_to_cut(len(weights)):
        least = best[subset]
        for part, rest in ways:
            score = best[part] + total[rest]
            if score < least:
                least = score
                cut[subset] = part
        total[subset] = least
    if total[-1] >= NEVER:
        return None
    chosen: dict[int, int] = {}
    left = size - 1
    while left:
        option = sender[cut[left]]
        if option in chosen:
            return _BY_ARRAYS
        chosen[option] = cut[left]
        left ^= cut[left]
    return Partition(total[-1], chosen)


@lru_cache(maxsize=FEW_ITEMS)
def _ways_to_cut(count: int) -> list[tuple[int, list[tuple[int, int]]]]:
    """Every subset of more than one item, and every way to cut it into a part with its first item and a rest, larger parts first."""
    return [
        (subset, [(subset ^ rest, rest) for rest in _subsets(subset & (subset - 1))])
        for subset in range(1, 1 << count)
        if subset & (subset - 1)
    ]


@lru_cache(maxsize=1 << FEW_ITEMS)
def _subsets(whole: int) -> list[int]:
    """Every subset but the empty one, the smallest number first."""
    return [subset for subset in range(1, whole + 1) if subset & whole == subset]


def _best_parcels(options: Sequence[Option], weights: Sequence[int]) -> tuple[list[int], list[int]] | None:
    """For every subset the location that ships it best in one parcel, and the score. None where a price is not by pound alone.

    Where an earlier location asks the same and has all that a later one has, the later one is passed over at once.
    """
    size = 1 << len(weights)
    pounds = [0] * size
    grams = [0] * size
    for subset in range(1, size):
        low = subset & -subset
        grams[subset] = grams[subset ^ low] + weights[low.bit_length() - 1]
        pounds[subset] = billable_pounds(grams[subset])
    best = [NEVER] * size
    sender = [-1] * size
    seen_by: dict[tuple[int, int], bytearray] = {}
    seen = bytearray()
    prices: Prices | None = None
    extra = 0
    for index, option in enumerate(options):
        if option.prices is not prices or option.extra != extra:
            prices, extra = option.prices, option.extra
            if prices.by_load:
                return None
            seen = seen_by.setdefault((id(prices), extra), bytearray(size))
        if option.base_grams or option.worths:
            return None
        whole = option.whole & size - 1
        if seen[whole]:
            continue
        for subset in _subsets(whole):
            if not seen[subset]:
                seen[subset] = 1
                score = prices[pounds[subset]] + extra
                if score < best[subset]:
                    best[subset] = score
                    sender[subset] = index
    return best, sender


def _by_location_sets(options: Sequence[Option], groups: Sequence[int], weights: Sequence[int]) -> Partition | None:
    """The best of all sets of up to three locations that have everything. Groups that several of a set have go to one of them together."""
    fullest = sorted(range(len(options)), key=lambda index: -options[index].whole.bit_count())
    searched = sorted(fullest[:MOST_SEARCHED_LOCATIONS])
    having = [sum(1 << index for index in searched if options[index].whole & group == group) for group in groups]
    lightest = {index: options[index].score(1) for index in searched}
    best: Partition | None = None
    for size in (1, 2, 3):
        for chosen in combinations(searched, size):
            # A cheaper way that leaves one of the set unused was seen with a smaller set.
            if best is not None and sum(lightest[index] for index in chosen) >= best.score:
                continue
            found = _best_within(options, chosen, groups, weights, having)
            if found is not None and (best is None or found.score < best.score):
                best = found
    return best


def _best_within(
    options: Sequence[Option], chosen: Sequence[int], groups: Sequence[int], weights: Sequence[int], having: Sequence[int]
) -> Partition | None:
    """The best distribution over a set of locations, or None when together they do not have everything."""
    members = sum(1 << index for index in chosen)
    grams_by_senders: dict[int, int] = {}
    for senders, weight in zip(having, weights, strict=True):
        own = senders & members
        if not own:
            return None
        grams_by_senders[own] = grams_by_senders.get(own, 0) + weight
    shared = [own for own in grams_by_senders if own & (own - 1)]
    alone = {index: grams_by_senders.get(1 << index, 0) for index in chosen}
    best, best_senders = NEVER, None
    for senders_of_shared in product(*(tuple(_bits(own)) for own in shared)):
        loads = alone.copy()
        for own, sender in zip(shared, senders_of_shared, strict=True):
            loads[sender] += grams_by_senders[own]
        score = 0
        for sender, grams in loads.items():
            if grams:
                score += options[sender].score(grams)
        if score < best:
            best, best_senders = score, senders_of_shared
    if best_senders is None:
        return None
    sender_of = {1 << index: index for index in chosen} | dict(zip(shared, best_senders, strict=True))
    items: dict[int, int] = {}
    for group, senders in zip(groups, having, strict=True):
        sender = sender_of[senders & members]
        items[sender] = items.get(sender, 0) | group
    return Partition(best, items)


def _greedily(options: Sequence[Option], groups: Sequence[int], weights: Sequence[int]) -> Partition:
    """Takes the location that has most of what is left, again and again. For stock so scattered that no three locations have it all."""
    left = list(zip(groups, weights, strict=True))
    chosen: dict[int, int] = {}
    score = 0
    while left:
        index = max(range(len(options)), key=lambda candidate: sum(g.bit_count() for g, _ in left if options[candidate].whole & g == g))
        taken = [(group, weight) for group, weight in left if options[index].whole & group == group]
        left = [(group, weight) for group, weight in left if options[index].whole & group != group]
        for group, _ in taken:
            chosen[index] = chosen.get(index, 0) | group
        score += options[index].score(sum(weight for _, weight in taken))
    return Partition(score, chosen)


def fills(stock: Sequence[tuple[int, int]], units: int) -> Iterator[list[tuple[int, int]]]:
    """Ways to take ``units`` of one item from the fewest locations, when none has them all.

    With prices that rise ever slower by weight, the cheapest way empties every location but one, so only those are offered: every order in
    which the fewest locations can be emptied. Four or more locations are only emptied from the fullest on.

    Args:
        stock: (option, units there); together at least ``units``.
        units: how many are wanted.
    """
    fullest = sorted(stock, key=lambda entry: -entry[1])
    needed, count = 0, 0
    while needed < units:
        needed += fullest[count][1]
        count += 1
    if count > 3:
        yield _emptied(fullest[:count], units)
        return
    if len(stock) > MOST_SEARCHED_LOCATIONS:
        nearest = [entry for entry in stock if entry not in fullest[: MOST_SEARCHED_LOCATIONS // 2]]
        stock = fullest[: MOST_SEARCHED_LOCATIONS // 2] + nearest[: MOST_SEARCHED_LOCATIONS // 2]
    for order in permutations(stock, count):
        if sum(have for _, have in order) >= units > sum(have for _, have in order[:-1]):
            yield _emptied(order, units)


def _emptied(order: Sequence[tuple[int, int]], units: int) -> list[tuple[int, int]]:
    taken = []
    for option, have in order:
        take = min(have, units)
        taken.append((option, take))
        units -= take
    return taken
