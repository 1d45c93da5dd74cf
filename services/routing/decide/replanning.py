"""Orders that came within one window are planned together before anything of them is released (feature C8).

Planned one after the other, the first order takes the last unit of a place although another needs it more, and that one becomes two
parcels. Until a warehouse is told, nothing is lost by choosing again: Xu, Allgor and Graves, Benefits of Reevaluating Real-Time Order
Fulfillment Decisions, M&SOM 11(2), 2009. Here an order waits with its units reserved, but tied to no place, until its window ends; then all
of the window are planned in the order of their ids, and orders that compete exchange units while that makes all together cheaper.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import combinations
from uuid import UUID

from services.routing.decide.network import Network
from services.routing.decide.order import Order
from services.routing.decide.planner import Planner
from services.routing.decide.plans import Plan, PlanRequest, Replanned

Stock = Mapping[str, Mapping[str, int]]
"""Units per SKU and location."""

BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
"""Windows are counted from here, so that every process ends them at the same moments."""
MARGIN = timedelta(minutes=1)
"""Between the end of a window and the cutoff of a place: the plan must still be made, told and heard."""
MOST_PLANS = 2_000
"""Plans that a batch may try beyond one each: a bound in time that falls the same on every machine."""
MOST_ROUNDS = 5


def window_end(moment: datetime, window: timedelta) -> datetime:
    """The end of the window in which a moment lies."""
    return BEGINNING + window * ((moment - BEGINNING) // window + 1)


def held_until(order: Order, network: Network, now: datetime, window: timedelta) -> datetime | None:
    """Until when planning an order may wait for the others of its window; None when it is planned at once.

    It waits once, before its first plan, and only while no place that has something of it would send it on a later day for that: so every
    date that could be kept before can be kept then. A place that limits its work might give its slots to others meanwhile. An edit does not
    make it wait longer, although another service level is promised from then on.

    Args:
        order: the order, with units to plan.
        network: the locations.
        now: the time.
        window: how long a window lasts; zero switches waiting off.
    """
    if not window or order.fulfillments or order.rejections or order.refused_plans or order.attention is not None:
        return None
    came = order.promise_from if order.order_version == 1 else min(order.placed_at, order.promise_from)
    end = window_end(came, window)
    if end <= now:
        return None
    places = {code for line in order.lines for code, units in order.assignable.get(line.sku, {}).items() if line.plannable and units}
    having = [(index, place) for index, place in enumerate(network.locations) if place.active and place.code in places]
    if not having or any(place.capacity is not None for _, place in having):
        return None
    return end if all(network.dispatch(index, now).holds_until >= end + MARGIN for index, _ in having) else None


def newest_stock(orders: Iterable[Order]) -> dict[str, Mapping[str, int]]:
    """What can be tied where, as allocation told it with the last of these orders to come."""
    stock: dict[str, Mapping[str, int]] = {}
    for order in sorted(orders, key=lambda each: (each.promise_from, each.order_id)):
        stock.update(order.assignable)
    return stock


@dataclass(frozen=True, slots=True)
class Savings:
    """What choosing again came to, over a batch."""

    orders: int
    """Whose plans changed."""
    parcels: int
    cents: int


def savings_of(plans: Iterable[Plan]) -> Savings:
    """What these plans, made together, say that they saved."""
    told = [Replanned(*plan.record["asked"]["replanned"]) for plan in plans if "replanned" in plan.record["asked"]]
    return Savings(len(told), sum(each.own_parcels_saved for each in told), sum(each.own_cents_saved for each in told))


def plan_together(planner: Planner, requests: Mapping[UUID, PlanRequest], stock: Stock) -> dict[UUID, Plan]:
    """Plans for as many orders as find everything in the stock; no unit is in two of them.

    The sum of what they cost (as the planner counts it) is at most that of planning one after the other, and no order is later than it
    would be then.

    Args:
        planner: how one order is planned.
        requests: what is asked per order, in the order in which they take turns; their own stock is not looked at.
        stock: what there is for all of them.
    """
    batch = _Batch(planner, requests, stock)
    batch.plan_in_turn()
    before = dict(batch.plans)
    for group in batch.groups():
        batch.improve(group)
        changed = [order_id for order_id in group if _places(batch.plans[order_id]) != _places(before[order_id])]
        for order_id in changed:
            batch.note(order_id, _saving(order_id, changed, before, batch.plans))
    return batch.plans


@dataclass(frozen=True, slots=True, order=True)
class _Score:
    """What is to become less: cost as the planner counts it, then parcels."""

    cents: int
    parcels: int


class _Batch:
    """The plans of a batch while they are exchanged, and the stock that they leave."""

    def __init__(self, planner: Planner, requests: Mapping[UUID, PlanRequest], stock: Stock) -> None:
        self._planner = planner
        self._requests = requests
        self._stock = stock
        self._left = {(sku, code): units for sku, places in stock.items() for code, units in places.items()}
        self._asked: dict[UUID, PlanRequest] = {}
        self._tries = 0
        self.plans: dict[UUID, Plan] = {}

    def plan_in_turn(self) -> None:
        """One after the other, each on what the ones before left. Whoever finds not all of it is left out."""
        for order_id in self._requests:
            asked, plan = self._plan(order_id)
            if _is_whole(plan):
                self._take(order_id, asked, plan)

    def groups(self) -> Iterator[Sequence[UUID]]:
        """Orders whose choices may touch each other, in their order: they want a SKU of which some place has less than all of them want."""
        groups: dict[UUID, list[UUID]] = {}
        for own in self._wanting_scarce().values():
            merged = [order_id for first in own for order_id in groups.get(first, [first])]
            group = list(dict.fromkeys(merged))
            for order_id in group:
                groups[order_id] = group
        seen: set[int] = set()
        turns = {order_id: turn for turn, order_id in enumerate(self._requests)}
        for order_id in self.plans:
            group = groups.get(order_id, [])
            if len(group) > 1 and id(group) not in seen:
                seen.add(id(group))
                yield sorted(group, key=turns.__getitem__)

    def improve(self, group: Sequence[UUID]) -> None:
        """Lets orders choose again, alone and in pairs, until nothing gets better or the bound is reached."""
        wanted = {order_id: frozenset(entry.sku for entry in self._requests[order_id].wanted) for order_id in group}
        scarce = self._wanting_scarce().keys()
        pairs = [pair for pair in combinations(group, 2) if wanted[pair[0]] & wanted[pair[1]] & scarce]
        for _ in range(MOST_ROUNDS):
            alone = [self._choose_again([(order_id,)]) for order_id in group]
            together = [self._choose_again([(first, second), (second, first)]) for first, second in pairs]
            if not any(alone) and not any(together):
                return

    def note(self, order_id: UUID, saving: Replanned) -> None:
        """Makes the plan once more with what choosing again saved, which its record then tells."""
        self.plans[order_id] = self._planner.plan(replace(self._asked[order_id], replanned=saving))

    def _wanting_scarce(self) -> dict[str, list[UUID]]:
        wanting: dict[str, list[UUID]] = {}
        units: dict[str, int] = {}
        for order_id in self.plans:
            if not _may_exchange(self.plans[order_id]):
                continue
            for entry in self._requests[order_id].wanted:
                units[entry.sku] = units.get(entry.sku, 0) + entry.units
                own = wanting.setdefault(entry.sku, [])
                if order_id not in own:
                    own.append(order_id)
        return {sku: own for sku, own in wanting.items() if any(0 < have < units[sku] for have in self._stock[sku].values())}

    def _choose_again(self, turns: Sequence[tuple[UUID, ...]]) -> bool:
        """Frees the units of some orders and plans them anew, in the best of these turns; whether that is better than before."""
        if self._tries >= MOST_PLANS:
            return False
        members = turns[0]
        before = {order_id: (self._asked[order_id], self.plans[order_id]) for order_id in members}
        best = before
        for turn in turns:
            self._give_back(members)
            for order_id in turn:
                self._tries += 1
                self._take(order_id, *self._plan(order_id))
            after = {order_id: (self._asked[order_id], self.plans[order_id]) for order_id in members}
            fair = all(_is_no_worse(after[order_id][1], before[order_id][1]) for order_id in members)
            if fair and self._score(after.values()) < self._score(best.values()):
                best = after
        self._give_back(members)
        for order_id in members:
            self._take(order_id, *best[order_id])
        return best is not before

    def _plan(self, order_id: UUID) -> tuple[PlanRequest, Plan]:
        request = self._requests[order_id]
        stock = {
            entry.sku: {code: self._left[entry.sku, code] for code in self._stock.get(entry.sku, {}) if self._left[entry.sku, code] > 0}
            for entry in request.wanted
        }
        asked = replace(request, assignable=stock)
        return asked, self._planner.plan(asked)

    def _take(self, order_id: UUID, asked: PlanRequest, plan: Plan) -> None:
        self._asked[order_id], self.plans[order_id] = asked, plan
        self._move(plan, -1)

    def _give_back(self, members: Iterable[UUID]) -> None:
        for order_id in members:
            self._move(self.plans[order_id], 1)

    def _move(self, plan: Plan, sign: int) -> None:
        for parcel in plan.parcels:
            for _, sku, units in parcel.units:
                self._left[sku, parcel.location.code] += sign * units

    def _score(self, made: Iterable[tuple[PlanRequest, Plan]]) -> _Score:
        plans = [plan for _, plan in made]
        split_cents = self._planner.split_cents
        cents = sum(plan.cost_cents + plan.record.get("stock_worth_cents", 0) + split_cents * (len(plan.parcels) - 1) for plan in plans)
        return _Score(cents, sum(_parcels(plan) for plan in plans))


def _is_whole(plan: Plan) -> bool:
    return bool(plan.parcels) and not plan.unplaced and plan.held is None


def _may_exchange(plan: Plan) -> bool:
    """Whether cost is what decides. Where a rule prefers or pins places, or distance or speed is the goal, the order keeps its choice."""
    told = plan.record.get("rules", {})
    return plan.record["objective"] in ("cheapest", "forward_looking") and not any(
        name in told for name in ("ranks", "handicaps", "pinned")
    )


def _is_no_worse(after: Plan, before: Plan) -> bool:
    """The promise is kept as well as before; where rules applied, which may want few parcels, there are no more."""
    if not _is_whole(after):
        return False
    if after.late and (not before.late or _last_day(after) > _last_day(before)):
        return False
    return not before.record.get("rules", {}).get("fired") or _parcels(after) <= _parcels(before)


def _last_day(plan: Plan) -> date:
    return max(parcel.arrives_on for parcel in plan.parcels)


def _parcels(plan: Plan) -> int:
    return sum(parcel.parcels for parcel in plan.parcels)


def _places(plan: Plan) -> list[tuple[str, tuple[tuple[str, str, int], ...]]]:
    return [(parcel.location.code, parcel.units) for parcel in plan.parcels]


def _saving(order_id: UUID, changed: Sequence[UUID], before: Mapping[UUID, Plan], after: Mapping[UUID, Plan]) -> Replanned:
    return Replanned(
        others=len(changed) - 1,
        parcels_saved=sum(_parcels(before[each]) - _parcels(after[each]) for each in changed),
        cents_saved=sum(before[each].cost_cents - after[each].cost_cents for each in changed),
        own_parcels_saved=_parcels(before[order_id]) - _parcels(after[order_id]),
        own_cents_saved=before[order_id].cost_cents - after[order_id].cost_cents,
    )
