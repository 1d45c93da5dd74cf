"""Orders of so many groups of items that not every cut is looked at: few locations that have everything together, else the fullest first.

Both may miss the optimum (docs/decisions/0019-planner.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product

from services.routing.decide.combining import NEVER
from services.routing.decide.options import Option, Partition, bits_of

MOST_SEARCHED_LOCATIONS = 12
"""How many locations the search over sets of locations considers."""


def best_of_location_sets(options: Sequence[Option], groups: Sequence[int], weights: Sequence[int]) -> Partition | None:
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
    for senders_of_shared in product(*(tuple(bits_of(own)) for own in shared)):
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


def emptying_the_fullest(options: Sequence[Option], groups: Sequence[int], weights: Sequence[int]) -> Partition:
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
