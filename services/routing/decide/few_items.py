"""The dynamic programme of ``splitting.py`` for few items, where making arrays costs more than it saves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from services.routing.decide.combining import NEVER
from services.routing.decide.options import Option, Partition
from services.routing.decide.tariffs import Prices, billable_pounds

FEW_ITEMS = 5
"""Up to so many items a plain loop is faster than arrays."""

UNDECIDED = Partition(NEVER, {})
"""What the plain loop answers when it cannot tell."""


def cheapest_of_few(options: Sequence[Option], weights: Sequence[int]) -> Partition | None:
    """The same for few items, where making arrays costs more than it saves.

    ``best[s]``: one parcel with the items of ``s``; ``total[s]``: in any number of parcels.
    """
    size = 1 << len(weights)
    parcels = _best_parcels(options, weights)
    if parcels is None:
        return UNDECIDED
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
            return UNDECIDED
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
