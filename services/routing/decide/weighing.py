"""What a parcel from a location counts in the choice beside its cost: nobody pays it, and no cost that is told has it in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.routing.decide.candidates import Candidate
from services.routing.decide.capacity import Slot, price_cents
from services.routing.decide.guidance import Guidance
from services.routing.decide.tariffs import SCORE_PER_CENT

SCORE_PER_MILE = SCORE_PER_CENT * 1_000_000
"""More than orders cost, so that when closeness is the goal the cost only tells equal distances apart."""

MOST_PARCELS_RANKED = 12
"""In plans of up to so many parcels what a rule prefers comes strictly after the number of parcels, and strictly before miles and cost."""
SCORE_PER_RANK = SCORE_PER_MILE * 150
"""More than any cost."""
SCORE_PER_RANK_OF_CLOSEST = SCORE_PER_MILE * 12_500 * MOST_PARCELS_RANKED
"""More than any distance on earth."""

DAYS_PUT_OFF = 1
"""An order without a promised day waits so many working days for a full location; longer only where nothing else ships it."""
MOST_DAYS_COUNTED = 11
SCORE_PER_DAY_PUT_OFF = SCORE_PER_MILE
"""More than orders cost; in a parcel less than what a rule prefers, however many days are counted."""
SCORE_PER_DAY_PUT_OFF_OF_CLOSEST = SCORE_PER_MILE * 12_500
"""More than any distance."""


def weigh(candidates: Sequence[Candidate], guidance: Guidance | None, *, closest: bool, split_cents: int) -> None:
    """Notes what a parcel from each location counts beside its cost: the price of one parcel more, what rules say, and miles when closeness
    is the goal.

    What rules prefer never makes two parcels of one: a parcel counts more than the worst places of all the others together.
    """
    each = split_cents * SCORE_PER_CENT
    per_rank = SCORE_PER_RANK_OF_CLOSEST if closest else SCORE_PER_RANK
    if guidance is not None and (guidance.ranks or guidance.together):
        worst = max(guidance.ranks.values(), default=0)
        each += (min(len(candidates), MOST_PARCELS_RANKED) * worst + 1) * per_rank
    for candidate in candidates:
        candidate.extra = each + (candidate.reach.miles * SCORE_PER_MILE if closest else 0)
        if guidance is not None:
            code = candidate.reach.location.code
            candidate.extra += guidance.handicaps.get(code, 0) * SCORE_PER_CENT + guidance.ranks.get(code, 0) * per_rank


def weigh_slots(
    candidates: Sequence[Candidate], slots: Mapping[str, Slot | None], *, closest: bool, patient: bool, capacity_cents: int
) -> None:
    """Notes what a slot of a nearly full location counts, and which would keep an order waiting that was promised no day."""
    per_day = SCORE_PER_DAY_PUT_OFF_OF_CLOSEST if closest else SCORE_PER_DAY_PUT_OFF
    for candidate in candidates:
        location = candidate.reach.location
        slot = slots.get(location.code)
        if slot is None:
            continue
        if patient and slot.put_off > DAYS_PUT_OFF:
            candidate.extra += min(slot.put_off - DAYS_PUT_OFF, MOST_DAYS_COUNTED) * per_day
        if capacity_cents and location.capacity is not None:
            candidate.extra += price_cents(location.capacity, slot, capacity_cents) * SCORE_PER_CENT
