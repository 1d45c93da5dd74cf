"""Recorded decisions: made again they come out the same, byte for byte; in words; and under other rules."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.routing.decide.capacity import Slot
from services.routing.decide.comparing import Totals, baselines_of, side_by_side
from services.routing.decide.counting import Decided, units_that_count
from services.routing.decide.explaining import in_words, runner_up
from services.routing.decide.guidance import Objective, OrderFacts
from services.routing.decide.planner import Planner
from services.routing.decide.plans import Plan, PlanRequest, Wanted
from services.routing.decide.recording import NotReplayableError, canonical, request_of
from services.routing.decide.rules import read_rules
from services.routing.decide.tariffs import DimensionalWeight
from services.routing.postal_codes import find_place
from services.routing.replay import __main__ as command
from services.routing.tariff_files import SHIPPED_RATE_CARDS, card_files, load_tariffs, restore_tariffs
from services.routing.tariff_tables import RateCardError
from shared.contracts.envelope import new_id
from shared.contracts.fulfillment import ThirdPartyRejected
from shared.contracts.orders import OrderCancelRequested, ServiceLevel
from shared.contracts.routing_rules import RoutingRulesSaved
from tests.conftest import Databases
from tests.routing.conftest import Desk
from tests.routing.messages import DALLAS, HOME, RENO, SHOPPER, a_line, an_order, reserved
from tests.routing.test_planner import ZIPS, a_planner, request, wanted, with_volume_billed
from tests.routing.test_rule_versions import a_draft, in_force
from tests.routing.test_rules import EXAMPLE, a_rule

CODES = sorted(ZIPS)
RULES = read_rules(1, EXAMPLE)
DECISIONS = int(os.environ.get("ORDERMESH_TEST_DECISIONS", "60"))
"""How many decisions are made again; an even number."""
HOMES = ("89501", "10001", "96813", "60601", "99501", "33101")


def kept(record: dict[str, Any]) -> dict[str, Any]:
    """A record as it comes back from the database: field order and sets are lost on the way."""
    read: dict[str, Any] = json.loads(json.dumps(record, sort_keys=True))
    return read


def again(planner: Planner, plan: Plan) -> Plan:
    return planner.plan(request_of(kept(plan.record), lambda code: find_place(code, "US")))


days = st.integers(4, 30).map(lambda day: date(2026, 3, day))
hours, counts = st.none() | st.integers(0, 23), st.integers(0, 99)


@st.composite
def requests(draw: st.DrawFn) -> PlanRequest:
    lines = [
        Wanted(str(number), draw(st.sampled_from("ABCD")), draw(st.integers(1, 5)), draw(st.integers(1, 30_000)), draw(st.booleans()))
        for number in range(draw(st.integers(1, 5)))
    ]
    stock = {sku: draw(st.dictionaries(st.sampled_from(CODES), st.integers(0, 8), max_size=6)) for sku in "ABCD"}
    now = datetime(2026, 3, 4, tzinfo=UTC) + timedelta(minutes=draw(st.integers(0, 20_000)))
    return request(
        lines,
        stock,
        to=draw(st.sampled_from(HOMES)),
        now=now,
        promise_from=now - timedelta(hours=draw(st.integers(0, 90))),
        deliver_by=draw(st.none() | st.integers(0, 200).map(lambda hours: now + timedelta(hours=hours))),
        service_level=draw(st.sampled_from(["standard", "two_day", "next_day"])),
        residential=draw(st.booleans()),
        excluded=draw(st.frozensets(st.sampled_from(CODES), max_size=2)),
        partly=draw(st.booleans()),
        slots=draw(st.dictionaries(st.sampled_from(CODES), st.none() | st.builds(Slot, days, hours, st.integers(0, 4), counts, counts))),
        order=draw(st.none() | st.builds(facts, st.sampled_from(["dtc", "wholesale", "retail"]), st.integers(1, 900), st.booleans())),
    )


def facts(segment: str, units: int, hazmat: bool) -> OrderFacts:
    return OrderFacts("webshop", segment, "standard", "US", units, 1, ("A", "B"), 500 * units, 900 * units, "USD", hazmat)


@settings(max_examples=150, deadline=None)
@given(requests(), st.sampled_from(["cheapest", "closest", "fastest", "forward_looking"]), st.integers(0, 900))
def test_whatever_was_asked_the_kept_record_gives_the_same_plan_byte_for_byte(
    asked: PlanRequest, objective: Objective, split_cents: int
) -> None:
    plan = a_planner(objective=objective, split_cents=split_cents, pick_cents=35, rules=RULES).plan(asked)
    # another planner of the objective that the record names, so that nothing it remembers helps
    recorded: Objective = plan.record["objective"]
    made = again(a_planner(objective=recorded, split_cents=split_cents, pick_cents=35, rules=RULES), plan)
    assert canonical(made.record) == canonical(kept(plan.record))
    assert made == plan


def test_rate_cards_that_were_kept_are_the_same_cards(tmp_path: Path) -> None:
    for file in SHIPPED_RATE_CARDS.iterdir():
        if file.name != "transit_days.csv":
            (tmp_path / file.name.upper()).write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    cards = load_tariffs(tmp_path, handling_cents=99)
    assert restore_tariffs(card_files(tmp_path), handling_cents=99) == cards


class TestInWords:
    def test_a_decision_names_what_it_chose_what_came_second_and_both_prices(self) -> None:
        planner = a_planner("reno", "newark")
        asked = request(wanted(2), {"SKU-1": {"reno": 5, "newark": 5}})
        plan = planner.plan(asked)
        second = runner_up(planner, asked, plan)
        assert second is not None
        assert in_words(plan, second) == f"reno, not newark: 1 parcel for {plan.cost_cents / 100:.2f} instead of 1 parcel for " + (
            f"{second.cost_cents / 100:.2f} over {second.parcels[0].miles:,} miles"
        )
        assert second.cost_cents > plan.cost_cents

    def test_one_parcel_that_beats_two_and_two_that_beat_none(self) -> None:
        planner = a_planner("reno", "newark", "dallas")
        asked = request(wanted(1, 1), {"SKU-1": {"dallas": 1, "reno": 1}, "SKU-2": {"dallas": 1, "newark": 1}})
        plan = planner.plan(asked)
        assert in_words(plan, runner_up(planner, asked, plan)).startswith("dallas, not reno and newark: 1 parcel for ")
        asked = request(wanted(1, 1), {"SKU-1": {"reno": 1}, "SKU-2": {"newark": 1}})
        plan = planner.plan(asked)
        assert in_words(plan, runner_up(planner, asked, plan)).startswith(
            "reno and newark, because no other location could ship as much: 2 "
        )

    def test_a_parcel_that_is_billed_by_its_volume_is_said_and_recorded(self) -> None:
        """Two light cushions: there 30 liters are 14 pounds. Without a volume the record is as it was before volumes were known."""
        planner = a_planner("reno", tariffs=with_volume_billed(DimensionalWeight.of_inches(139)))
        [first] = wanted(1)
        stock = {"SKU-1": {"reno": 2}}
        # Only the second of its lines knows how large it is, and one unit more is wanted than there is.
        bulk = first._replace(line_id="2", units=2, unit_volume_cubic_centimetres=15_000)
        plan = planner.plan(request([first, bulk], stock))
        assert in_words(plan, None).endswith("; reno's parcel weighs 2 lb and is billed by its volume as 14 lb")
        assert plan.record["billed_by_volume"] == {"reno": [2, 14]}
        assert again(planner, plan) == plan
        assert (
            plan.cost_cents
            == plan.record["candidates"][0][3]
            == a_planner("reno").plan(request(wanted(1, grams=14 * 453), {"SKU-1": {"reno": 1}})).cost_cents
        )
        by_weight = planner.plan(request([first], stock))
        assert by_weight.record["asked"]["lines"] == [["1", "SKU-1", 1, 400, False]]
        beyond = planner.plan(request([bulk._replace(units=200, unit_volume_cubic_centimetres=10_000_000)], {"SKU-1": {"reno": 200}}))
        assert "billed_by_volume" not in by_weight.record | beyond.record, "no parcel carrier takes 2,000 cubic metres"

    def test_keeping_the_promise_is_said_where_it_decided(self) -> None:
        planner = a_planner("reno", "dallas")
        soon = datetime(2026, 3, 5, 23, 0, tzinfo=UTC)
        asked = request(wanted(1), {"SKU-1": {"reno": 1, "dallas": 1}}, to="75236", deliver_by=soon, service_level="two_day")
        plan = planner.plan(asked)
        second = runner_up(planner, asked, plan)
        assert second is not None
        words = in_words(plan, second)
        assert (", late" in words) == second.late
        assert "No location" in in_words(planner.plan(request(wanted(1), {})), None)


@pytest.mark.parametrize("service_level", ["standard", "two_day"])
def test_held_orders_are_replayed_as_recorded_also_from_before_their_candidates_had_prices(
    service_level: ServiceLevel,
) -> None:
    planner = replace(a_planner("reno", "newark"), rules=read_rules(1, [a_rule("hold", "look")]))
    asked = request(wanted(2), {"SKU-1": {"reno": 5, "newark": 1}}, order=facts("dtc", 2, False), service_level=service_level)
    priced, unpriced = planner.plan(asked), planner.plan(replace(asked, unpriced_when_held=True))
    assert [type(row[3]) for row in priced.record["candidates"]] == [int, str]
    assert unpriced.record == priced.record | {
        "arrive_by": None,
        "candidates": [[*row[:3], "has only a part"] for row in priced.record["candidates"]],
    }
    for plan in (priced, unpriced):
        assert canonical(again(planner, plan).record) == canonical(plan.record)


def test_sums_side_by_side_show_the_difference_and_its_share() -> None:
    less, more = Totals(decisions=4, cost_cents=20_000), Totals(decisions=4, cost_cents=23_000)
    lines = side_by_side(("as recorded", "what if"), (less, more))
    assert lines[-1].split() == ["cost", "200.00", "230.00", "30.00", "(+15.0%)"]


@settings(max_examples=100, deadline=None)
@given(requests(), st.permutations(CODES))
def test_no_habit_ships_the_same_units_in_the_same_time_for_less_than_the_least(asked: PlanRequest, by_hand: list[str]) -> None:
    planner = a_planner(pick_cents=35, rules=RULES)
    habits = baselines_of(planner, asked, by_hand)
    for plan in (habits.by_hand, habits.nearest):
        if plan.parcels and plan.unplaced == habits.least.unplaced and plan.late == habits.least.late and not plan.late:
            assert plan.cost_cents >= habits.least.cost_cents
    if habits.by_hand is not habits.nearest:
        assert [parcel.location.code for parcel in habits.by_hand.parcels] == [_first_with_everything(asked, by_hand)]


def _first_with_everything(asked: PlanRequest, by_hand: list[str]) -> str:
    """The first of the list that may ship everything at once; none of them is certified for hazardous goods."""
    wanted_units: dict[str, int] = {}
    for entry in asked.wanted:
        wanted_units[entry.sku] = wanted_units.get(entry.sku, 0) + entry.units
    hazardous = any(entry.hazmat for entry in asked.wanted)
    return next(
        code
        for code in by_hand
        if code not in asked.excluded
        and asked.slots.get(code, True)
        and not hazardous
        and all(asked.assignable.get(sku, {}).get(code, 0) >= units for sku, units in wanted_units.items())
    )


def _at(hour: int) -> datetime:
    return datetime(2026, 3, 4, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("decisions", "counted"),
    [
        # nothing was placed ten times, then all of it
        ([*(Decided(_at(hour), {"1": 4}, {}) for hour in range(10)), Decided(_at(10), {"1": 4}, {"1": 4})], [{}] * 10 + [{"1": 4}]),
        ([Decided(_at(1), {"1": 4}, {}), Decided(_at(2), {"1": 4}, {})], [{}, {"1": 4}]),
        # what was rejected is placed elsewhere, or not any more
        ([Decided(_at(1), {"1": 4}, {"1": 4}, [("1", 4, _at(2))]), Decided(_at(2), {"1": 4}, {"1": 4})], [{}, {"1": 4}]),
        ([Decided(_at(1), {"1": 4}, {"1": 4}, [("1", 4, _at(2))]), Decided(_at(2), {"1": 4}, {})], [{"1": 4}, {}]),
        # other units of the same line
        ([Decided(_at(1), {"1": 2}, {"1": 2}), Decided(_at(2), {"1": 3}, {"1": 3})], [{"1": 2}, {"1": 3}]),
        # a part of it
        ([Decided(_at(1), {"1": 4, "2": 1}, {"1": 3, "2": 1}), Decided(_at(2), {"1": 3}, {"1": 2})], [{"1": 3, "2": 1}, {"1": 3}]),
        # the last of three that placed
        (
            [
                Decided(_at(1), {"1": 4}, {"1": 4}, [("1", 1, _at(2))]),
                Decided(_at(2), {"1": 1}, {}),
                Decided(_at(3), {"1": 1}, {"1": 1}),
            ],
            [{"1": 3}, {}, {"1": 1}],
        ),
    ],
)
def test_of_several_decisions_about_a_unit_the_last_that_placed_it_counts(decisions: list[Decided], counted: list[dict[str, int]]) -> None:
    assert units_that_count(decisions) == counted


BUSY: Mapping[str, Any] = {
    "fulfillments_per_day": max(3, DECISIONS // 20),
    "fulfillments_per_hour": max(2, DECISIONS // 30),
    "order_cutoff": "11:00",
    "services": ["ground"],
}
"""Of Reno, from when it is registered anew."""


async def history(
    desk: Desk, orders: int, *, homes: Sequence[str] = ("89501",), levels: Sequence[ServiceLevel] = ("standard",), **reno: object
) -> None:
    """Orders that were planned, while a location was closed, another one changed and a rule came in between."""
    chance, shopper = Random(4), Random(5)
    for number in range(orders):
        if number == orders // 2:
            await in_force(desk, a_rule("prefer", "heavy from the east", when="order.weight_grams > 5000", ranking=["newark"]))
        if number == orders // 3:
            await desk.register(RENO.model_copy(update={"order_cutoff": "01:00", **reno}), DALLAS)
        if number == 2 * orders // 3:
            await desk.register(DALLAS.model_copy(update={"active": False}))
        placed = an_order(
            *(a_line(str(line), chance.randint(1, 3), grams=chance.randint(50, 9_000)) for line in range(chance.randint(1, 3))),
            ship_to=HOME.model_copy(update={"postal_code": shopper.choice(homes)}),
            service_level=shopper.choice(levels),
        )
        places = [chance.choice([("reno", "dallas"), ("newark",), ("reno", "newark")]) for _ in placed.lines]
        stock = {line.sku: dict.fromkeys(where, 4) for line, where in zip(placed.lines, places, strict=True)}
        await desk.plan(placed, stock)


def row(said: str, name: str) -> list[str]:
    """Both columns of a sum."""
    return next(line.removeprefix(name).split()[:2] for line in said.splitlines() if line.startswith(name))


class TestTheCommand:
    @pytest.fixture(autouse=True)
    def asking(self, databases: Databases, capsys: pytest.CaptureFixture[str]) -> None:
        self.url, self.capsys = databases.url("routing"), capsys

    async def ask(self, *arguments: str) -> tuple[int, str]:
        status = await command.replay(self.url, command.parse(arguments))
        return status, self.capsys.readouterr().out

    async def test_every_decision_comes_out_as_recorded_although_the_network_has_changed_since(self, desk: Desk) -> None:
        await history(desk, DECISIONS, homes=HOMES, levels=("standard", "two_day", "next_day"), **BUSY)
        same = f"{DECISIONS:,} of {DECISIONS:,} decisions came out as they were recorded, byte for byte\n"
        assert await self.ask("--last", str(DECISIONS)) == (0, same)
        assert await self.ask("--last", "7") == (0, "7 of 7 decisions came out as they were recorded, byte for byte\n")
        _, said = await self.ask("--split-cents", "0")
        assert "in the end 0 shelves (SKU and location) hold something else than they do" in said
        sums = [row(said, name) for name in ("decisions", "parcels", "split", "late", "unplaced units", "miles", "carrier", "cost")]
        assert all(live == other for live, other in sums), "as it was, to the cent"
        networks = await desk.connection.fetch("SELECT DISTINCT record -> 'network' FROM decisions")
        assert len(networks) == 3
        rules = await desk.connection.fetch(
            "SELECT record -> 'rules' ->> 'version' AS version, count(*) FROM decisions GROUP BY 1 ORDER BY 1"
        )
        assert [tuple(row) for row in rules] == [("0", DECISIONS // 2), ("1", DECISIONS // 2)]
        assert await desk.connection.fetchval("SELECT count(*) FROM decisions WHERE record -> 'asked' ? 'slots'") > 20
        told = await desk.connection.fetchval("SELECT count(*) FROM decisions WHERE record::text LIKE '%offers only ground%'")
        assert told, "Reno has no other service from then on"
        _, said = await self.ask("--without-capacity")
        cost = next(line.split() for line in said.splitlines() if line.startswith("cost"))
        assert cost[1] != cost[2], "Reno takes three a day, and that is not what it costs otherwise"

    async def test_a_decision_that_comes_out_differently_is_named_with_what_differs(self, desk: Desk, databases: Databases) -> None:
        await history(desk, 3)
        admin = await databases.connect_as_admin()
        changed = await admin.fetchval(
            """
            UPDATE routing.decisions SET record = jsonb_set(record, '{cost_cents}', '1')
            WHERE decision_id = (SELECT decision_id FROM routing.decisions ORDER BY decision_id LIMIT 1) RETURNING decision_id
            """
        )
        status, said = await self.ask()
        assert status == 1
        assert said.startswith("2 of 3 decisions came out as they were recorded")
        assert str(changed) in said
        assert "cost_cents was 1, now " in said

    async def test_a_damaged_record_is_named_and_the_others_are_made_again(self, desk: Desk, databases: Databases) -> None:
        damage: Mapping[str, Callable[[dict[str, Any]], object]] = {
            "its record does not say what was asked": lambda record: record.pop("asked"),
            "its record is damaged (KeyError: 'objective')": lambda record: [record.pop(name) for name in {*record} - {"chosen"}],
            "version 99999 of the locations is not kept": lambda record: record.update(network=99_999),
            "version 9999 of the rules is not kept": lambda record: record["rules"].update(version=9_999),
            "rate cards deadbeef0000 are not kept": lambda record: record.update(rate_cards="deadbeef0000"),
            "its record is damaged (AttributeError": lambda record: record["asked"].update(stock=5),
            "its record is damaged (TypeError": lambda record: record["asked"]["lines"][0].__setitem__(2, "x"),
            "postal code 00000 is not on the map": lambda record: record["asked"].update(postal_code="00000"),
        }
        await history(desk, len(damage) + 1)
        admin = await databases.connect_as_admin()
        rows = await desk.connection.fetch("SELECT decision_id, record FROM decisions ORDER BY decision_id")
        ids = [row["decision_id"] for row in rows]
        for row, change in zip(rows, damage.values(), strict=False):
            change(row["record"])
            await admin.execute(
                "UPDATE routing.decisions SET record = $2::text::jsonb WHERE decision_id = $1",
                row["decision_id"],
                json.dumps(row["record"]),
            )
        for arguments in ((), ("--savings", "--split-cents", "1")):
            status, said = await self.ask(*arguments)
            assert status == 1
            assert "1 of 1 decisions came out as they were recorded, byte for byte" in said
            lines = said.splitlines()
            for decision_id, reason in zip(ids, damage, strict=False):
                told = next(number for number, line in enumerate(lines) if str(decision_id) in line)
                assert lines[told - 1].startswith(f"1 decisions cannot be made again: {reason}")

    async def test_rules_are_asked_again_about_a_location_that_has_changed(self, desk: Desk) -> None:
        await in_force(desk, a_rule("weight", "bulk costs", locations='"bulk" in location.capabilities', cents=5_000))
        for capabilities in ([], ["bulk"], []):
            await desk.register(RENO.model_copy(update={"capabilities": capabilities}))
            await desk.plan(an_order(), {"SKU-1": {"reno": 9, "newark": 9}})
        assert await self.ask() == (0, "3 of 3 decisions came out as they were recorded, byte for byte\n")
        chosen = await desk.connection.fetch("SELECT record -> 'chosen' -> 0 ->> 0 FROM decisions ORDER BY decision_id")
        assert [row[0] for row in chosen] == ["reno", "newark", "reno"]
        _, said = await self.ask("--rules", "1")
        assert row(said, "miles")[0] == row(said, "miles")[1]

    async def test_a_closed_location_and_dearer_splits_cost_what_they_cost_and_change_nothing(self, desk: Desk) -> None:
        await history(desk, 30)
        before = await desk.connection.fetch("SELECT * FROM decisions")
        status, said = await self.ask("--without", "newark")
        rows = {line.split("  ")[0]: line.split() for line in said.splitlines()}
        assert status == 0
        assert rows["decisions"][1:3] == ["30", "30"]
        assert int(rows["unplaced units"][3].replace(",", "")) > 0
        status, said = await self.ask("--split-cents", "5000", "--stock", "recorded")
        rows = {line.split("  ")[0]: line.split() for line in said.splitlines()}
        assert int(rows["split"][2]) < int(rows["split"][1])
        assert float(rows["cost"][2].replace(",", "")) > float(rows["cost"][1].replace(",", ""))
        assert await desk.connection.fetch("SELECT * FROM decisions") == before

    async def test_the_stock_that_the_other_plans_would_have_left_is_carried_forward_and_comes_back_with_what_did_not_ship(
        self, desk: Desk
    ) -> None:
        first, second = an_order(a_line("1")), an_order(a_line("1"))
        await desk.plan(first, {"SKU-1": {"reno": 2, "newark": 2}})
        await desk.plan(second, {"SKU-1": {"newark": 2}})
        _, said = await self.ask("--without", "reno")
        assert "stock carried forward" in said
        assert row(said, "unplaced units") == ["0", "2"]
        assert "2 units of 1 decisions found no stock, because earlier orders had taken it" in said
        assert "in the end 1 shelves (SKU and location) hold something else" in said
        _, said = await self.ask("--without", "reno", "--stock", "recorded")
        assert "stock carried forward" not in said
        assert row(said, "unplaced units") == ["0", "0"]
        # What was cancelled, and what a 3PL rejected, came back before the next plan that wanted it.
        cancelled, next_one, rejected = an_order(a_line("2")), an_order(a_line("2")), an_order(a_line("3"))
        await desk.plan(cancelled, {"SKU-2": {"reno": 2, "newark": 2}})
        desk.now += timedelta(minutes=1)
        await desk.hear(OrderCancelRequested(order_id=cancelled.order_id, change_id=new_id(), actor=SHOPPER, reason="no need"))
        await desk.plan(next_one, {"SKU-2": {"reno": 2, "newark": 2}})
        [asked] = await desk.hand_over(rejected, {"SKU-3": {"reno": 2, "newark": 2}})
        await desk.hear(ThirdPartyRejected(fulfillment_id=asked.fulfillment_id, reason="capacity", rejected_at=desk.now), partner="west")
        await desk.hear(reserved(rejected, {"SKU-3": {"reno": 2, "newark": 2}}, cause="fulfillment_cancelled"))
        _, said = await self.ask("--without", "reno", "--last", "4")
        assert row(said, "decisions") == ["3", "3"], "what was rejected counts where it was placed next"
        assert row(said, "unplaced units") == ["0", "0"]
        assert "in the end 2 shelves (SKU and location) hold something else" in said, "SKU-2: Newark shipped it, not Reno"

    async def test_other_rate_cards_are_compared_with_those_of_the_day(self, desk: Desk, tmp_path: Path) -> None:
        await history(desk, 5)
        for file in SHIPPED_RATE_CARDS.iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        _, said = await self.ask("--rate-cards", str(tmp_path))
        assert {line.split()[-1] for line in said.splitlines() if line.startswith(("cost", "carrier", "miles"))} <= {"0", "0.00"}
        _, said = await self.ask("--rate-cards", str(tmp_path), "--handling-cents", "1150")
        cost = next(line.split() for line in said.splitlines() if line.startswith("cost"))
        parcels = next(line.split() for line in said.splitlines() if line.startswith("parcels"))
        assert float(cost[2]) - float(cost[1]) == pytest.approx(10 * int(parcels[1]))

    async def test_savings_name_their_baselines_and_add_up(self, desk: Desk) -> None:
        await history(desk, 20)
        _, said = await self.ask("--savings", "--by-hand", "dallas,newark,reno")
        cost = next(line.split() for line in said.splitlines() if line.startswith("cost"))
        by_hand, nearest, live, least = (round(100 * float(cell.replace(",", ""))) for cell in cost[1:5])
        assert least <= live <= by_hand
        assert f"against by hand: {(by_hand - live) / 100:,.2f} saved, {100 * (by_hand - live) / by_hand:.1f}%" in said
        assert f"against the nearest: {(nearest - live) / 100:,.2f} saved" in said
        assert f"above the least, each order by itself: {(live - least) / 100:,.2f}" in said
        # A decision that placed nothing, and was followed by one that did, is in no column.
        late = an_order(a_line("1"))
        await desk.hear(late)
        await desk.hear(reserved(late, {"SKU-1": {}}))
        await desk.retry(late.order_id)
        _, said = await self.ask("--savings", "--split-cents", "0")
        assert "1 decisions are in no sum: their units were decided about again" in said
        assert [line.split()[1:] for line in said.splitlines() if line.startswith("decisions")] == [["21", "21", "0"], ["21"] * 4]
        assert [line.split()[2:] for line in said.splitlines() if line.startswith("unplaced")] == [["0", "0", "0"], ["0"] * 4]
        with pytest.raises(LookupError, match="--by-hand atlantis: no such location"):
            await self.ask("--savings", "--by-hand", "atlantis")

    async def test_rules_that_were_only_saved_are_priced_on_the_orders_of_the_past(self, desk: Desk) -> None:
        await history(desk, 20)
        saved = (await desk.hear(a_draft(a_rule("objective", "fast", objective="fastest")))).one(RoutingRulesSaved)
        _, said = await self.ask("--rules", str(saved.version))
        assert said.startswith("20 of 20 decisions came out as they were recorded")
        carrier = next(line.split() for line in said.splitlines() if line.startswith("carrier"))
        assert float(carrier[2].replace(",", "")) > float(carrier[1].replace(",", ""))
        with pytest.raises(LookupError, match="--rules 9: there is no such version"):
            await self.ask("--rules", "9")

    async def test_what_cannot_be_asked_is_said_in_a_line(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        await history(desk, 3)
        with pytest.raises(LookupError, match="--without atlantis: no such location; there were dallas, newark, reno"):
            await self.ask("--without", "atlantis")
        with pytest.raises(RateCardError, match="no such folder"):
            await self.ask("--rate-cards", "/nowhere")
        monkeypatch.delenv("ORDERMESH_DATABASE_URL", raising=False)
        assert command.main([]) == 2
        for wrong in (["--last", "0"], ["--since", "yesterday"], ["--pick-cents", "-1"], ["--objective", "nicest"]):
            with pytest.raises(SystemExit):
                command.main(wrong)


def test_a_record_of_a_place_that_is_not_on_the_map_any_more_says_so() -> None:
    planner = a_planner("reno")
    plan = planner.plan(request(wanted(1), {"SKU-1": {"reno": 1}}))
    with pytest.raises(NotReplayableError, match="postal code 89501 is not on the map"):
        request_of(kept(plan.record), lambda _: None)
