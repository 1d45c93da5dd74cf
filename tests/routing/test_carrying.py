"""Stock that other plans would have left: what is carried from decision to decision is what a world under the other rules would show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

import pytest

from services.routing.decide.carrying import CameBack, CarriedStock
from services.routing.decide.network import Network
from services.routing.decide.planner import Planner
from services.routing.decide.plans import Plan, PlanRequest, Wanted
from tests.routing.test_planner import WEDNESDAY, a_planner, request

LIVE = a_planner(pick_cents=35)
OTHERS: Mapping[str, Planner] = {
    "closest": replace(LIVE, objective="closest"),
    "dear splits": replace(LIVE, split_cents=5_000),
    "without newark": replace(LIVE, network=Network([replace(each, active=each.code != "newark") for each in LIVE.network.locations])),
}
Shelves = dict[str, dict[str, int]]


class World:
    """Shelves, and the plans that are made on them one after the other."""

    def __init__(self, planner: Planner, shelves: Shelves) -> None:
        self.planner, self.shelves, self.plans = planner, {sku: dict(own) for sku, own in shelves.items()}, list[Plan]()

    def ship(self, asked: PlanRequest) -> PlanRequest:
        """Plans on what is there, and takes it; the request as it was."""
        asked = replace(asked, assignable={entry.sku: dict(self.shelves[entry.sku]) for entry in asked.wanted})
        self.plans.append(self.planner.plan(asked))
        for parcel in self.plans[-1].parcels:
            for _, sku, units in parcel.units:
                self.shelves[sku][parcel.location.code] -= units
        return asked

    def put_back(self, order: int, units: Mapping[str, int]) -> None:
        """So many units of each line of an order are on the shelf again, those of its first parcel first."""
        left = dict(units)
        for parcel in self.plans[order].parcels:
            for line_id, sku, count in parcel.units:
                back = min(left.get(line_id, 0), count)
                self.shelves[sku][parcel.location.code] += back
                left[line_id] = left.get(line_id, 0) - back


def events(chance: Random) -> Iterator[tuple[str, PlanRequest | tuple[str, str, int] | int]]:
    """Orders, receipts, and cancellations of orders before."""
    orders = 0
    for hour in range(60):
        now = WEDNESDAY + timedelta(hours=hour)
        match chance.choice(["order", "order", "order", "receipt", "cancel"]):
            case "receipt":
                yield "receipt", (chance.choice("ABC"), chance.choice(sorted(location.code for location in LIVE.network.locations)), 2)
            case "cancel" if orders:
                yield "cancel", chance.randrange(orders)
            case _:
                skus = chance.sample("ABC", chance.randint(1, 3))
                lines = [Wanted(str(n), sku, chance.randint(1, 3), chance.randint(100, 9_000), False) for n, sku in enumerate(skus)]
                home = chance.choice(["89501", "10001", "60601", "33101"])
                yield "order", request(lines, {}, to=home, now=now, partly=chance.random() < 0.7)
                orders += 1


@pytest.mark.parametrize("name", OTHERS)
def test_carried_stock_gives_the_plans_that_the_other_rules_would_have_made_from_the_start(name: str) -> None:
    without_carrying = 0
    for seed in range(12):
        chance = Random(f"{name} {seed}")
        shelves = {sku: {location.code: chance.randint(0, 4) for location in LIVE.network.locations} for sku in "ABC"}
        live, other = World(LIVE, shelves), World(OTHERS[name], shelves)
        asked: list[PlanRequest] = []
        came_back: dict[int, list[CameBack]] = {}
        now = WEDNESDAY
        for kind, what in events(chance):
            if isinstance(what, PlanRequest):
                asked.append(live.ship(what))
                other.ship(what)
                now = what.now
            elif isinstance(what, tuple):
                sku, location, count = what
                for world in (live, other):
                    world.shelves[sku][location] += count
            elif kind == "cancel" and what not in came_back:
                came_back[what] = list(backs(live.plans[what], now + timedelta(minutes=1)))
                units = Counter[str]()
                for back in came_back[what]:
                    units[back.line_id] += back.units
                for world in (live, other):
                    world.put_back(what, units)
        carried = CarriedStock()
        for number, recorded in enumerate(asked):
            seen = carried.seen_by(recorded)
            plan = OTHERS[name].plan(seen)
            assert (plan.parcels, plan.unplaced) == (other.plans[number].parcels, other.plans[number].unplaced)
            carried.take(live.plans[number], plan, came_back.get(number, ()))
            without_carrying += OTHERS[name].plan(recorded).parcels != plan.parcels
    assert without_carrying > 5, "the stock that was recorded would have done as well"


def backs(plan: Plan, at: datetime) -> Iterator[CameBack]:
    return (CameBack(parcel.location.code, line_id, units, at) for parcel in plan.parcels for line_id, _, units in parcel.units)


def test_under_the_same_rules_nothing_is_carried_and_below_zero_nobody_takes() -> None:
    carried, same = CarriedStock(), a_planner(pick_cents=35)
    asked = request([Wanted("1", "A", 2, 500, False)], {"A": {"reno": 2, "newark": 2}})
    carried.take(LIVE.plan(asked), same.plan(asked), list(backs(LIVE.plan(asked), WEDNESDAY)))
    assert carried.seen_by(asked) is asked
    assert carried.shelves == 0
    far = OTHERS["closest"].plan(replace(asked, excluded=frozenset({"reno"})))
    carried.take(LIVE.plan(asked), far)
    assert carried.seen_by(asked).assignable == {"A": {"reno": 4, "newark": 0}}
    # Newark has lost its units to something else meanwhile.
    assert carried.seen_by(replace(asked, assignable={"A": {"newark": 1}})).assignable == {"A": {"reno": 2, "newark": 0}}
