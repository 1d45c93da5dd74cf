"""Where an order ships from: by example, and against every possible plan on small instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time
from itertools import combinations, product
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.routing.decide.calendar import add_business_days
from services.routing.decide.capacity import Slot
from services.routing.decide.geography import Place, is_offshore
from services.routing.decide.network import Location, Network
from services.routing.decide.options import Option
from services.routing.decide.planner import Planner
from services.routing.decide.plans import Plan, PlanRequest, Wanted
from services.routing.decide.splitting import cheapest_partition
from services.routing.decide.tariffs import (
    SCORE_PER_CENT,
    SERVICES,
    DimensionalWeight,
    Prices,
    Service,
    Tariffs,
    Way,
    Ways,
    billable_pounds,
)
from services.routing.postal_codes import find_place
from services.routing.tariff_files import SHIPPED_RATE_CARDS, load_tariffs

TARIFFS = load_tariffs(SHIPPED_RATE_CARDS, handling_cents=150)
(CARRIER,) = TARIFFS.carriers.values()
WEDNESDAY = datetime(2026, 3, 4, 16, 0, tzinfo=UTC)
"""Eleven in the morning in New York, eight in Reno."""
ZIPS = {"reno": "89506", "dallas": "75236", "columbus": "43217", "atlanta": "30336", "newark": "07114", "chicago": "60601"}
ZONES = {
    "reno": "America/Los_Angeles",
    "dallas": "America/Chicago",
    "chicago": "America/Chicago",
}


def place(postal_code: str) -> Place:
    found = find_place(postal_code, "US")
    assert found is not None
    return found


def a_location(code: str, **more: Any) -> Location:
    fields: dict[str, Any] = {
        "code": code,
        "name": code,
        "partner": "east",
        "place": place(ZIPS[code]),
        "time_zone": ZoneInfo(ZONES.get(code, "America/New_York")),
        "order_cutoff": time(15, 0),
        "hazmat_certified": False,
        "active": True,
    }
    return Location(**{**fields, **more})


def a_planner(*codes: str, tariffs: Tariffs = TARIFFS, **more: Any) -> Planner:
    return Planner(Network([a_location(code) for code in codes or ZIPS]), tariffs, **more)


def ways(zone: int, *services: Service) -> Ways:
    """By the only carrier."""
    return tuple(Way(CARRIER.name, service, zone, CARRIER.transit_days[service][zone]) for service in services or SERVICES)


def with_volume_billed(rule: DimensionalWeight) -> Tariffs:
    """The shipped cards, each with this dimensional weight."""
    cards = {service: replace(card, dimensional=rule) for service, card in CARRIER.cards.items()}
    return replace(TARIFFS, carriers={CARRIER.name: replace(CARRIER, cards=cards)})


def wanted(*units: int, grams: int = 400, hazmat: bool = False) -> list[Wanted]:
    return [Wanted(str(number), f"SKU-{number}", count, grams, hazmat) for number, count in enumerate(units, start=1)]


def request(lines: Sequence[Wanted], assignable: Mapping[str, Mapping[str, int]], to: str = "89501", **more: Any) -> PlanRequest:
    fields: dict[str, Any] = {
        "wanted": lines,
        "assignable": assignable,
        "destination": place(to),
        "service_level": "standard",
        "deliver_by": None,
        "promise_from": more.get("now", WEDNESDAY),
        "now": WEDNESDAY,
        "residential": True,
    }
    return PlanRequest(**{**fields, **more})


def taken(plan: Plan) -> dict[str, dict[str, int]]:
    """Units per location and line."""
    return {parcel.location.code: {line_id: count for line_id, _, count in parcel.units} for parcel in plan.parcels}


def everywhere(*skus: str, units: int = 9) -> dict[str, dict[str, int]]:
    return {sku: dict.fromkeys(ZIPS, units) for sku in skus}


def test_the_cheapest_location_ships_and_among_equals_the_nearest() -> None:
    plan = a_planner().plan(request(wanted(2), everywhere("SKU-1")))
    assert taken(plan) == {"reno": {"1": 2}}
    assert (plan.parcels[0].way.service, plan.parcels[0].way.zone) == ("ground", 2)
    near_both = a_planner("newark", "columbus").plan(request(wanted(1), everywhere("SKU-1"), to="16801"))
    zones = {
        reach.location.code: (reach.zone, reach.miles) for reach in a_planner("newark", "columbus").network.reach(place("16801"), TARIFFS)
    }
    assert zones["newark"][0] == zones["columbus"][0]
    assert taken(near_both) == {min(zones, key=lambda code: zones[code][1]): {"1": 1}}


def test_an_order_splits_only_when_it_must_or_when_that_is_cheaper() -> None:
    apart = {"SKU-1": {"reno": 9}, "SKU-2": {"newark": 9}}
    assert taken(a_planner().plan(request(wanted(1, 1), apart))) == {"reno": {"1": 1}, "newark": {"2": 1}}
    together = {"SKU-1": {"reno": 9, "newark": 9}, "SKU-2": {"newark": 9}}
    assert taken(a_planner().plan(request(wanted(1, 1), together))) == {"newark": {"1": 1, "2": 1}}
    heavy = [Wanted("1", "SKU-1", 1, 40_000, False), Wanted("2", "SKU-2", 1, 100, False)]
    assert taken(a_planner().plan(request(heavy, together))) == {"reno": {"1": 1}, "newark": {"2": 1}}, "88 pounds across the country"


def test_an_item_that_no_location_has_in_full_is_taken_from_the_fewest() -> None:
    plan = a_planner().plan(request(wanted(13), {"SKU-1": {"reno": 10, "newark": 5}}))
    assert taken(plan) == {"reno": {"1": 10}, "newark": {"1": 3}}
    three = {"SKU-1": {"reno": 3, "dallas": 3, "newark": 3}}
    assert len(a_planner().plan(request(wanted(5), three)).parcels) == 2
    assert len(a_planner().plan(request(wanted(9), three)).parcels) == 3
    assert taken(a_planner().plan(request(wanted(13), {"SKU-1": {"reno": 10, "newark": 15}}))) == {"newark": {"1": 13}}


def test_one_and_one_across_locations_fill_an_order_of_two() -> None:
    assert taken(a_planner().plan(request(wanted(2), {"SKU-1": {"reno": 1, "newark": 1}}))) == {"reno": {"1": 1}, "newark": {"1": 1}}


def test_the_same_sku_on_two_lines_is_counted_twice() -> None:
    lines = [Wanted("1", "SKU-1", 1, 400, False), Wanted("2", "SKU-1", 1, 400, False)]
    plan = a_planner().plan(request(lines, {"SKU-1": {"reno": 1, "newark": 1}}))
    assert taken(plan) == {"reno": {"1": 1}, "newark": {"2": 1}}
    assert taken(a_planner().plan(request(lines, {"SKU-1": {"reno": 1, "newark": 2}}))) == {"newark": {"1": 1, "2": 1}}


def test_what_no_location_has_is_left_or_leaves_all_when_the_order_must_stay_together() -> None:
    stock = {"SKU-1": {"reno": 1}}
    partly = a_planner().plan(request(wanted(2, 1), stock))
    assert (taken(partly), partly.unplaced) == ({"reno": {"1": 1}}, {"SKU-1": 1, "SKU-2": 1})
    whole = a_planner().plan(request(wanted(2, 1), stock, partly=False))
    assert (whole.parcels, whole.unplaced) == ((), {"SKU-1": 2, "SKU-2": 1})


def test_hazardous_goods_ship_only_from_certified_locations() -> None:
    planner = Planner(Network([a_location("reno"), a_location("newark", hazmat_certified=True)]), TARIFFS)
    plan = planner.plan(request(wanted(1, hazmat=True), everywhere("SKU-1")))
    assert taken(plan) == {"newark": {"1": 1}}
    assert plan.record["excluded"] == [["reno", 2, plan.record["excluded"][0][2], "not certified for hazmat"]]
    mixed = [Wanted("1", "SKU-1", 1, 400, True), Wanted("2", "SKU-2", 1, 400, False)]
    apart = {"SKU-1": {"reno": 9, "newark": 9}, "SKU-2": {"reno": 9}}
    assert taken(planner.plan(request(mixed, apart))) == {"reno": {"2": 1}, "newark": {"1": 1}}


def test_inactive_and_excluded_locations_are_not_asked() -> None:
    planner = Planner(Network([a_location("reno", active=False), a_location("dallas"), a_location("newark")]), TARIFFS)
    plan = planner.plan(request(wanted(1), everywhere("SKU-1"), excluded=frozenset({"dallas"})))
    assert taken(plan) == {"newark": {"1": 1}}
    assert [(entry[0], entry[3]) for entry in plan.record["excluded"]] == [("reno", "inactive"), ("dallas", "excluded for this order")]


def test_two_day_ground_beats_two_day_air_where_it_arrives_in_time() -> None:
    near = a_planner("reno").plan(request(wanted(1), everywhere("SKU-1"), to="90001", service_level="two_day"))
    assert (near.parcels[0].way.service, near.parcels[0].arrives_on, near.late) == ("ground", date(2026, 3, 6), False)
    far = a_planner("reno").plan(request(wanted(1), everywhere("SKU-1"), to="10001", service_level="two_day"))
    assert (far.parcels[0].way.service, far.parcels[0].arrives_on) == ("two_day", date(2026, 3, 6))


def test_a_farther_location_ships_when_the_near_one_has_closed_for_the_day() -> None:
    evening = datetime(2026, 3, 4, 19, 30, tzinfo=UTC)
    planner = Planner(Network([a_location("newark", order_cutoff=time(14, 0)), a_location("reno")]), TARIFFS)
    stock = everywhere("SKU-1")
    calm = planner.plan(request(wanted(1), stock, to="10001", now=evening))
    assert taken(calm) == {"newark": {"1": 1}}, "nothing was promised, so cheap and near is best"
    hurried = planner.plan(request(wanted(1), stock, to="10001", now=evening, service_level="next_day"))
    assert (taken(hurried), hurried.parcels[0].way.service) == ({"reno": {"1": 1}}, "next_day")
    assert hurried.parcels[0].arrives_on == date(2026, 3, 5)


def test_a_farther_location_ships_when_the_near_one_rests() -> None:
    wednesday = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)
    for rest in ({"holidays": {date(2026, 3, 4)}}, {"working_days": {1, 2, 4, 5}}):
        planner = Planner(Network([a_location("newark", **rest), a_location("reno")]), TARIFFS)
        hurried = planner.plan(request(wanted(1), everywhere("SKU-1"), to="10001", now=wednesday, service_level="next_day"))
        assert taken(hurried) == {"reno": {"1": 1}}


def test_a_date_the_customer_was_told_wins_over_the_service_level() -> None:
    friday = datetime(2026, 3, 6, 20, 0, tzinfo=UTC)
    plan = a_planner("reno").plan(request(wanted(1), everywhere("SKU-1"), to="10001", deliver_by=friday))
    assert (plan.parcels[0].way.service, plan.late) == ("two_day", False)


def test_when_no_plan_keeps_the_promise_the_earliest_one_is_chosen_at_its_least_cost() -> None:
    yesterday = datetime(2026, 3, 3, 20, 0, tzinfo=UTC)
    plan = a_planner("reno", "newark").plan(request(wanted(1), everywhere("SKU-1"), to="10001", deliver_by=yesterday))
    assert (taken(plan), plan.parcels[0].arrives_on, plan.late) == ({"newark": {"1": 1}}, date(2026, 3, 5), True)
    assert plan.parcels[0].way.service == "ground", "next to the customer ground is as early as air"


def test_closest_ships_from_the_nearest_location_even_where_another_is_cheaper() -> None:
    lines = [Wanted("1", "SKU-1", 1, 400, False), Wanted("2", "SKU-2", 1, 400, False)]
    stock = {"SKU-1": {"chicago": 9, "columbus": 9}, "SKU-2": {"chicago": 9, "columbus": 9}}
    plan = a_planner("chicago", "columbus", objective="closest").plan(request(lines, stock, to="46201"))
    miles = {reach.location.code: reach.miles for reach in a_planner("chicago", "columbus").network.reach(place("46201"), TARIFFS)}
    assert list(taken(plan)) == [min(miles, key=lambda code: miles[code])]


def test_ship_by_is_the_end_of_the_business_day_at_the_location() -> None:
    friday_evening = datetime(2026, 3, 6, 23, 30, tzinfo=UTC)
    plan = a_planner("newark").plan(request(wanted(1), everywhere("SKU-1"), to="10001", now=friday_evening))
    assert plan.parcels[0].ship_by == datetime(2026, 3, 10, 3, 59, 59, tzinfo=UTC), "Monday, in daylight saving time"
    assert plan.parcels[0].arrives_on == date(2026, 3, 10)


def test_goods_beyond_one_parcels_limit_go_as_several() -> None:
    plan = a_planner("reno").plan(request(wanted(4, grams=40_000), everywhere("SKU-1")))
    assert billable_pounds(160_000) == 353
    full, rest = CARRIER.cards["ground"].price_cents(2, 150, residential=True), CARRIER.cards["ground"].price_cents(2, 53, residential=True)
    assert full is not None
    assert rest is not None
    assert (plan.parcels[0].parcels, plan.parcels[0].carrier_cents) == (3, 2 * full + rest)


def test_a_record_names_every_location_with_its_cost_or_the_reason_against_it() -> None:
    plan = a_planner("reno", "newark", "dallas").plan(request(wanted(2, 1), {"SKU-1": {"reno": 9, "newark": 9}, "SKU-2": {"reno": 9}}))
    rows = {entry[0]: entry[3] for entry in plan.record["candidates"] + plan.record["excluded"]}
    assert rows == {"reno": plan.cost_cents, "newark": "has only a part", "dallas": "no stock"}
    assert plan.record["wanted"] == {"SKU-1": 2, "SKU-2": 1}
    assert plan.record["area"] == "895", "where the customer lives is told to three digits"


class TestServices:
    """Reno has ground only, which is too slow for the east coast in two days."""

    NETWORK = Network([a_location("reno", services=("ground",)), a_location("dallas"), a_location("newark", services=("next_day",))])

    def test_a_location_without_a_service_in_time_leaves_the_order_to_others_and_the_record_says_why(self) -> None:
        asked = request(wanted(1), {"SKU-1": {"reno": 9, "dallas": 9}}, to="10001", service_level="two_day")
        plan = Planner(self.NETWORK, TARIFFS).plan(asked)
        assert [(parcel.location.code, parcel.way.service, plan.late) for parcel in plan.parcels] == [("dallas", "two_day", False)]
        assert [row[3] for row in plan.record["candidates"] if row[0] == "reno"] == ["too late: offers only ground"]
        assert a_planner("reno").plan(asked).parcels[0].way.service == "two_day", "it would be in time by what does not pick up there"
        nobody = replace(asked, deliver_by=WEDNESDAY)
        last = Planner(self.NETWORK, TARIFFS).plan(nobody)
        assert [row[3] for row in last.record["candidates"] if row[0] == "reno"] == ["too late: offers only ground"]
        full = replace(asked, slots={"reno": Slot(date(2026, 3, 9), None, 3, 0, None)})
        rows = Planner(self.NETWORK, TARIFFS).plan(full).record["candidates"]
        assert [row[3] for row in rows if row[0] == "reno"] == ["too late"], "the day is gone by any service, with a slot or without"

    def test_where_nothing_else_has_it_it_ships_late_by_what_there_is(self) -> None:
        plan = Planner(self.NETWORK, TARIFFS).plan(request(wanted(1), {"SKU-1": {"reno": 9}}, to="10001", service_level="next_day"))
        days = CARRIER.transit_days["ground"][plan.parcels[0].way.zone]
        assert (plan.late, plan.parcels[0].way.service) == (True, "ground")
        assert plan.parcels[0].arrives_on == add_business_days(date(2026, 3, 4), days)

    def test_a_parcel_without_a_promise_costs_what_the_services_of_its_location_cost(self) -> None:
        asked = request(wanted(1), {"SKU-1": {"newark": 9, "dallas": 9}}, to="10001")
        assert taken(a_planner().plan(asked)) == {"newark": {"1": 1}}
        plan = Planner(self.NETWORK, TARIFFS).plan(asked)
        assert [(parcel.location.code, parcel.way.service) for parcel in plan.parcels] == [("dallas", "ground")]
        alone = Planner(self.NETWORK, TARIFFS).plan(replace(asked, excluded=frozenset({"dallas"}))).parcels[0]
        assert alone.way.service == "next_day"
        assert alone.carrier_cents == CARRIER.cards["next_day"].price_cents(alone.way.zone, 1, residential=True)
        in_one_zone = Network([a_location("newark", services=("next_day",)), a_location("columbus")])
        assert len({reach.zone for reach in in_one_zone.reach(place("16801"), TARIFFS)}) == 1
        plan = Planner(in_one_zone, TARIFFS).plan(request(wanted(1), everywhere("SKU-1"), to="16801"))
        assert [(parcel.location.code, parcel.way.service) for parcel in plan.parcels] == [("columbus", "ground")]


def test_an_order_of_a_hundred_lines_is_planned_whole() -> None:
    lines = wanted(*[1] * 100)
    codes = list(ZIPS)
    stock = {f"SKU-{number}": {code: 5 for index, code in enumerate(codes) if (number + index) % 3} for number in range(1, 101)}
    plan = a_planner().plan(request(lines, stock))
    assert sum(count for _, per_line in taken(plan).items() for count in per_line.values()) == 100
    assert len(plan.parcels) == 2


def test_stock_so_scattered_that_three_locations_do_not_have_it_is_still_planned() -> None:
    codes = list(ZIPS)
    lines = wanted(*[1] * 12)
    stock = {f"SKU-{number}": {codes[number % 6]: 5, codes[(number + number // 6 + 1) % 6]: 5} for number in range(1, 13)}
    plan = a_planner().plan(request(lines, stock))
    assert sorted(line for per_line in taken(plan).values() for line in per_line) == sorted(entry.line_id for entry in lines)


FEWER_SERVICES = [some for count in (1, 2) for some in combinations(SERVICES, count)]
instances = st.fixed_dictionaries(
    {
        "units": st.lists(st.integers(1, 4), min_size=1, max_size=4),
        "grams": st.lists(st.integers(50, 30_000), min_size=4, max_size=4),
        "stock": st.lists(st.lists(st.sampled_from([0, 0, 1, 2, 5, 9]), min_size=4, max_size=4), min_size=4, max_size=4),
        "to": st.sampled_from(["89501", "10001", "60601", "33101", "99501", "78701"]),
        "service_level": st.sampled_from(["standard", "two_day", "next_day"]),
        "full_days": st.lists(st.sampled_from([0, 0, 1, 2, 3]), min_size=4, max_size=4),
        "services": st.lists(st.sampled_from([SERVICES, SERVICES, *FEWER_SERVICES]), min_size=4, max_size=4),
    }
)
CODES = ["reno", "dallas", "columbus", "newark"]


def as_request(instance: dict[str, Any]) -> PlanRequest:
    lines = [Wanted(str(index), f"SKU-{index}", count, instance["grams"][index], False) for index, count in enumerate(instance["units"])]
    stock = {f"SKU-{index}": dict(zip(CODES, instance["stock"][index], strict=True)) for index in range(len(lines))}
    full = {code: days for code, days in zip(CODES, instance["full_days"], strict=True) if days}
    if instance["service_level"] == "standard":
        full = dict.fromkeys(full, 1)  # beyond a day an order without a promise is not sent the cheapest way
    slots = {code: Slot(date(2026, 3, [4, 5, 6, 9][days]), None, days, 0, None) for code, days in full.items()}
    return request(lines, stock, to=instance["to"], service_level=instance["service_level"], slots=slots)


@given(instances)
@settings(max_examples=150, deadline=None)
def test_a_plan_covers_exactly_what_is_wanted_and_there_and_never_more_than_is_assignable(instance: dict[str, Any]) -> None:
    asked = as_request(instance)
    plan = a_planner(*CODES).plan(asked)
    planned: dict[str, int] = {}
    for code, per_line in taken(plan).items():
        for line_id, count in per_line.items():
            assert 0 < count <= asked.assignable[f"SKU-{line_id}"][code]
            planned[line_id] = planned.get(line_id, 0) + count
    for entry in asked.wanted:
        there = sum(asked.assignable[entry.sku].values())
        assert planned.get(entry.line_id, 0) == min(entry.units, there)
        assert plan.unplaced.get(entry.sku, 0) == max(0, entry.units - there)
        locations = [code for code, per_line in taken(plan).items() if entry.line_id in per_line]
        in_full = any(count >= entry.units and code not in asked.slots for code, count in asked.assignable[entry.sku].items())
        assert len(locations) <= 1 or not in_full, "an item that a location has in full, and can ship in time, is never divided"


def cost_of(planner: Planner, asked: PlanRequest, units: Mapping[str, Mapping[str, int]], limit: date | None) -> int | None:
    """What a distribution costs when every parcel arrives by the limit, worked out parcel by parcel; None when one can not."""
    grams = {entry.sku: entry.unit_weight_grams for entry in asked.wanted}
    total = 0
    for reach in planner.network.reach(asked.destination, planner.tariffs):
        load = sum(grams[sku] * count for sku, count in units.get(reach.location.code, {}).items())
        if not load:
            continue
        slot = asked.slots.get(reach.location.code)
        dispatched = planner.network.dispatch(reach.index, asked.now).day if slot is None else slot.day
        prices = []
        for service in reach.location.services:
            arrival = dispatched
            at_sea = CARRIER.offshore_days[service] if is_offshore(reach.location.place, asked.destination) else 0
            for _ in range(CARRIER.transit_days[service][reach.zone] + at_sea):
                arrival = date.fromordinal(arrival.toordinal() + {4: 3, 5: 2}.get(arrival.weekday(), 1))
            card = CARRIER.cards[service]
            full, rest = divmod(billable_pounds(load), 150)
            parcels = [150] * full + [rest] * (rest > 0)
            costs = [card.price_cents(reach.zone, pounds, residential=asked.residential) for pounds in parcels]
            if limit is None or arrival <= limit:
                prices.append(sum(cost for cost in costs if cost is not None) + planner.tariffs.handling_cents * len(parcels))
        if not prices:
            return None
        total += min(prices)
    return total


@given(instances)
@settings(max_examples=150, deadline=None)
def test_a_plan_is_the_cheapest_of_all_plans_on_small_orders(instance: dict[str, Any]) -> None:
    instance["stock"] = [[9 if units > 1 else 0 for units in row] for row in instance["stock"]]
    asked = as_request(instance)
    planner = Planner(Network([a_location(code, services=own) for code, own in zip(CODES, instance["services"], strict=True)]), TARIFFS)
    plan = planner.plan(asked)
    assert all(parcel.way.service in parcel.location.services for parcel in plan.parcels)
    homes = [[code for code in CODES if asked.assignable[entry.sku][code]] for entry in asked.wanted]
    entries = [(entry, own) for entry, own in zip(asked.wanted, homes, strict=True) if own]
    limit = None if plan.record["arrive_by"] is None else date.fromisoformat(plan.record["arrive_by"])
    costs = []
    for choice in product(*(own for _, own in entries)):
        units: dict[str, dict[str, int]] = {}
        for (entry, _), code in zip(entries, choice, strict=True):
            units.setdefault(code, {})[entry.sku] = entry.units
        costs.append(cost_of(planner, asked, units, limit))
    feasible = [cost for cost in costs if cost is not None]
    if not entries:
        assert plan.parcels == ()
        return
    assert plan.cost_cents == min(feasible)


@given(
    st.integers(2, 12),
    st.lists(st.integers(0, 9), min_size=4, max_size=4),
    st.integers(100, 20_000),
    st.sampled_from(["89501", "10001"]),
)
@settings(max_examples=100, deadline=None)
def test_a_divided_item_takes_the_cheapest_of_all_ways_to_divide_it(count: int, stock: list[int], grams: int, to: str) -> None:
    asked = request([Wanted("1", "SKU-1", count, grams, False)], {"SKU-1": dict(zip(CODES, stock, strict=True))}, to=to)
    planner = a_planner(*CODES)
    plan = planner.plan(asked)
    if sum(stock) < count or max(stock) >= count:
        return
    costs = [
        cost_of(planner, asked, {code: {"SKU-1": part} for code, part in zip(CODES, split, strict=True)}, None)
        for split in product(*(range(have + 1) for have in stock))
        if sum(split) == count
    ]
    assert plan.cost_cents == min(cost for cost in costs if cost is not None)


@given(
    st.lists(st.integers(100, 9_000), min_size=7, max_size=9),
    st.lists(st.integers(1, 7), min_size=9, max_size=9),
    st.permutations([2, 4, 7]),
)
@settings(max_examples=60, deadline=None)
def test_orders_beyond_the_usual_size_lose_nothing_of_the_optimum(weights: list[int], having: list[int], zones: list[int]) -> None:
    """Against every assignment."""

    pounds = [-(-weight // 454) for weight in weights]
    grams = [count * 453 for count in pounds]
    options = []
    for index, zone in enumerate(zones):
        whole = sum(1 << item for item in range(len(weights)) if having[item] >> index & 1)
        options.append(Option(whole, Prices([[(500 + zone + 10 * zone * pound) * SCORE_PER_CENT + 1 for pound in range(1, 200)]])))
    found = cheapest_partition(options, grams)
    best: int | None = None
    for choice in product(range(3), repeat=len(weights)):
        if all(options[sender].whole >> item & 1 for item, sender in enumerate(choice)):
            loads = [sum(grams[item] for item, sender in enumerate(choice) if sender == index) for index in range(3)]
            score = sum(option.score(load) for option, load in zip(options, loads, strict=True) if load)
            best = score if best is None else min(best, score)
    assert best is not None
    assert found is not None
    assert found.score == best


def test_the_same_question_always_gets_the_same_answer() -> None:
    asked = request(wanted(2, 3, 1), everywhere("SKU-1", "SKU-2", "SKU-3"), to="60601", service_level="two_day")
    warm = a_planner()
    warm.plan(replace(asked, destination=place("10001")))
    assert warm.plan(asked) == a_planner().plan(asked) == warm.plan(asked)


@pytest.mark.parametrize("bad", [{}, {"SKU-1": {}}, {"SKU-1": {"nowhere": 5}}])
def test_stock_at_no_known_location_makes_no_plan_but_a_record(bad: dict[str, dict[str, int]]) -> None:
    plan = a_planner("reno").plan(request(wanted(1), bad))
    assert (plan.parcels, plan.unplaced) == ((), {"SKU-1": 1})
    assert plan.record["excluded"][0][3] == "no stock"
