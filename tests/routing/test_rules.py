"""Routing rules: what is refused when they are saved, what each action does, what holds whatever the rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import services.routing
from services.routing.decide.explaining import in_words as told
from services.routing.decide.guidance import OrderFacts
from services.routing.decide.network import Network
from services.routing.decide.planner import Planner
from services.routing.decide.plans import Plan
from services.routing.decide.publishing import differences, in_words
from services.routing.decide.rules import check_rules, read_rules
from shared.contracts.routing_rules import RoutingRule
from tests.routing.test_planner import TARIFFS, ZIPS, a_location, everywhere, request, taken, wanted

MIGRATION = Path(services.routing.__file__).parent / "migrations" / "0007_routing_rules.sql"
EXAMPLE = tuple(RoutingRule.model_validate(rule) for rule in json.loads(MIGRATION.read_text().split("$rules$")[1])["rules"])
"""The draft that ships."""

NO_ANSWER = "100 / (order.units - order.units) > 0"


def a_rule(action: str, name: str = "a rule", **more: Any) -> RoutingRule:
    return RoutingRule.model_validate({"name": name, "why": "because", "action": action, **more})


def an_order(units: int = 2, segment: str = "dtc", **more: Any) -> OrderFacts:
    fields: dict[str, Any] = {
        "channel": "shop",
        "segment": segment,
        "service_level": "standard",
        "country": "US",
        "units": units,
        "lines": 1,
        "skus": ("SKU-1",),
        "weight_grams": units * 400,
        "value_cents": units * 1_000,
        "currency": "USD",
        "hazmat": False,
    }
    return OrderFacts(**{**fields, **more})


def a_desk(*rules: RoutingRule, **locations: dict[str, Any]) -> Planner:
    """A planner over all test locations, some of them with facts of their own."""
    network = Network([a_location(code, **locations.get(code, {})) for code in ZIPS])
    return Planner(network, TARIFFS, rules=read_rules(7, rules))


def plan_of(planner: Planner, lines: Any, stock: Any, order: OrderFacts | None = None, **more: Any) -> Plan:
    return planner.plan(request(lines, stock, order=order or an_order(), **more))


def exclusions(plan: Plan) -> dict[str, str]:
    return {row[0]: row[3] for row in plan.record["excluded"]}


@pytest.mark.parametrize(
    ("rule", "field", "words", "way_out"),
    [
        ({"action": "hold", "when": "order.unitz > 5"}, "when", "undeclared reference to 'order.unitz'", "did you mean order.units?"),
        ({"action": "hold", "when": 'order.units > "5"'}, "when", "no matching overload", "docs/decisions"),
        ({"action": "hold", "when": "order.units"}, "when", "not true or false", "compare something"),
        ({"action": "hold", "when": "order."}, "when", "at character 7: Syntax error", "docs/decisions"),
        ({"action": "hold", "when": "item.hazmat"}, "when", "undeclared reference to 'item", "fields of order conditions"),
        ({"action": "hold", "items": "location.zone > 2"}, "items", "undeclared reference", "fields of item conditions"),
        ({"action": "hold", "when": "(" * 13 + "true" + ")" * 13}, "when", "nested more than 12 deep", "several rules"),
        (
            {"action": "hold", "when": "order.skus.exists(a, order.skus.all(b, a == b))"},
            "when",
            "2 loops (all, exists), at most 1",
            "several rules",
        ),
        ({"action": "hold", "when": 'order.skus.exists(a, a.matches(r"\\")) // "'}, "when", "prefix r", "double each backslash"),
        ({"action": "require"}, "locations", "is missing: require is about locations", "add locations"),
        ({"action": "forbid", "ranking": ["reno"], "locations": "true"}, "ranking", "stands beside locations", "one of them"),
        ({"action": "pin", "ranking": ["reno", "atlantis"]}, "ranking", "'atlantis' is no location", "register the location"),
        ({"action": "drain", "ranking": ["reno", "reno"]}, "ranking", "'reno' stands there twice", "once"),
        ({"action": "drain", "locations": "true"}, "ranking", "is missing", "add ranking"),
        ({"action": "weight", "locations": "true"}, "cents", "is missing", "add the cents"),
        ({"action": "split"}, "split", "is missing", "add split"),
        ({"action": "objective"}, "objective", "is missing", "add objective"),
        ({"action": "pack"}, "instructions", "is missing", "add instructions"),
        ({"action": "hold", "cents": 5}, "cents", "means nothing for hold", "leave cents out"),
        (
            {"action": "forbid", "locations": 'location.name.matches("(Reno|Dallas")'},
            "locations",
            "can never be evaluated: invalid regular expression: missing ): (Reno|Dallas",
            "would be skipped",
        ),
        ({"action": "hold", "when": "order.value_cents / 0 > 1"}, "when", "can never be evaluated: divide by zero", "would be skipped"),
        ({"action": "hold", "items": "item.units % 0 == 1"}, "items", "can never be evaluated: modulus by zero", "would be skipped"),
        ({"action": "hold", "when": '{"a": 1}["b"] == 1'}, "when", "can never be evaluated: Key not found", "would be skipped"),
        ({"action": "hold", "when": NO_ANSWER}, "when", "can never be evaluated: divide by zero", "would be skipped"),
    ],
)
def test_a_fault_is_named_by_rule_and_field_with_the_way_out(rule: dict[str, Any], field: str, words: str, way_out: str) -> None:
    problems = check_rules([a_rule("hold", "fine"), a_rule(name="wrong", **rule)], set(ZIPS))
    found = [problem for problem in problems if problem.field == f"rules.1.{field}"]
    assert found, problems
    assert found[0].problem.startswith("rule 'wrong': ")
    assert words in found[0].problem
    assert way_out in found[0].remedy


def test_every_fault_of_a_set_is_told_at_once_and_a_good_set_has_none() -> None:
    faults = check_rules([a_rule("hold", "same"), a_rule("hold", "same", when="x"), a_rule("pack", "third")], set(ZIPS))
    assert [fault.field for fault in faults] == ["rules.1.name", "rules.1.when", "rules.2.instructions"]
    assert check_rules(EXAMPLE, set()) == []
    assert check_rules([a_rule("hold", when='order.channel == ".all( .all( .all(" // .all( .all(')], set()) == [], "texts are no loops"


@pytest.mark.parametrize(
    "when",
    [
        "100 / (order.units - 3) > 1",
        "100 / (order.units == 5 ? 1 : 0) > 1",
        "100 / (order.weight_grams / 40000) > 1",
        'order.skus[150] == "SKU-1"',
        "int(order.postal_code) > 90000",
        '{"NV": 1, "CA": 2}[order.state] == {"web": 1, "b2b": 2}[order.channel]',
        'order.channel == "b2b" && order.units / (order.lines - 1) > 5',
    ],
)
def test_what_fails_only_for_some_orders_may_be_saved(when: str) -> None:
    assert check_rules([a_rule("hold", when=when)], set()) == []


def test_a_condition_that_fails_at_a_location_whatever_the_order_names_it() -> None:
    network = [a_location("reno"), a_location("dallas", capabilities=frozenset({"glass"}))]
    first = a_rule("forbid", locations='location.capabilities[0] == "glass"')
    [fault] = check_rules([first], set(), network)
    assert (fault.field, "at location 'reno', Index error" in fault.problem) == ("rules.0.locations", True)
    assert check_rules([first], set(), network[1:]) == check_rules([first], set()) == []
    assert check_rules([first], set(), [a_location("reno", active=False)]) == [], "no order is asked about it"
    by_distance = a_rule("forbid", locations="100 / (location.zone - 5) > 0")
    assert check_rules([by_distance], set(), network) == []


def test_forbid_beats_require_and_what_is_left_of_nothing_names_the_rule_at_every_location() -> None:
    require = a_rule("require", "only coasts", ranking=["reno", "newark"])
    forbid = a_rule("forbid", "not reno", locations='location.code == "reno"')
    stock = everywhere("SKU-1")
    for rules in ((require, forbid), (forbid, require)):
        plan = plan_of(a_desk(*rules), wanted(2), stock)
        assert taken(plan) == {"newark": {"1": 2}}
        assert exclusions(plan)["dallas"] == "excluded by rule 'only coasts'"
        assert exclusions(plan)["reno"] == "excluded by rule 'not reno'"
    nowhere = plan_of(a_desk(require, a_rule("forbid", "nor there", ranking=["reno", "newark"])), wanted(2), stock)
    assert nowhere.parcels == ()
    assert nowhere.unplaced == {"SKU-1": 2}
    assert set(exclusions(nowhere)) == set(ZIPS)
    assert all("rule '" in reason for reason in exclusions(nowhere).values())


@pytest.mark.parametrize("far", ["location.zone > 4", "location.miles > 1200", "location.ground_days > 3"])
def test_a_condition_about_distance_is_true_of_the_destination_that_it_is_asked_for(far: str) -> None:
    forbid, same_words = a_rule("forbid", "not far", locations=far), a_rule("forbid", "not far either", locations=far)
    planner = a_desk(forbid, same_words)
    for destination, others in (("89501", "newark"), ("10001", "reno"), ("89501", "newark")):
        plan = plan_of(planner, wanted(1), {"SKU-1": {"reno": 9, "newark": 9}}, to=destination)
        assert exclusions(plan)[others] == "excluded by rule 'not far'"
        assert len(plan.parcels) == 1


def test_where_ground_does_not_pick_up_its_days_are_those_of_the_next_service() -> None:
    forbid = a_rule("forbid", "fresh", locations="location.ground_days > 3")
    planner = a_desk(forbid, newark={"services": ("next_day",)})
    plan = plan_of(planner, wanted(1), {"SKU-1": {"newark": 9, "columbus": 9}}, to="89501")
    assert [(parcel.location.code, parcel.way.service) for parcel in plan.parcels] == [("newark", "next_day")]
    assert exclusions(plan)["columbus"] == "excluded by rule 'fresh'"


def test_a_rule_about_items_binds_those_and_no_others() -> None:
    rule = a_rule("require", "glass", items='item.sku == "SKU-2"', locations='"glass" in location.capabilities')
    planner = a_desk(rule, newark={"capabilities": frozenset({"glass"})})
    plan = plan_of(planner, wanted(1, 1), {"SKU-1": {"reno": 9}, "SKU-2": {"reno": 9, "newark": 9}})
    assert taken(plan) == {"reno": {"1": 1}, "newark": {"2": 1}}
    assert ["reno", "SKU-2", "excluded by rule 'glass'"] in plan.record["rules"]["kept_out"]


def test_the_first_pin_whose_location_has_the_item_in_full_wins_and_without_stock_there_it_says_nothing() -> None:
    pins = (a_rule("pin", "first", ranking=["newark", "dallas"]), a_rule("pin", "second", ranking=["atlanta"]))
    assert taken(plan_of(a_desk(*pins), wanted(2), everywhere("SKU-1"))) == {"newark": {"1": 2}}
    overrides = {"SKU-1": {"newark": 1, "dallas": 2, "atlanta": 9, "reno": 9}}
    plan = plan_of(a_desk(*pins), wanted(2), overrides)
    assert taken(plan) == {"dallas": {"1": 2}}
    assert plan.record["rules"]["pinned"] == {"SKU-1": "first"}
    assert exclusions(plan)["reno"] == "pinned elsewhere by rule 'first'"
    assert taken(plan_of(a_desk(*pins), wanted(2), {"SKU-1": {"newark": 1, "atlanta": 9, "reno": 9}})) == {"atlanta": {"1": 2}}
    assert taken(plan_of(a_desk(*pins), wanted(2), {"SKU-1": {"newark": 1, "reno": 9}})) == {"reno": {"1": 2}}


def test_a_drain_empties_locations_in_its_order_although_another_has_it_all() -> None:
    drain = a_rule("drain", ranking=["newark", "dallas"])
    assert taken(plan_of(a_desk(drain), wanted(5), {"SKU-1": {"newark": 3, "dallas": 1, "reno": 9}})) == {
        "newark": {"1": 3},
        "dallas": {"1": 1},
        "reno": {"1": 1},
    }
    assert taken(plan_of(a_desk(drain), wanted(3), {"SKU-1": {"newark": 3, "reno": 9}})) == {"newark": {"1": 3}}


def test_what_is_preferred_comes_before_cost_but_never_makes_two_parcels_of_one() -> None:
    prefer = a_rule("prefer", ranking=["newark", "dallas"])
    assert taken(plan_of(a_desk(prefer), wanted(2), everywhere("SKU-1"))) == {"newark": {"1": 2}}
    assert taken(plan_of(a_desk(prefer), wanted(2), {"SKU-1": {"dallas": 9, "reno": 9}})) == {"dallas": {"1": 2}}
    apart = {"SKU-1": {"newark": 9, "reno": 9}, "SKU-2": {"dallas": 9, "reno": 9}}
    assert taken(plan_of(a_desk(prefer), wanted(1, 1), apart)) == {"reno": {"1": 1, "2": 1}}


@pytest.mark.parametrize("objective", ["cheapest", "closest"])
def test_three_parcels_from_preferred_locations_are_still_one_more_than_two_from_the_worst(objective: str) -> None:
    first = a_rule("prefer", "first", locations='location.code in ["dallas", "columbus", "newark"]')
    second = a_rule("prefer", "second", ranking=["chicago"])
    rules = (first, second, a_rule("objective", "goal", objective=objective))
    stock = {
        "SKU-1": {"dallas": 9, "reno": 9, "chicago": 9},
        "SKU-2": {"columbus": 9, "reno": 9},
        "SKU-3": {"columbus": 9, "atlanta": 9},
        "SKU-4": {"newark": 9, "atlanta": 9},
    }
    plan = plan_of(a_desk(*rules), wanted(1, 1, 1, 1), stock)
    assert plan.record["rules"]["ranks"] == {"dallas": 0, "columbus": 0, "newark": 0, "chicago": 1, "reno": 2, "atlanta": 2}
    assert taken(plan) == {"reno": {"1": 1, "2": 1}, "atlanta": {"3": 1, "4": 1}}


def test_a_weight_moves_a_parcel_by_its_cents_and_the_cost_on_record_stays_the_cost() -> None:
    stock = {"SKU-1": {"reno": 9, "newark": 9}}
    usual = plan_of(a_desk(), wanted(2), stock)
    dearer = plan_of(a_desk(a_rule("weight", ranking=["reno"], cents=100_000)), wanted(2), stock)
    assert (taken(usual), taken(dearer)) == ({"reno": {"1": 2}}, {"newark": {"1": 2}})
    assert dearer.cost_cents < 100_000
    slightly = plan_of(a_desk(a_rule("weight", ranking=["reno"], cents=1)), wanted(2), stock)
    assert (taken(slightly), slightly.cost_cents) == (taken(usual), usual.cost_cents)


def test_never_to_split_waits_for_one_location_and_to_avoid_it_does_not() -> None:
    apart = {"SKU-1": {"reno": 9}, "SKU-2": {"newark": 9}}
    never = plan_of(a_desk(a_rule("split", "together", split="never")), wanted(1, 1), apart)
    assert never.parcels == ()
    assert exclusions(never)["reno"] == "has only a part, excluded by rule 'together'"
    avoid = a_desk(a_rule("split", split="avoid"))
    assert len(plan_of(avoid, wanted(1, 1), apart).parcels) == 2
    heavy = [line._replace(unit_weight_grams=40_000) for line in wanted(1, 1)]
    stock = {"SKU-1": {"reno": 9, "newark": 9}, "SKU-2": {"newark": 9}}
    assert len(plan_of(a_desk(), heavy, stock, to="89501").parcels) == 2, "cheaper apart"
    assert taken(plan_of(avoid, heavy, stock)) == {"newark": {"1": 1, "2": 1}}


def test_objective_hold_and_pack_concern_the_orders_that_they_name() -> None:
    fastest = a_rule("objective", "fast", segments=["wholesale"], objective="fastest")
    hold = a_rule("hold", "look", when="order.value_cents >= 50000")
    pack = a_rule("pack", "label", channels=["store"], instructions=["two labels"])
    planner = a_desk(fastest, hold, pack)
    usual = plan_of(planner, wanted(2), {"SKU-1": {"newark": 9}})
    quick = plan_of(planner, wanted(2), {"SKU-1": {"newark": 9}}, an_order(segment="wholesale", channel="store"))
    assert quick.parcels[0].arrives_on < usual.parcels[0].arrives_on
    assert (usual.record["objective"], quick.record["objective"]) == ("cheapest", "fastest")
    assert (usual.instructions, quick.instructions) == ((), ("two labels",))
    dear = an_order(value_cents=50_000)
    held = plan_of(planner, wanted(2), everywhere("SKU-1"), dear)
    assert (held.held, held.parcels, held.record["rules"]["held_by"]) == (("look", "because"), (), "look")
    assert told(held, None) == "Held by rule 'look': because"
    prices = {row[0]: row[3] for row in plan_of(a_desk(), wanted(2), everywhere("SKU-1")).record["candidates"]}
    assert {row[0]: row[3] for row in held.record["candidates"]} == prices, "it could ship whole from anywhere"
    lifted = plan_of(planner, wanted(2), everywhere("SKU-1"), an_order(value_cents=50_000, holds_lifted=True))
    assert (lifted.held, len(lifted.parcels)) == (None, 1)


def test_a_rule_without_an_answer_is_skipped_and_the_record_says_so() -> None:
    broken = a_rule("forbid", "divides by nothing", when=NO_ANSWER, locations="true")
    plan = plan_of(a_desk(broken, a_rule("pin", "after it", ranking=["newark"])), wanted(2), everywhere("SKU-1"))
    assert taken(plan) == {"newark": {"1": 2}}
    assert plan.record["rules"]["fired"] == ["after it"]
    [(name, why)] = plan.record["rules"]["skipped"]
    assert (name, "zero" in why) == ("divides by nothing", True)
    assert told(plan, None).endswith("; rule 'divides by nothing' could not be evaluated: divide by zero")
    outdated = a_rule("forbid", "asks for what is gone", when="order.gone", locations="true")
    assert plan_of(a_desk(outdated), wanted(2), everywhere("SKU-1")).record["rules"]["skipped"][0][0] == "asks for what is gone"


class TestTheExampleSet:
    """The decision tree that ships: two-day ground zone, out-of-stock override, wholesale to the bulk centre, certified hazmat."""

    planner = a_desk(*EXAMPLE, columbus={"capabilities": frozenset({"bulk"})}, dallas={"hazmat_certified": True})

    def test_consumers_are_served_from_the_two_day_ground_zone_and_from_elsewhere_when_that_is_out_of_stock(self) -> None:
        stock = {"SKU-1": {"reno": 9, "newark": 9}}
        near = plan_of(self.planner, wanted(2), stock, to="94103")
        assert taken(near) == {"reno": {"1": 2}}
        assert near.record["rules"]["ranks"] == {"reno": 0, "newark": 1}
        assert taken(plan_of(self.planner, wanted(2), {"SKU-1": {"newark": 9}}, to="94103")) == {"newark": {"1": 2}}

    def test_wholesale_over_500_units_ships_from_the_bulk_centre_while_it_has_the_goods(self) -> None:
        stock = everywhere("SKU-1", units=900)
        for units, location in ((501, "columbus"), (500, "reno")):
            plan = plan_of(self.planner, wanted(units), stock, an_order(units, "wholesale"), residential=False)
            assert set(taken(plan)) == {location}, units
        without = {"SKU-1": {"reno": 900, "columbus": 400}}
        assert set(taken(plan_of(self.planner, wanted(501), without, an_order(501, "wholesale"), residential=False))) == {"reno"}
        assert set(taken(plan_of(self.planner, wanted(501), stock, an_order(501, "retail"), residential=False))) == {"reno"}

    def test_hazardous_goods_ship_from_certified_facilities_and_the_rule_is_named(self) -> None:
        plan = plan_of(self.planner, wanted(1, hazmat=True), everywhere("SKU-1"), an_order(hazmat=True))
        assert set(taken(plan)) == {"dallas"}
        assert exclusions(plan)["reno"] == "excluded by rule 'hazmat-certified'"

    def test_the_law_holds_without_the_rule(self) -> None:
        plan = plan_of(a_desk(dallas={"hazmat_certified": True}), wanted(1, hazmat=True), everywhere("SKU-1"))
        assert set(taken(plan)) == {"dallas"}

    def test_each_segment_has_its_way_and_nobody_tags_an_order(self) -> None:
        fired = {}
        for segment in ("dtc", "wholesale", "retail"):
            plan = plan_of(self.planner, wanted(2), everywhere("SKU-1"), an_order(segment=segment), residential=segment == "dtc")
            fired[segment] = (plan.record["rules"]["fired"], bool(plan.instructions))
        assert fired == {
            "dtc": (["two-day-ground-zone"], False),
            "wholesale": (["wholesale-cost"], False),
            "retail": (["retail-replenishment"], True),
        }


CODES = sorted(ZIPS)
SKUS = ("SKU-1", "SKU-2", "SKU-3")


@st.composite
def some_rules(draw: st.DrawFn) -> list[RoutingRule]:
    rules = []
    for number in range(draw(st.integers(0, 5))):
        action = draw(st.sampled_from(["require", "forbid", "pin", "drain", "prefer", "weight"]))
        more: dict[str, Any] = {"ranking": draw(st.lists(st.sampled_from(CODES), min_size=1, max_size=4, unique=True))}
        if action == "weight":
            more["cents"] = draw(st.integers(1, 3_000))
        if draw(st.booleans()):
            more["items"] = f'item.sku == "{draw(st.sampled_from(SKUS))}"'
        rules.append(a_rule(action, f"rule {number}", **more))
    return rules


@settings(max_examples=150, deadline=None)
@given(
    some_rules(),
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.lists(st.lists(st.integers(0, 5), min_size=len(CODES), max_size=len(CODES)), min_size=3, max_size=3),
)
def test_whatever_the_rules_no_plan_breaks_one_and_none_loses_a_unit(rules: list[RoutingRule], units: list[int], shelves: Any) -> None:
    stock = {sku: dict(zip(CODES, own, strict=True)) for sku, own in zip(SKUS, shelves, strict=True)}
    lines = wanted(*units)
    plan = plan_of(a_desk(*rules), lines, stock)
    placed: dict[str, dict[str, int]] = {sku: {} for sku in SKUS}
    for parcel in plan.parcels:
        for _, sku, count in parcel.units:
            placed[sku][parcel.location.code] = placed[sku].get(parcel.location.code, 0) + count

    def about(rule: RoutingRule, sku: str) -> bool:
        return rule.items is None or sku in rule.items

    for line in lines:
        own = placed[line.sku]
        allowed = set(CODES)
        for rule in rules:
            if rule.action == "forbid" and about(rule, line.sku):
                allowed -= set(rule.ranking)
            if rule.action == "require" and about(rule, line.sku):
                allowed &= set(rule.ranking)
        assert set(own) <= allowed
        assert all(count <= stock[line.sku][code] for code, count in own.items())
        can = min(line.units, sum(stock[line.sku][code] for code in allowed))
        assert sum(own.values()) == can, "rules about where say nothing about how many"
        assert plan.unplaced.get(line.sku, 0) == line.units - can
        for rule in rules:
            able = [code for code in rule.ranking if code in allowed and stock[line.sku][code] >= can]
            if rule.action == "pin" and about(rule, line.sku) and able and can:
                assert set(own) == {able[0]}, "the first pin that can be honoured is"
                break
    assert plan == plan_of(a_desk(*rules), lines, stock), "the same again"


def test_rules_read_as_sentences_and_changes_are_told_rule_by_rule() -> None:
    old = [a_rule("pin", "a", ranking=["reno"]), a_rule("hold", "b"), a_rule("hold", "c"), a_rule("hold", "d")]
    new = [
        a_rule("hold", "c"),
        a_rule("hold", "b"),
        a_rule("pin", "a", ranking=["reno", "dallas"]),
        a_rule("pack", "e", instructions=["x"]),
    ]
    told = {(change["change"], change["rule"]) for change in differences(old, new)}
    assert told == {("removed", "d"), ("changed", "a"), ("moved", "c"), ("added", "e")}
    assert differences(old, old) == []
    assert in_words(new[2]) == "For orders of every channel: ship all items from reno then dallas while it has them in full. Why: because."
    for rule in EXAMPLE:
        assert "None" not in in_words(rule)
