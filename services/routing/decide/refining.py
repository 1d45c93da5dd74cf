"""Plans that were found without looking at everything, made better: some items at a time are placed anew, as well as can be, while the
others stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from services.routing.decide.combining import NEVER, cheapest_parcels, digits_of, ways_to_cut
from services.routing.decide.options import Option

MOST_WAYS_TO_CUT = 60_000
"""Up to so many, all items are placed at once and nothing better exists."""
MOST_WAYS_OF_SOME = 6_561
"""Up to so many for the items that are placed anew together; as many as eight items have that stay whole."""
MOST_TRIES = 20
"""How often some items are placed anew."""

Units = dict[int, dict[int, int]]
"""Units per item, for each option."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be shipped, and from where it may be.

    Args:
        options: the locations.
        stock: units per option and item.
        units: wanted units per item.
        unit_grams: weight of one unit per item.
        divided: positions of the items that several locations may share.
        pick_score: what each further location that an item is picked at adds to the score.
    """

    options: Sequence[Option]
    stock: Sequence[Sequence[int]]
    units: Sequence[int]
    unit_grams: Sequence[int]
    divided: frozenset[int]
    pick_score: int = 0

    def sizes(self, positions: Sequence[int]) -> list[int]:
        """In how many amounts each of these items may be in one parcel, none of it included."""
        return [self.units[position] + 1 if position in self.divided else 2 for position in positions]

    def score(self, taken: Units) -> int:
        """What a plan costs, without the first pick of each item."""
        total = -self.pick_score * len(self.units)
        for option, own in taken.items():
            grams = sum(count * self.unit_grams[position] for position, count in own.items())
            total += self.options[option].score(grams) + self.pick_score * len(own)
            total += sum(self.worth(option, position, count) for position, count in own.items())
        return total

    def worth(self, option: int, position: int, count: int) -> int:
        """What so many units of an item count beside their parcel, when they are taken there."""
        worths = self.options[option].worths
        return count * worths[position] // self.units[position] if worths else 0


def placed_at_best(wish: Wish, positions: Sequence[int], loads: Sequence[int]) -> Units | None:
    """The best places of some items. None when there is not enough of one.

    Args:
        wish: the order.
        positions: the items.
        loads: grams that already travel from each option.
    """
    if not wish.options:
        return None
    sizes = wish.sizes(positions)
    lots = [1 if position in wish.divided else wish.units[position] for position in positions]
    digits = digits_of(sizes)
    grams = digits @ np.array([lot * wish.unit_grams[position] for lot, position in zip(lots, positions, strict=True)], dtype=np.int64)
    having = np.array([[own[position] // lot for position, lot in zip(positions, lots, strict=True)] for own in wish.stock])
    scores = np.stack(
        [Option(0, option.prices, option.extra, load).scores(grams) for option, load in zip(wish.options, loads, strict=True)]
    )
    for option in range(len(wish.options)):
        if wish.options[option].worths:
            per_lot = [wish.worth(option, position, lot) for position, lot in zip(positions, lots, strict=True)]
            scores[option] += digits @ np.array(per_lot, dtype=np.int64)
    if wish.pick_score and wish.divided:
        scores += wish.pick_score * (digits[:, [place for place, size in enumerate(sizes) if size > 2]] > 0).sum(axis=1)
    scores[(digits > having[:, None]).any(axis=2)] = NEVER
    scores[:, 0] = 0
    found = cheapest_parcels(scores, sizes)
    if found is None:
        return None
    return {
        option: {positions[place]: int(digit) * lots[place] for place, digit in enumerate(digits[parcel]) if digit}
        for option, parcel in found[1].items()
    }


def refined(wish: Wish, taken: Units) -> Units:
    """The plan, or a cheaper one."""
    score = wish.score(taken)
    tries = 0
    for turn in range(MOST_TRIES):
        before = score
        for positions in _some_items(wish, taken, turn):
            tries += 1
            if tries > MOST_TRIES:
                return taken
            rest = {
                option: kept
                for option, own in taken.items()
                if (kept := {position: count for position, count in own.items() if position not in positions})
            }
            loads = [
                sum(count * wish.unit_grams[position] for position, count in rest.get(option, {}).items())
                for option in range(len(wish.options))
            ]
            placed = placed_at_best(wish, positions, loads)
            if placed is None:
                continue
            other = {option: {**rest.get(option, {}), **placed.get(option, {})} for option in sorted({*rest, *placed})}
            if (less := wish.score(other)) < score:
                score, taken = less, other
        if score == before:
            break
    return taken


def _some_items(wish: Wish, taken: Units, turn: int) -> Iterator[list[int]]:
    """Items that are placed anew together: those of every two parcels, then all of them in turn, each time beginning elsewhere."""
    shared = [sorted({*taken[one], *taken[other]}) for one, other in combinations(sorted(taken), 2)]
    everything = list(range(len(wish.units)))
    begin = turn * 3 % len(everything)
    for items in (*shared, everything[begin:] + everything[:begin]):
        together: list[int] = []
        for position in items:
            if together and ways_to_cut(wish.sizes([*together, position])) > MOST_WAYS_OF_SOME:
                yield together
                together = []
            if ways_to_cut(wish.sizes([position])) <= MOST_WAYS_TO_CUT:
                together.append(position)
        if together:
            yield together
