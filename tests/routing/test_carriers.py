"""Several carriers: each with its own cards, zones and days; the cheapest in time carries, by example and against HiGHS."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from random import Random

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from services.routing import current
from services.routing.decide.explaining import in_words, runner_up
from services.routing.decide.geography import Lane, ZoneChart
from services.routing.decide.network import Network
from services.routing.decide.planner import Planner
from services.routing.decide.recording import NotReplayableError, canonical, request_of
from services.routing.decide.registration import check_location
from services.routing.decide.rules import read_rules
from services.routing.decide.tariffs import Carrier, RateCard, Tariffs, Way
from services.routing.handlers import name_what_carries
from services.routing.postal_codes import find_place
from services.routing.queries import locations
from services.routing.replay.footing import Footings
from services.routing.settings import PlanningSettings
from services.routing.tariff_files import SHIPPED_RATE_CARDS, card_files, load_tariffs, restore_tariffs
from services.routing.tariff_tables import RateCardError
from shared.contracts.fulfillment import FulfillmentAssigned, FulfillmentRequested, LocationRegistrationRejected
from shared.messaging.message import Transaction
from tests.routing.conftest import Desk
from tests.routing.messages import RENO, an_order
from tests.routing.oracle import compare, random_planner, random_request
from tests.routing.test_handlers import AMPLE
from tests.routing.test_planner import CARRIER, TARIFFS, a_location, place, request, taken, wanted
from tests.routing.test_replay import again, kept
from tests.routing.test_rules import a_rule
from tests.routing.test_rules import an_order as facts


def cheaper(card: RateCard, cents: int) -> RateCard:
    """The same card, every parcel so much cheaper."""
    rows = {zone: tuple(None if price is None else price - cents for price in row) for zone, row in card.cents.items()}
    return replace(card, cents=rows)


NATIONAL = replace(CARRIER, name="National")
REGIONAL = replace(
    CARRIER,
    name="Regional",
    cards={"ground": cheaper(CARRIER.cards["ground"], 100)},
    transit_days={**CARRIER.transit_days, "ground": dict.fromkeys(CARRIER.transit_days["ground"], 4)},
)
"""A dollar cheaper and four days under way, ground only."""


def tariffs_of(*carriers: Carrier) -> Tariffs:
    return Tariffs("several", {carrier.name: carrier for carrier in carriers}, 150)


BOTH = tariffs_of(NATIONAL, REGIONAL)


def test_the_cheapest_carrier_that_keeps_the_promise_carries() -> None:
    planner = Planner(Network([a_location("reno")]), BOTH)
    asked = request(wanted(1), {"SKU-1": {"reno": 9}})
    alone = Planner(Network([a_location("reno")]), TARIFFS).plan(asked)
    [whenever] = planner.plan(asked).parcels
    assert (whenever.way, whenever.cost_cents) == (Way("Regional", "ground", 2, 4), alone.cost_cents - 100)
    [soon] = planner.plan(replace(asked, deliver_by=asked.now.replace(day=6))).parcels
    assert (soon.way.carrier, soon.way.service, soon.cost_cents) == ("National", "ground", alone.cost_cents)
    assert soon.arrives_on <= date(2026, 3, 6)


def test_who_is_named_first_carries_where_two_cost_the_same() -> None:
    same = tariffs_of(replace(CARRIER, name="B"), replace(CARRIER, name="A"))
    plan = Planner(Network([a_location("reno")]), same).plan(request(wanted(1), {"SKU-1": {"reno": 9}}))
    assert plan.parcels[0].way.carrier == "B"


def test_a_carrier_prices_by_its_own_zones_and_crosses_only_its_own_borders() -> None:
    near = replace(NATIONAL, name="Near", chart=ZoneChart({("US", "895", "US", "1"): Lane(2, 1)}))
    planner = Planner(Network([a_location("reno")]), tariffs_of(NATIONAL, near))
    asked = request(wanted(1), {"SKU-1": {"reno": 9}}, to="10001")
    [parcel] = planner.plan(asked).parcels
    assert (parcel.way.carrier, parcel.way.zone) == ("Near", 2)
    assert parcel.way.days == CARRIER.transit_days["ground"][2] + 1
    vancouver = replace(place("98101"), country="CA", postal_code="V6B1A1")
    abroad = planner.plan(replace(asked, destination=vancouver))
    assert abroad.record["excluded"] == [["reno", 0, abroad.record["excluded"][0][2], "no rate from US to CA"]]
    crossing = replace(NATIONAL, name="Crossing", chart=ZoneChart({("US", "", "CA", ""): Lane(8, 3)}))
    only_national = Network([a_location("reno", carriers=frozenset({"National"}))])
    assert [
        parcel.way.carrier
        for parcel in replace(planner, tariffs=tariffs_of(NATIONAL, crossing)).plan(replace(asked, destination=vancouver)).parcels
    ] == ["Crossing"]
    refused = Planner(only_national, tariffs_of(NATIONAL, crossing)).plan(replace(asked, destination=vancouver))
    assert refused.record["excluded"][0][3] == "no rate from US to CA by National, which it is registered with"


def test_rules_ask_for_the_days_by_ground_whoever_else_flies() -> None:
    air = replace(NATIONAL, name="Air", cards={"next_day": CARRIER.cards["next_day"]})
    network, far = Network([a_location("newark")]), request(wanted(1), {"SKU-1": {"newark": 9}}, to="94103")
    near = a_rule("require", locations="location.ground_days <= 2")
    for tariffs in (tariffs_of(NATIONAL), tariffs_of(air, NATIONAL)):
        asked = replace(far, order=facts())
        plan = Planner(network, tariffs, rules=read_rules(1, [near])).plan(asked)
        assert plan.record["excluded"] == [["newark", 8, plan.record["excluded"][0][2], f"excluded by rule '{near.name}'"]]


def test_goods_that_a_carrier_takes_only_in_several_parcels_go_by_one_that_takes_more_and_nothing_else_is_told() -> None:
    small = replace(NATIONAL, name="Small", cards={"ground": _until(cheaper(CARRIER.cards["ground"], 600), 40)})
    planner = Planner(Network([a_location("newark")]), tariffs_of(NATIONAL, small))
    asked = request(wanted(1, grams=27_000), {"SKU-1": {"newark": 9}}, to="10001")
    plan = planner.plan(asked)
    assert (plan.parcels[0].way.carrier, plan.parcels[0].parcels) == ("National", 1)
    assert plan.record["carriers"]["newark"][1].keys() == {"National"}


def _until(card: RateCard, pounds: int) -> RateCard:
    return replace(card, cents={zone: row[:pounds] for zone, row in card.cents.items()}, residential_cents=card.residential_cents[:pounds])


class TestPickUps:
    """Reno is served by the regional carrier only, which is too slow for some promises."""

    NETWORK = Network([a_location("reno", carriers=frozenset({"Regional"})), a_location("dallas")])

    def test_a_location_ships_only_by_the_carriers_that_pick_up_there_and_the_record_says_what_it_lacks(self) -> None:
        stock = {"SKU-1": {"reno": 9, "dallas": 9}}
        planner = Planner(self.NETWORK, BOTH)
        slow = planner.plan(request(wanted(1), stock))
        assert (taken(slow), slow.parcels[0].way.carrier) == ({"reno": {"1": 1}}, "Regional")
        plan = planner.plan(request(wanted(1), stock, service_level="two_day"))
        assert taken(plan) == {"dallas": {"1": 1}}
        [row] = [row for row in plan.record["candidates"] if row[0] == "reno"]
        assert row[3] == "too late: offers only Regional"
        lacking = Network([a_location("reno", carriers=frozenset({"Regional"}), services=("ground",)), a_location("dallas")])
        plan = Planner(lacking, BOTH).plan(request(wanted(1), stock, service_level="two_day"))
        assert [row[3] for row in plan.record["candidates"] if row[0] == "reno"] == ["too late: offers only ground of Regional"]

    def test_a_decision_names_the_carriers_whose_rate_cards_are_gone(self) -> None:
        other = tariffs_of(NATIONAL, replace(REGIONAL, name="Elsewhere"))
        plan = Planner(self.NETWORK, other).plan(request(wanted(1), {"SKU-1": {"reno": 9}}))
        [reason] = [row[3] for row in plan.record["excluded"] if row[0] == "reno"]
        assert reason == "no rate from US to US by Regional (which has no rate cards), which it is registered with"

    def test_an_only_carrier_picks_up_everywhere(self) -> None:
        plan = Planner(self.NETWORK, TARIFFS).plan(request(wanted(1), {"SKU-1": {"reno": 9}}))
        assert taken(plan) == {"reno": {"1": 1}}

    def test_a_registration_names_carriers_that_there_are_and_that_have_a_service_of_the_location(self) -> None:
        def problem(**update: object) -> str | None:
            refused = check_location(
                RENO.model_copy(update=update),
                on_map=True,
                time_zones={RENO.time_zone},
                partners=None,
                carriers={carrier.name: carrier.cards.keys() for carrier in (NATIONAL, REGIONAL)},
            )
            assert refused is None or refused.field == "carriers"
            return None if refused is None else refused.detail

        assert problem() is None
        assert problem(carriers=["Regional"]) is None
        assert problem(carriers=["Reginal"]) == (
            "'Reginal' has no rate cards (known: National, Regional); add them, or leave carriers out for all of them"
        )
        nothing = problem(carriers=["Regional"], services=["two_day", "next_day"])
        assert nothing is not None
        assert nothing.startswith("none of Regional has two_day or next_day, so nothing could leave; ")


class TestRecord:
    def test_a_record_says_who_carries_and_what_the_others_would_have_cost_and_a_person_reads_it(self) -> None:
        planner = Planner(Network([a_location("reno"), a_location("newark")]), BOTH)
        asked = request(wanted(1), {"SKU-1": {"reno": 9, "newark": 9}})
        plan = planner.plan(asked)
        cents = plan.cost_cents
        assert plan.record["carriers"] == {"reno": ["Regional", {"National": cents + 100, "Regional": cents}]}
        said = in_words(plan, runner_up(planner, asked, plan))
        assert said.endswith(f"; from reno by Regional (by National {(cents + 100) / 100:.2f})")

    def test_the_record_of_an_only_carrier_is_as_it_was_before_there_were_several(self) -> None:
        plan = Planner(Network([a_location("reno")]), TARIFFS).plan(request(wanted(1), {"SKU-1": {"reno": 9}}))
        assert "carriers" not in plan.record

    def test_a_decision_among_carriers_is_made_again_byte_for_byte(self) -> None:
        network = Network([a_location("reno", carriers=frozenset({"Regional"})), a_location("dallas"), a_location("newark")])
        carried: set[str] = set()
        for number in range(60):
            random = Random(number)
            planner = Planner(network, BOTH, pick_cents=35)
            plan = planner.plan(random_request(random, planner, random.randint(1, 4), scattered=False))
            carried.update(parcel.way.carrier for parcel in plan.parcels)
            made = again(Planner(network, BOTH, pick_cents=35), plan)
            assert canonical(made.record) == canonical(kept(plan.record))
            assert made == plan
        assert carried == {"National", "Regional"}


def test_random_orders_among_several_carriers_cost_what_highs_proves_to_be_the_least() -> None:
    compared = 0
    for number in range(200):
        random = Random(f"several carriers {number}")
        planner = random_planner(random, random.randint(1, 6))
        if len(planner.tariffs.carriers) == 1:
            continue
        one = compare(planner, random_request(random, planner, random.randint(1, 5), scattered=False))
        if one is not None:
            compared += 1
            assert (one.ours, one.told) == (one.best, "")
    assert compared > 60


@pytest.fixture
def two_folders(tmp_path: Path) -> Path:
    """Cards of two carriers: all services of one, ground of another, a dollar cheaper."""
    for name in ("Parcel & Co", "Regional"):
        (tmp_path / name).mkdir()
    for file in SHIPPED_RATE_CARDS.glob("*.csv"):
        (tmp_path / "Parcel & Co" / file.name).write_bytes(file.read_bytes())
    header, *rows = (SHIPPED_RATE_CARDS / "ground.csv").read_text().splitlines()
    cells = [row.split(",") for row in rows]
    dearer = [",".join([row[0], *(f"{float(cell) - 1:.2f}" for cell in row[1:-1]), row[-1]]) for row in cells]
    (tmp_path / "Regional" / "ground.csv").write_text("\n".join([header, *dearer]) + "\n")
    return tmp_path


CHART = "origin_country,origin_prefix,destination_country,destination_prefix,zone,extra_days\nUS,,CA,,8,3\n"


def put(file: Path) -> None:
    """Shipped prices of ground under this name."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes((SHIPPED_RATE_CARDS / "ground.csv").read_bytes())


def refusal(folder: Path) -> str:
    """What is said at start."""
    with pytest.raises(RateCardError) as caught:
        load_tariffs(folder, handling_cents=0)
    return str(caught.value)


def as_a_config_map(folder: Path) -> None:
    """The same files as Kubernetes mounts them: links into a folder that is exchanged as a whole."""
    content = folder / "..2026_11_29_10_00_00.123456789"
    content.mkdir()
    (folder / "..data").symlink_to(content.name)
    for file in sorted(folder.glob("*.csv")):
        file.rename(content / file.name)
        file.symlink_to(f"..data/{file.name}")


class TestFiles:
    def test_a_folder_for_each_carrier_is_read_under_its_name_and_kept_as_it_was(self, two_folders: Path) -> None:
        tariffs = load_tariffs(two_folders, handling_cents=150)
        assert list(tariffs.carriers) == ["Parcel & Co", "Regional"]
        assert list(tariffs.carriers["Regional"].cards) == ["ground"]
        assert tariffs.carriers["Regional"].transit_days == CARRIER.transit_days, "the shipped ones, where it has none of its own"
        files = card_files(two_folders)
        assert {"Parcel & Co/two_day.csv", "Regional/ground.csv", "Regional/transit_days.csv"} <= files.keys()
        assert restore_tariffs(files, handling_cents=150) == tariffs
        (two_folders / "Regional").rename(two_folders / "Regionals")
        assert load_tariffs(two_folders, handling_cents=150).version != tariffs.version, "decisions name their carriers"

    def test_the_version_of_an_only_carriers_cards_is_what_it_was_and_its_name_is_the_settings(self, two_folders: Path) -> None:
        alone = load_tariffs(two_folders / "Parcel & Co", handling_cents=150, carrier="UPS")
        assert (alone.version, list(alone.carriers)) == (TARIFFS.version, ["UPS"])

    def test_an_only_carriers_folder_may_be_a_config_map_and_hold_old_cards_and_whatever_it_held_before(self, two_folders: Path) -> None:
        folder = two_folders / "Parcel & Co"
        as_a_config_map(folder)
        for file in ("2025/ground.csv", "Bad|name/ground.csv", "prices of others.csv", "README.md"):
            put(folder / file)
        (folder / "zones.csv").mkdir()
        (folder / "gone").symlink_to("nowhere")
        (folder / "Transit_days.csv").write_text("beside transit_days.csv")
        tariffs = load_tariffs(folder, handling_cents=150)
        assert tariffs == TARIFFS
        assert restore_tariffs(card_files(folder), handling_cents=150) == TARIFFS

    def test_who_lacks_a_card_beside_folders_of_carriers_is_told_that_those_are_passed_over(self, two_folders: Path) -> None:
        put(two_folders / "ground.csv")
        said = refusal(two_folders)
        assert said.startswith(f"{two_folders}: no rate card for two_day, next_day; known names: ")
        assert said.endswith("; cards lie in this folder itself, so they are one carrier's and its subfolders are passed over")

    @pytest.mark.parametrize(
        ("file", "said"),
        [
            ("Third/zones.csv", "Third: no rate card; known names: ground.csv"),
            ("Third/grond.csv", "grond.csv: is no known name; give it one of ground.csv, two_day.csv, "),
            ("Regional/Grond.CSV", "Grond.CSV: is no known name; give it one of ground.csv, two_day.csv, "),
            ("Third/cards/ground.csv", "Third: no rate card; known names: ground.csv"),
            ("Third/README.md", "each folder here is a carrier's: put its cards right into it, or take it away"),
            ("Regional/GROUND.csv", "a second rate card for ground; keep one of them"),
            (
                "zones.csv",
                "zones.csv: lies beside the folders of carriers and is no rate card, so it would be nobody's; move it into the folder",
            ),
            ("grond.csv", "grond.csv: lies beside the folders of carriers"),
            ("REGIONAL/ground.csv", "but for its case; rename one of them"),
        ],
    )
    def test_what_would_silently_be_no_carriers_is_named(self, two_folders: Path, file: str, said: str) -> None:
        put(two_folders / file)
        assert said in refusal(two_folders)

    @pytest.mark.parametrize("link", ["Third", "Regional/zones.csv", "Regional/two_day.csv", "Regional/unknown.csv"])
    def test_a_link_to_nothing_is_named(self, two_folders: Path, link: str) -> None:
        (two_folders / link).symlink_to("nowhere")
        assert refusal(two_folders).startswith(f"{two_folders / link}: ")

    def test_two_zone_charts_of_a_carrier_are_refused(self, two_folders: Path) -> None:
        for name in ("Zones.csv", "zones.csv"):
            (two_folders / "Regional" / name).write_text(CHART)
        assert refusal(two_folders) == f"{two_folders}/Regional/zones.csv: a second zones.csv; keep one of them"

    def test_what_systems_keep_beside_carriers_and_what_people_write_about_them_is_passed_over(self, two_folders: Path) -> None:
        before = load_tariffs(two_folders, handling_cents=0)
        for folder in (".git", "..data", "__MACOSX", "lost+found"):
            put(two_folders / folder / "ground.csv")
        for file in ("README.md", ".DS_Store", "Regional/README.md", "Regional/._ground.csv", "Regional/2025/ground.csv"):
            put(two_folders / file)
        assert load_tariffs(two_folders, handling_cents=0) == before

    def test_a_carriers_folder_may_be_a_config_map(self, two_folders: Path) -> None:
        before = load_tariffs(two_folders, handling_cents=0)
        as_a_config_map(two_folders / "Regional")
        assert load_tariffs(two_folders, handling_cents=0) == before
        (two_folders / "Regional" / "..data").unlink()
        assert "Regional/ground.csv: points to nothing; mend the link" in refusal(two_folders)

    def test_file_names_are_read_in_whatever_case_and_kept(self, two_folders: Path) -> None:
        regional = two_folders / "Regional"
        (regional / "Zones.CSV").write_text(CHART)
        (regional / "Transit_Days.csv").write_text("service,2,3,4,5,6,7,8\nground,9,9,9,9,9,9,9\n")
        (regional / "DIMENSIONAL.csv").write_text("service,divisor,unit,above\nground,139,in3/lb,\n")
        tariffs = load_tariffs(two_folders, handling_cents=0)
        carrier = tariffs.carriers["Regional"]
        assert carrier.chart is not None
        assert carrier.cards["ground"].dimensional is not None
        assert carrier.transit_days == {"ground": dict.fromkeys(range(2, 9), 9)}, "rows for its own services are enough"
        restored = restore_tariffs(card_files(two_folders), handling_cents=0)
        assert restored.version == tariffs.version
        again = restored.carriers["Regional"]
        assert again.chart is not None
        assert again.chart.lanes == carrier.chart.lanes
        assert replace(again, chart=carrier.chart) == carrier

    def test_own_transit_days_lack_no_service_that_the_carrier_has(self, two_folders: Path) -> None:
        (two_folders / "Regional" / "transit_days.csv").write_text("service,2,3,4,5,6,7,8\ntwo_day,2,2,2,2,2,2,2\n")
        assert refusal(two_folders).endswith("transit_days.csv: no row for ground, which there is a rate card for; add its business days")

    @pytest.mark.parametrize("name", ["Bad|name", "Regional\n", "Blank ", " Blank", "Tab\tbed", "Nul\u200b", "x" * 121])
    def test_a_folder_that_is_no_carriers_name_is_refused_in_one_line(self, two_folders: Path, name: str) -> None:
        put(two_folders / name / "ground.csv")
        said = refusal(two_folders)
        assert said.endswith(
            ": is no name of a carrier; give 1 to 120 letters, digits, blanks and - _ . & ' ( ) + , in UTF-8, no blank at either end"
        )
        assert said.isprintable()

    @pytest.mark.parametrize("name", ["Land's End (East) + Co., Inc.", "A-1_b", "日本郵便", "हिन्दी डाक", "7"])
    def test_a_carrier_may_be_called_what_carriers_are_called(self, two_folders: Path, name: str) -> None:
        put(two_folders / name / "ground.csv")
        tariffs = load_tariffs(two_folders, handling_cents=0)
        assert name in tariffs.carriers
        assert restore_tariffs(card_files(two_folders), handling_cents=0) == tariffs

    def test_a_carriers_name_is_the_same_from_a_mac(self, two_folders: Path) -> None:
        put(two_folders / "Co\u0301rreos" / "ground.csv")
        tariffs = load_tariffs(two_folders, handling_cents=0)
        assert list(tariffs.carriers) == ["C\u00f3rreos", "Parcel & Co", "Regional"]
        assert restore_tariffs(card_files(two_folders), handling_cents=0) == tariffs
        put(two_folders / "C\u00f3rreos" / "ground.csv")
        assert refusal(two_folders).endswith("but for its case; rename one of them")

    def test_a_folder_whose_name_is_no_utf_8_is_told_at_start(self, two_folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        put(two_folders / os.fsdecode(b"Caf\xe9") / "ground.csv")
        monkeypatch.setenv("ORDERMESH_RATE_CARDS", str(two_folders))
        with pytest.raises(ValidationError) as caught:
            PlanningSettings()
        assert r"Caf\udce9: is no name of a carrier" in str(caught.value)

    def test_every_service_must_be_somebodys(self, two_folders: Path) -> None:
        (two_folders / "Parcel & Co" / "next_day.csv").unlink()
        with pytest.raises(RateCardError, match=re.escape(f"{two_folders}: no rate card for next_day; known names: ")):
            load_tariffs(two_folders, handling_cents=0)


@pytest.fixture
def several(two_folders: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A routing service with the cards of two carriers."""
    caches = (current.settings, current.rate_cards)
    monkeypatch.setenv("ORDERMESH_RATE_CARDS", str(two_folders))
    for cache in caches:
        cache.cache_clear()
    assert isinstance(current.settings(), PlanningSettings)
    yield
    monkeypatch.undo()
    for cache in caches:
        cache.cache_clear()


@pytest.mark.usefixtures("several")
async def test_the_3pl_is_told_the_carrier_of_its_parcel_and_a_location_keeps_to_its_carriers(desk: Desk) -> None:
    placed = an_order()
    plan = await desk.plan(placed, AMPLE)
    asked = (await desk.hear(FulfillmentAssigned(plan_id=plan.plan_id, order_id=placed.order_id))).one(FulfillmentRequested)
    assert (asked.location, asked.carrier, asked.service) == ("reno", "Regional", "ground")

    refused = (await desk.hear(RENO.model_copy(update={"carriers": ["Parcel"]}))).one(LocationRegistrationRejected)
    assert refused.field == "carriers"
    await desk.hear(RENO.model_copy(update={"carriers": ["Parcel & Co"]}))
    network = (await current.planner(desk.connection)).network
    assert {known.code: known.carriers for known in network.locations} == {"reno": frozenset({"Parcel & Co"}), "newark": frozenset()}
    before = [
        {name: value for name, value in document.items() if name != "carriers"}
        for document in await locations.read_locations_of(desk.connection, network.version)
    ]
    assert {known.carriers for known in current.network_of(before, 1).locations} == {frozenset()}, "versions from before name none"
    placed = an_order()
    plan = await desk.plan(placed, AMPLE)
    asked = (await desk.hear(FulfillmentAssigned(plan_id=plan.plan_id, order_id=placed.order_id))).one(FulfillmentRequested)
    assert (asked.location, asked.carrier) == ("reno", "Parcel & Co")


@pytest.mark.usefixtures("several")
async def test_what_happens_to_the_files_after_the_start_changes_neither_plans_nor_what_is_kept(desk: Desk, two_folders: Path) -> None:
    version = current.tariffs().version
    shutil.rmtree(two_folders / "Regional")
    placed = an_order()
    await desk.plan(placed, AMPLE)
    kept_files = await locations.read_rate_cards(desk.connection, version)
    assert kept_files is not None
    assert restore_tariffs(kept_files, handling_cents=150).version == version
    record = await desk.connection.fetchval("SELECT record FROM decisions WHERE order_id = $1", placed.order_id)
    assert record["carriers"]["reno"][0] == "Regional"
    planner, _ = await Footings().planners_of(desk.connection, record)
    assert canonical(planner.plan(request_of(record, lambda code: find_place(code, "US"))).record) == canonical(record)


@pytest.mark.usefixtures("several")
async def test_files_that_are_kept_under_another_version_are_named_and_not_replayed_by(desk: Desk) -> None:
    placed = an_order()
    await desk.plan(placed, AMPLE)
    record = await desk.connection.fetchval("SELECT record FROM decisions WHERE order_id = $1", placed.order_id)
    files = dict(current.rate_cards().files) | {"Regional/ground.csv": current.rate_cards().files["Parcel & Co/ground.csv"]}
    await locations.keep_rate_cards(desk.connection, "0123456789ab", files, desk.now)
    with pytest.raises(NotReplayableError, match="rate cards 0123456789ab are kept with other files"):
        await Footings().planners_of(desk.connection, {**record, "rate_cards": "0123456789ab"})


@pytest.mark.usefixtures("several")
async def test_a_start_names_the_locations_that_are_registered_with_carriers_that_have_no_cards(desk: Desk, two_folders: Path) -> None:
    await desk.hear(RENO.model_copy(update={"carriers": ["Regional", "Parcel & Co"]}))
    (two_folders / "Regional").rename(two_folders / "Regionals")
    current.rate_cards.cache_clear()
    with capture_logs() as logs:
        await name_what_carries(Transaction(desk.connection, desk.now))
    [told] = logs
    assert (told["event"], told["location"], told["carriers"]) == ("location_without_carrier", "reno", ["Regional"])
