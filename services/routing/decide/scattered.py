"""Orders with items that no location has in full: those are divided, the others stay whole (docs/decisions/0019-planner.md).

The best division is found where the ways to divide are few enough to look at them all, which is the usual case. Beyond, such items are
taken from the fewest locations, and the rest of the order joins those parcels where that is cheaper.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations

from services.routing.decide.combining import NEVER, ways_to_cut
from services.routing.decide.location_sets import MOST_SEARCHED_LOCATIONS
from services.routing.decide.options import Option
from services.routing.decide.refining import MOST_WAYS_TO_CUT, Units, Wish, placed_at_best, refined
from services.routing.decide.splitting import cheapest_partition

MOST_WAYS_OVER_LOCATIONS = 400_000
"""The same, counted for every location: many locations may each have to be looked at by itself."""
MOST_WEIGHED_FILLS = 3
"""Up to so many scattered items, every way to fill each is weighed together with the rest of the order."""


def cheapest_division(
    options: Sequence[Option],
    stock: Sequence[Sequence[int]],
    units: Sequence[int],
    unit_grams: Sequence[int],
    scattered: Sequence[int],
    pick_score: int = 0,
) -> Units | None:
    """A plan for an order with scattered items: the best there is, or a good one when there are too many ways to divide them.

    Args:
        options: the locations.
        stock: units per option and item.
        units: wanted units per item.
        unit_grams: weight of one unit per item.
        scattered: positions of the items that no option has in full.
        pick_score: what each further location that an item is picked at adds to the score.

    Returns:
        The units per option and item; None when the stock does not suffice.
    """
    wish = Wish(options, stock, units, unit_grams, frozenset(scattered), pick_score)
    everything = range(len(units))
    ways = ways_to_cut(wish.sizes(everything))
    if ways <= MOST_WAYS_TO_CUT and ways * len(options) <= MOST_WAYS_OVER_LOCATIONS:
        return placed_at_best(wish, everything, [0] * len(options))
    taken = fill_and_join(options, stock, units, unit_grams, scattered)
    return None if taken is None else refined(wish, taken)


def fill_and_join(
    options: Sequence[Option], stock: Sequence[Sequence[int]], units: Sequence[int], unit_grams: Sequence[int], scattered: Sequence[int]
) -> Units | None:
    """The scattered items are filled first, heaviest first, then the items that can stay whole join.

    With one scattered item the result is the best among all plans that take it from the fewest locations, emptying all of them but one.
    With several, one after the other is settled.
    """
    whole = [position for position in range(len(units)) if position not in set(scattered)]
    weights = [units[position] * unit_grams[position] for position in whole]
    weigh = len(scattered) <= MOST_WEIGHED_FILLS and bool(whole)
    loads = [0] * len(options)
    taken: Units = {}
    for position in sorted(scattered, key=lambda place: -units[place] * unit_grams[place]):
        having = [(option, own[position]) for option, own in enumerate(stock) if own[position]]
        if sum(have for _, have in having) < units[position]:
            return None
        best: tuple[int, list[tuple[int, int]]] | None = None
        for fill in _fills(having, units[position]):
            added = _added_score(options, loads, fill, unit_grams[position])
            added += sum(count * options[option].worths[position] // units[position] for option, count in fill if options[option].worths)
            rest = 0
            if weigh:
                partition = cheapest_partition(_loaded(options, loads, fill, unit_grams[position], whole), weights)
                rest = NEVER if partition is None else partition.score
            if best is None or added + rest < best[0]:
                best = (added + rest, fill)
        assert best is not None, "stock that suffices can be taken in at least one way"
        for option, count in best[1]:
            loads[option] += count * unit_grams[position]
            taken.setdefault(option, {})[position] = count
    joined = cheapest_partition(_loaded(options, loads, [], 0, whole), weights)
    if joined is None:
        return None
    for option, mask in joined.items.items():
        own_units = taken.setdefault(option, {})
        for bit, position in enumerate(whole):
            if mask >> bit & 1:
                own_units[position] = units[position]
    return taken


def _added_score(options: Sequence[Option], loads: Sequence[int], fill: Sequence[tuple[int, int]], unit_grams: int) -> int:
    """What a fill adds to the cost, given what already travels from each location."""
    return sum(Option(0, options[option].prices, options[option].extra, loads[option]).score(count * unit_grams) for option, count in fill)


def _loaded(
    options: Sequence[Option], loads: Sequence[int], fill: Sequence[tuple[int, int]], unit_grams: int, whole: Sequence[int]
) -> list[Option]:
    """The options as they stand after a fill, seen from the items of ``whole`` alone."""
    grams = list(loads)
    for index, count in fill:
        grams[index] += count * unit_grams
    loaded = []
    for option, load in zip(options, grams, strict=True):
        mask = 0
        for bit, position in enumerate(whole):
            if option.whole >> position & 1:
                mask |= 1 << bit
        worths = tuple(option.worths[position] for position in whole) if option.worths else ()
        loaded.append(Option(mask, option.prices, option.extra, load, worths))
    return loaded


def _fills(stock: Sequence[tuple[int, int]], units: int) -> Iterator[list[tuple[int, int]]]:
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
