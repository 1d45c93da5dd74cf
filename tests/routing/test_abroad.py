"""Other countries: where their postal codes are, the carrier's own zones, and borders."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from services.routing import current, postal_codes
from services.routing.decide.geography import Lane, Place, ZoneChart
from services.routing.decide.network import Network
from services.routing.decide.planner import Planner
from services.routing.decide.recording import canonical, request_of
from services.routing.handlers import keep_places
from services.routing.postal_areas import PostalAreaError, load_postal_areas
from services.routing.postal_codes import all_places, find_place
from services.routing.replay import __main__ as command
from services.routing.settings import MapSettings
from services.routing.tariff_files import SHIPPED_RATE_CARDS, card_files, load_tariffs, restore_tariffs
from services.routing.tariff_tables import RateCardError
from shared.contracts.fulfillment import LocationRegistered, LocationRegistrationRejected
from shared.errors import BadConfiguration
from shared.messaging.message import Transaction
from tests.conftest import Databases
from tests.routing.conftest import Desk
from tests.routing.messages import HOME, RENO, an_order, reserved
from tests.routing.test_planner import TARIFFS, a_location, place, request, wanted
from tests.routing.test_replay import kept

AREAS = """country,postal_prefix,latitude,longitude,region,time_zone
CA,V,49.25,-123.1,BC,
CA,V5K 0,49.28,-123.04,BC,
CA,M,43.7,-79.4,ON,
DE,10,52.52,13.4,BE,Europe/Berlin
DE,,51.1,10.4,,
"""
HEADER = "origin_country,origin_prefix,destination_country,destination_prefix,zone,extra_days\n"


@pytest.fixture
def areas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The map with some areas of Canada and Germany."""
    file = tmp_path / "areas.csv"
    file.write_text(AREAS)
    monkeypatch.setenv("ORDERMESH_POSTAL_AREAS", str(file))
    postal_codes._own.cache_clear()
    yield file
    postal_codes._own.cache_clear()


def the_map_says(file: Path, text: str) -> None:
    file.write_text(text)
    postal_codes._own.cache_clear()


@pytest.fixture
def cards(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder with the shipped rate cards and a zone chart of these rows."""

    def make(rows: str, header: str = HEADER) -> Path:
        for name, text in card_files(SHIPPED_RATE_CARDS).items():
            (tmp_path / name).write_text(text)
        (tmp_path / "zones.csv").write_text(header + rows)
        return tmp_path

    return make


def found(postal_code: str, country: str) -> Place:
    known = find_place(postal_code, country)
    assert known is not None
    return known


@pytest.mark.usefixtures("areas")
def test_the_longest_beginning_of_a_postal_code_says_where_it_is_and_the_nearest_city_what_time_it_is_there() -> None:
    near, vancouver, toronto = found("v5k-0a1", "CA"), found("V6B 1A1", "CA"), found("M5V 2T6", "CA")
    assert (near.latitude, vancouver.latitude) == (49.28, 49.25)
    assert (near.postal_code, near.area, near.state) == ("V5K0A1", "V5K", "BC")
    assert (vancouver.time_zone, toronto.time_zone) == ("America/Vancouver", "America/Toronto")
    assert (found("10115", "DE").latitude, found("80331", "DE").latitude) == (52.52, 51.1), "else the whole country's"
    assert find_place("H2X 1Y4", "CA") is None
    assert find_place("75001", "FR") is None
    assert find_place("89501", "US") == place("89501")


def test_postal_codes_of_geonames_are_read_as_they_are_and_places_of_one_code_are_taken_together(tmp_path: Path) -> None:
    file = tmp_path / "AT.txt"
    rows = [("1010", "48.20", "16.36"), ("1010", "48.22", "16.38"), ("6020", "47.26", "11.39")]
    file.write_text("".join(f"AT\t{code}\tOrt\tLand\t09\tBezirk\t900\t\t\t{north}\t{east}\t6\n" for code, north, east in rows))
    vienna = load_postal_areas(file).find("1010", "AT")
    assert vienna is not None
    assert (round(vienna.latitude, 6), round(vienna.longitude, 6)) == (48.21, 16.37)
    assert (vienna.state, vienna.time_zone) == ("09", "Europe/Vienna")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("land,plz\n", "row 1: should be country,postal_prefix,latitude"),
        (AREAS + "de,20,53.5,10.0,,\n", "row 7: country 'de' should be two capital letters"),
        (AREAS + "DE,20,north,10.0,,\n", "row 7: 'north', '10.0' should be degrees"),
        (AREAS + "DE,20,nan,10.0,,\n", "row 7: 'nan', '10.0' should be degrees"),
        (AREAS + "DE,10,53,13.4,BE,\n", "row 7: a second row for DE 10; keep one of them"),
        (AREAS + "DE,20\n", "row 7: '', '' should be degrees"),
        (AREAS + "DE,20,53.5,10.0,,Europe/Hamburg\n", "row 7: time_zone 'Europe/Hamburg' is no IANA time zone"),
        (AREAS + "XX,,0,0,,\n", "the time zones of XX are not known here; fill in the column time_zone"),
    ],
)
def test_what_is_wrong_with_a_file_of_areas_is_told_at_start_by_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, told: str
) -> None:
    file = tmp_path / "areas.csv"
    file.write_text(text)
    with pytest.raises(ValidationError, match="postal_areas") as caught:
        MapSettings(postal_areas=file)
    assert told in str(caught.value)
    monkeypatch.setenv("ORDERMESH_POSTAL_AREAS", str(file))
    postal_codes._own.cache_clear()
    with pytest.raises(BadConfiguration, match=r"^bad configuration: ORDERMESH_POSTAL_AREAS: .*$") as caught_at_start:
        current.warm_up()
    assert told in str(caught_at_start.value)


def test_a_file_of_areas_in_another_encoding_or_of_other_columns_is_told(tmp_path: Path) -> None:
    latin, short = tmp_path / "latin.csv", tmp_path / "DE.txt"
    latin.write_bytes((AREAS + "DE,2,53.5,10.0,Thüringen,\n").encode("latin-1"))
    short.write_text("DE\t10115\tBerlin\n")
    with pytest.raises(PostalAreaError, match="save it as UTF-8"):
        load_postal_areas(latin)
    with pytest.raises(PostalAreaError, match="row 1: 3 columns, GeoNames has 12"):
        load_postal_areas(short)


def test_a_zip_code_that_the_map_lacks_is_found_in_the_file_and_its_decisions_stand_without_it(areas: Path) -> None:
    assert find_place("09012", "US") is None
    the_map_says(areas, AREAS + "US,09,50,8,AE,Europe/Berlin\nUS,89,10,10,XX,Europe/Berlin\n")
    army = found("09012", "US")
    assert (army.latitude, army.state, army.time_zone) == (50, "AE", "Europe/Berlin")
    assert found("89501-1234", "US").state == "NV", "the map comes first"
    assert find_place("9012", "US") is None
    planner = Planner(Network([a_location("reno")]), load_tariffs(SHIPPED_RATE_CARDS, handling_cents=150))
    plan = planner.plan(request(wanted(1), {"SKU-1": {"reno": 5}}, destination=army))
    assert planner.plan(request_of(kept(plan.record), lambda _: None)) == plan


@pytest.mark.usefixtures("areas")
def test_no_border_is_crossed_without_a_rate_and_the_decision_says_so(cards: Callable[..., Path]) -> None:
    network = Network([a_location("reno"), a_location("newark")])
    stock = {"SKU-1": {"reno": 5, "newark": 5}}
    asked = request(wanted(1), stock, destination=found("V6B 1A1", "CA"))
    plan = Planner(network, load_tariffs(SHIPPED_RATE_CARDS, handling_cents=150)).plan(asked)
    assert plan.unplaced == {"SKU-1": 1}
    assert [entry[3] for entry in plan.record["excluded"]] == ["no rate from US to CA"] * 2

    planner = Planner(network, load_tariffs(cards("US,07,CA,,8,4\nUS,89,CA,V,5,2\n"), handling_cents=150))
    plan = planner.plan(asked)
    assert [(parcel.location.code, parcel.way.zone) for parcel in plan.parcels] == [("reno", 5)]
    by_distance = planner.plan(request(wanted(1), stock, destination=place("80202")))
    parcel, at_home = plan.parcels[0], by_distance.parcels[0]
    assert (parcel.way.zone, at_home.way.zone) == (5, 5)
    assert parcel.carrier_cents == at_home.carrier_cents
    assert (parcel.arrives_on - at_home.arrives_on).days == 2, "Wednesday and three days is Monday, and two more are Wednesday"


def test_of_a_charts_rows_the_longest_origin_wins_and_then_the_longest_destination() -> None:
    lanes = {("US", "", "CA", ""): 8, ("US", "", "CA", "V5"): 7, ("US", "89", "CA", ""): 6, ("US", "89", "CA", "V"): 5}
    chart = ZoneChart({key: Lane(zone) for key, zone in lanes.items()})
    vancouver, toronto = (Place(code, 49, -123, 49, -123, "", "America/Vancouver", "CA") for code in ("V5K0A1", "M5V2T6"))
    zones = [lane.zone for origin in ("89501", "10001") for to in (vancouver, toronto) if (lane := chart.find(place(origin), to))]
    assert zones == [5, 6, 7, 8]
    assert chart.find(vancouver, place("89501")) is None


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("us,89,CA,V,5,0", "column origin_country: 'us' should be two capital letters"),
        ("US,89,CA,V,9,0", "column zone: '9' should be a zone of the rate cards"),
        ("US,89,CA,V,,0", "column zone: '' should be a zone"),
        ("US,89,CA,V,5,-1", "column extra_days: '-1' should be 0 to 60"),
        ("US,89,CA,V,5,0\nUS,89,CA,v,6,0", "row 3: a second row from US 89 to CA V"),
    ],
)
def test_what_is_wrong_with_a_zone_chart_is_told_by_row_and_column(cards: Callable[..., Path], row: str, told: str) -> None:
    with pytest.raises(RateCardError) as caught:
        load_tariffs(cards(row + "\n"), handling_cents=0)
    assert told in str(caught.value)
    with pytest.raises(RateCardError, match="row 1: should be origin_country"):
        load_tariffs(cards("", header="from,to\n"), handling_cents=0)


def test_a_carriers_published_chart_replaces_the_zones_by_distance(real_inputs: Path, cards: Callable[..., Path]) -> None:
    """Of USPS, 2018: the origins of three locations to everywhere."""
    origins = {"895": "reno", "752": "dallas", "071": "newark"}
    with gzip.open(real_inputs / "zones" / "usps_zones_2018.csv.gz", "rt") as lines:
        published = {(row["origin_zip"], row["dest_zip"]): row["zone"] for row in csv.DictReader(lines) if row["origin_zip"] in origins}
    chart = {pair: zone for pair, zone in published.items() if zone != "9"}
    tariffs = load_tariffs(cards("".join(f"US,{origin},US,{to},{zone},0\n" for (origin, to), zone in chart.items())), handling_cents=0)
    network = Network([a_location(code) for code in origins.values()])
    areas = {known.area: known for known in all_places().values()}
    compared = other = 0
    for destination in areas.values():
        by_distance = {reach.location.code: reach.zone for reach in network.reach(destination, TARIFFS)}
        for reach in network.reach(destination, tariffs):
            zone = chart.get((reach.location.place.area, destination.area))
            if zone is not None:
                assert reach.zone == max(2, int(zone))
                compared += 1
                other += reach.zone != by_distance[reach.location.code]
    assert compared > 400
    assert other > 20, "else the chart would say nothing new"


def test_a_decision_about_a_place_abroad_is_made_again_when_the_file_has_changed_since(areas: Path, cards: Callable[..., Path]) -> None:
    folder = cards("US,,CA,,8,3\n")
    tariffs = load_tariffs(folder, handling_cents=150)
    asked = request(wanted(2), {"SKU-1": {"reno": 5}}, destination=found("M5V 2T6", "CA"), service_level="two_day")
    network = Network([a_location("reno")])
    plan = Planner(network, tariffs).plan(asked)
    assert plan.parcels

    the_map_says(areas, AREAS.replace("43.7,-79.4", "10,10"))
    restored = restore_tariffs(card_files(folder), handling_cents=150)
    assert restored.version == tariffs.version != load_tariffs(SHIPPED_RATE_CARDS, handling_cents=150).version
    again = Planner(network, restored).plan(request_of(kept(plan.record), lambda code: find_place(code, "US")))
    assert canonical(again.record) == canonical(plan.record)
    assert again.parcels == plan.parcels


@pytest.mark.usefixtures("areas")
async def test_a_warehouse_abroad_serves_its_own_country(desk: Desk) -> None:
    toronto = RENO.model_copy(
        update={"location": "toronto", "postal_code": "M5V 2T6", "country": "CA", "time_zone": "America/Toronto", "partner": "east"}
    )
    nowhere = toronto.model_copy(update={"location": "montreal", "postal_code": "H2X 1Y4"})
    answers = await desk.hear(toronto, nowhere)
    assert answers.one(LocationRegistered).location == "toronto"
    refused = answers.one(LocationRegistrationRejected)
    assert (refused.location, refused.field) == ("montreal", "postal_code")
    assert "ORDERMESH_POSTAL_AREAS" in refused.detail

    home = HOME.model_copy(update={"postal_code": "M4B 1B3", "region": "ON", "country": "CA"})
    everywhere = {"SKU-1": {"toronto": 2, "reno": 2}}
    assert [asked.location for asked in await desk.hand_over(an_order(ship_to=home), everywhere)] == ["toronto"]
    assert [asked.location for asked in await desk.hand_over(an_order(), everywhere)] == ["reno"], "and no other"


async def test_where_a_location_lies_is_kept_and_when_it_never_was_it_is_left_out_by_name_until_a_map_has_it(
    desk: Desk, databases: Databases, areas: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toronto = RENO.model_copy(
        update={"location": "toronto", "postal_code": "M5V 2T6", "country": "CA", "time_zone": "America/Toronto", "partner": "east"}
    )
    everywhere = {"SKU-1": {"toronto": 2, "reno": 2}}

    async def start_with(text: str) -> dict[str, str]:
        """A new process with this file: why locations are left out of an order at home."""
        the_map_says(areas, text)
        current._known.clear()
        async with desk.connection.transaction():
            await keep_places(Transaction(desk.connection, desk.now))
        await desk.plan(an_order(), everywhere)
        record = await desk.connection.fetchval("SELECT record FROM decisions ORDER BY decision_id DESC LIMIT 1")
        return {entry[0]: entry[3] for entry in record["excluded"] if entry[0] == "toronto"}

    await desk.register(toronto)
    no_rate, lost = {"toronto": "no rate from CA to US"}, {"toronto": "its postal code is on no map"}
    empty = AREAS.splitlines()[0] + "\n"
    assert await start_with(AREAS) == await start_with(empty) == await start_with(AREAS.replace("43.7", "10")) == no_rate
    # As it was before this was kept.
    await (await databases.connect_as_admin()).execute("DELETE FROM routing.location_places")
    with capture_logs() as logs:
        assert await start_with(empty) == await start_with(empty) == lost
    assert [(entry["event"], entry["location"]) for entry in logs] == [("location_on_no_map", "toronto")] * 2
    only_there = an_order()
    await desk.hear(only_there)
    await desk.hear(reserved(only_there, {"SKU-1": {"toronto": 2}}))
    assert "(toronto: its postal code is on no map, " in (await desk.order(only_there.order_id))["attention_detail"]
    assert await start_with(AREAS) == await start_with(empty) == no_rate
    assert await command.replay(databases.url("routing"), command.parse([])) == 0, capsys.readouterr().out
