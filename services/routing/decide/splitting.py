"""Which location ships which items at the least cost: exact for orders of usual size.

A partition of the items into parcels is searched by dynamic programming over subsets (design note performance.md, point 9): the best
location for every subset first, then the best way to cut the whole into such subsets. That is exact as long as merging two parcels of one
location never costs more than sending both, which holds for every tariff whose price for a+b pounds is at most the price for a plus the
price for b. When there are many items, those that are in stock at the same locations travel as one group; with prices that rise ever
slower by weight this loses nothing. Orders with more groups than the table can take are searched over all sets of up to three locations,
then greedily.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations, product

from services.routing.decide.tariffs import Prices, billable_pounds

NEVER = 1 << 62
"""The score of what cannot be done."""

MOST_SINGLE_ITEMS = 6
"""Up to so many items each is placed by itself; beyond, items in stock at the same locations travel together."""
MOST_GROUPS = 8
MOST_SEARCHED_LOCATIONS = 12
"""How many locations the search over sets of locations considers."""


@dataclass(slots=True)
class Option:
    """A location that may ship: what of the wanted items it has in full (a bit per item), and what it asks.

    ``extra`` is added for a parcel from there (distance, when closeness is the goal). ``base_grams`` already travel from there.
    """

    whole: int
    prices: Prices
    extra: int = 0
    base_grams: int = 0

    def score(self, grams: int) -> int:
        """What ``grams`` more from here add to the cost."""
        if not self.base_grams:
            return self.prices[billable_pounds(grams)] + self.extra
        return self.prices[billable_pounds(self.base_grams + grams)] - self.prices[billable_pounds(self.base_grams)]


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
    if len(weights) <= MOST_SINGLE_ITEMS:
        return _by_subsets(options, [1 << index for index in range(len(weights))], weights)
    groups = _groups(options, len(weights))
    if groups is None:
        return None
    group_weights = [sum(weights[index] for index in _bits(group)) for group in groups]
    if len(groups) <= MOST_GROUPS:
        return _by_subsets(options, groups, group_weights)
    return _by_location_sets(options, groups, group_weights) or _greedily(options, groups, group_weights)


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


def _by_subsets(options: Sequence[Option], groups: Sequence[int], weights: Sequence[int]) -> Partition | None:
    """The dynamic programme. ``best[s]``: one parcel with the groups of ``s``; ``total[s]``: in any number of parcels."""
    size = 1 << len(groups)
    items = [0] * size
    grams = [0] * size
    for subset in range(1, size):
        low = subset & -subset
        index = low.bit_length() - 1
        items[subset] = items[subset ^ low] | groups[index]
        grams[subset] = grams[subset ^ low] + weights[index]
    best, sender = _best_parcels(options, items, grams)
    total = best
    cut = [0] * size
    if len(groups) > 1:
        total = best.copy()
        for subset in range(1, size):
            rest = subset & (subset - 1)
            if not rest:
                continue
            low = subset ^ rest
            least = best[subset]
            part = (rest - 1) & rest
            while True:
                score = best[part | low] + total[rest ^ part]
                if score < least:
                    least = score
                    cut[subset] = part | low
                if not part:
                    break
                part = (part - 1) & rest
            total[subset] = least
    full = size - 1
    if total[full] >= NEVER:
        return None
    chosen: dict[int, int] = {}
    left = full
    while left:
        parcel = cut[left] or left
        option = sender[parcel]
        chosen[option] = chosen.get(option, 0) | items[parcel]
        left ^= parcel
    return Partition(total[full], chosen)


def _best_parcels(options: Sequence[Option], items: Sequence[int], grams: Sequence[int]) -> tuple[list[int], list[int]]:
    """For every subset the location that ships it best in one parcel, and the score; this loop is the hot one."""
    best = [NEVER] * len(items)
    sender = [-1] * len(items)
    plain = [(index, option.whole, option.prices, option.extra) for index, option in enumerate(options) if not option.base_grams]
    joining = [(index, option) for index, option in enumerate(options) if option.base_grams]
    for subset in range(1, len(items)):
        wanted = items[subset]
        pounds = billable_pounds(grams[subset])
        least = NEVER
        for index, whole, prices, extra in plain:
            if whole & wanted == wanted:
                score = prices[pounds] + extra
                if score < least:
                    least = score
                    sender[subset] = index
        for index, option in joining:
            if option.whole & wanted == wanted:
                score = option.score(grams[subset])
                if score < least:
                    least = score
                    sender[subset] = index
        best[subset] = least
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
