"""Rate cards: ours, a carrier's, and broken ones."""

from __future__ import annotations

import csv
import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.routing.decide.geography import Lane
from services.routing.decide.tariffs import (
    LIMIT_GRAMS,
    LOAD_BITS,
    PARCEL_LIMIT_POUNDS,
    SCORE_PER_CENT,
    SERVICES,
    ZONES,
    DimensionalWeight,
    LoadPrices,
    Service,
    billable_pounds,
    load_of,
)
from services.routing.settings import PlanningSettings
from services.routing.tariff_files import SHIPPED_RATE_CARDS, card_files, load_tariffs, restore_tariffs
from services.routing.tariff_tables import RateCardError
from tests.routing.test_planner import CARRIER, TARIFFS, place, ways


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped cards that a test may break."""
    for file in SHIPPED_RATE_CARDS.glob("*.csv"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def broken(folder: Path, change: Callable[[list[str]], list[str]], file: str = "ground.csv") -> str:
    """What the loader says to a changed file."""
    lines = (folder / file).read_text().splitlines()
    (folder / file).write_text("\n".join(change(lines)) + "\n")
    with pytest.raises(RateCardError) as caught:
        load_tariffs(folder, handling_cents=0)
    return str(caught.value).removeprefix(str(folder / file)).removeprefix(str(folder))


@pytest.mark.parametrize(("grams", "pounds"), [(1, 1), (453, 1), (454, 2), (907, 2), (908, 3), (453_592, 1000), (0, 1)])
def test_weight_is_billed_in_whole_pounds_rounded_up(grams: int, pounds: int) -> None:
    assert billable_pounds(grams) == pounds


def test_the_shipped_cards_cover_every_zone_and_pound_and_cost_more_for_farther_heavier_and_faster() -> None:
    for service in SERVICES:
        card = CARRIER.cards[service]
        for zone in ZONES:
            prices = [card.price_cents(zone, pounds, residential=False) for pounds in range(1, PARCEL_LIMIT_POUNDS + 1)]
            assert None not in prices
            assert prices == sorted(prices, key=lambda price: price or 0)
    for pounds in (1, 50, 150):
        for zone in ZONES:
            one, two, three = (CARRIER.cards[service].price_cents(zone, pounds, residential=True) or 0 for service in SERVICES)
            assert one < two < three


@given(st.sampled_from(SERVICES), st.sampled_from(ZONES), st.integers(1, 149), st.integers(1, 149))
def test_one_parcel_of_the_shipped_cards_never_costs_more_than_two(service: Service, zone: int, one: int, other: int) -> None:
    """The search for the best plan relies on it."""
    prices = TARIFFS.prices(ways(zone, service), residential=True)
    assert prices is not None
    assert prices[one + other] <= prices[one] + prices[other]


def test_prices_of_several_services_are_those_of_the_cheapest_with_handling() -> None:
    prices = TARIFFS.prices(ways(5), residential=True)
    assert prices is not None
    ground = CARRIER.cards["ground"].price_cents(5, 7, residential=True)
    assert ground is not None
    assert prices[7] // SCORE_PER_CENT == ground + 150
    quote = TARIFFS.quote(ways(5), 7 * 453, residential=True)
    assert quote is not None
    assert (quote.way.service, quote.parcels, quote.carrier_cents, quote.handling_cents) == ("ground", 1, ground, 150)


def test_a_carriers_published_tables_load_as_they_are(real_inputs: Path) -> None:
    theirs = load_tariffs(real_inputs / "rates", handling_cents=0)
    (carrier,) = theirs.carriers.values()
    assert carrier.cards["ground"].price_cents(2, 1, residential=False) == 339
    assert carrier.cards["ground"].price_cents(2, 1, residential=True) == 454
    assert carrier.cards["two_day"].price_cents(8, 15, residential=False) == 3640
    assert carrier.cards["next_day"].price_cents(5, 2000, residential=False) == 549_725 + 275
    assert theirs.version != TARIFFS.version
    assert carrier.transit_days == CARRIER.transit_days, "they have no transit days, so the shipped ones count"


def test_a_missing_card_is_named(folder: Path) -> None:
    (folder / "two_day.csv").unlink()
    with pytest.raises(RateCardError, match="no rate card for two_day"):
        load_tariffs(folder, handling_cents=0)
    with pytest.raises(RateCardError, match="no such folder"):
        load_tariffs(folder / "nowhere", handling_cents=0)


def test_a_wrong_cell_is_named_by_file_row_and_column(folder: Path) -> None:
    assert broken(folder, lambda lines: [*lines[:3], lines[3].replace("8.59", "free"), *lines[4:]]).startswith(
        ": row 4, column 2: 'free' is no price in dollars"
    )


def a_price(cell: str) -> Callable[[list[str]], list[str]]:
    return lambda lines: [*lines[:2], lines[2].replace("8.27", cell), *lines[3:]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: ["Pounds" + lines[0][17:], *lines[1:]], ": row 1, column 1: 'Pounds' should be WeightNotToExceed"),
        (lambda lines: [lines[0].replace(",8,", ",eight,"), *lines[1:]], ": row 1, column 8: 'eight' is neither a zone number nor res"),
        (lambda lines: [lines[0].replace(",8,", ",9,"), *lines[1:]], ": row 1: no column for zone 8; zones 2 to 8 are needed"),
        (lambda lines: [*lines[:5], *lines[6:]], ": row 6, column WeightNotToExceed: '6' should be 5: pounds without gaps"),
        (lambda lines: [*lines[:2], "2,8.27,8.78", *lines[3:]], ": row 3, column 4: nothing is no price in dollars, like 7.35"),
        (a_price("-8.27"), ": row 3, column 2: '-8.27' should be dollars and whole"),
        (a_price("8.275"), ": row 3, column 2: '8.275' should be dollars and whole"),
        (a_price("NaN"), ": row 3, column 2: 'NaN' is no price in dollars"),
        (a_price("1e3"), ": row 3, column 2: '1e3' is no price in dollars"),
        (a_price("99999999999999"), ": row 3, column 2: '99999999999999' should be at most 1,000,000 dollars"),
        (a_price("0"), ": row 3, column 2: '0' would be free and win every choice"),
        (lambda lines: lines[:1], ": row 2: no prices; the first row of prices is for 1 pound"),
        (lambda lines: [], ": row 1, column 1: '' should be WeightNotToExceed"),
    ],
)
def test_a_broken_card_says_where_and_what(folder: Path, change: Callable[[list[str]], list[str]], said: str) -> None:
    assert broken(folder, change).startswith(said)


def test_a_card_in_another_encoding_is_named(folder: Path) -> None:
    (folder / "ground.csv").write_bytes("WeightNotToExceed,für".encode("latin-1"))
    with pytest.raises(RateCardError, match=r"ground.csv: is no UTF-8: .*; save it as UTF-8"):
        load_tariffs(folder, handling_cents=0)


@pytest.mark.parametrize("file", ["two_day.csv", "zones.csv"])
def test_a_nul_is_refused_because_no_decision_could_be_kept_with_it(folder: Path, file: str) -> None:
    (folder / "zones.csv").write_text("origin_country,origin_prefix,destination_country,destination_prefix,zone,extra_days\n")
    lines = (folder / file).read_text().splitlines()
    (folder / file).write_text("\n".join([lines[0], *lines[1:], ",,,,,,,,,,\0"]) + "\n")
    said = f"{folder / file}: line {len(lines) + 1}: holds a NUL character, which no text has; save it as UTF-8 text anew"
    for read in (lambda: load_tariffs(folder, handling_cents=0), lambda: card_files(folder)):
        with pytest.raises(RateCardError, match=re.escape(said)):
            read()


def test_a_quote_that_is_not_closed_is_named_by_its_row(folder: Path) -> None:
    before = csv.field_size_limit(131_072)
    try:
        said = broken(folder, lambda lines: [*lines[:3], '3,"8.59' + "," * 140_000])
    finally:
        csv.field_size_limit(before)
    assert said == ": row 4: is no CSV: field larger than field limit (131072); look for a quote that is not closed"
    said = broken(folder, lambda lines: ['"' + "x" * 100_000])
    assert said == f": row 1, column 1: '{'x' * 60}...' should be WeightNotToExceed"


@pytest.mark.parametrize(
    ("file", "row", "said"),
    [
        ("transit_days.csv", "service,2,3,4,5,6,7,8\nground,²,2,2,2,2,2,2", "should be 1 to 30 business days"),
        ("transit_days.csv", f"service,2,3,4,5,6,7,8\nground,{'9' * 5_000},2,2,2,2,2,2", "should be 1 to 30 business days"),
        ("ground.csv", f"WeightNotToExceed,2,3,4,5,6,7,8,{'9' * 5_000}", "is neither a zone number nor res"),
        ("dimensional.csv", f"service,divisor,unit,above\nground,{'9' * 5_000},in3/lb,", "should be a whole number from 1 to 100,000"),
    ],
)
def test_a_number_that_is_none_or_has_no_end_is_named(folder: Path, file: str, row: str, said: str) -> None:
    (folder / file).write_text(row + "\n")
    with pytest.raises(RateCardError, match=said):
        load_tariffs(folder, handling_cents=0)


def test_a_card_that_is_no_file_is_named_and_not_waited_for(folder: Path) -> None:
    card = folder / "two_day.csv"

    def said() -> str:
        with pytest.raises(RateCardError) as caught:
            load_tariffs(folder, handling_cents=0)
        return str(caught.value).removeprefix(str(card))

    card.unlink()
    card.mkdir()
    assert said() == ": is a folder; put the file of this name in its place"
    card.rmdir()
    os.mkfifo(card)
    assert said() == ": is no file; put the file of this name in its place"
    card.unlink()
    card.symlink_to("nowhere.csv")
    assert said() == ": points to nothing; mend the link, or put the file in its place"


def test_a_card_or_folder_that_must_not_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the system says so to everybody but its administrator, who may run these tests."""

    def denied(path: Path) -> NoReturn:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    for method, denied_at in (("read_bytes", folder / "ground.csv"), ("iterdir", folder), ("is_dir", folder)):
        with monkeypatch.context() as patched:
            patched.setattr(Path, method, denied)
            with pytest.raises(RateCardError) as caught:
                load_tariffs(folder, handling_cents=0)
        assert (
            str(caught.value)
            == f"{denied_at}: cannot be read: Permission denied; let the user that routing runs as read it, or take it away"
        )


def test_a_zone_chart_in_capitals_is_read_and_kept(folder: Path) -> None:
    (folder / "ZONES.csv").write_text("origin_country,origin_prefix,destination_country,destination_prefix,zone,extra_days\nUS,,CA,,8,3\n")
    tariffs = load_tariffs(folder, handling_cents=150)
    (carrier,) = tariffs.carriers.values()
    assert carrier.chart is not None
    restored = restore_tariffs(card_files(folder), handling_cents=150)
    assert restored.version == tariffs.version != TARIFFS.version
    assert all(one.chart is not None and one.chart.lanes == carrier.chart.lanes for one in restored.carriers.values())


def test_the_example_of_a_zone_chart_names_no_place_across_the_sea(folder: Path) -> None:
    text = (SHIPPED_RATE_CARDS / "README.md").read_text()
    rows = [line.strip() for line in text[text.index("    origin_country,") :].split("\n\n")[0].splitlines()]
    (folder / "zones.csv").write_text("\n".join(rows) + "\n")
    (carrier,) = load_tariffs(folder, handling_cents=0).carriers.values()
    assert carrier.chart is not None
    reno = place("89501")
    assert carrier.chart.find(reno, place("94105")) == Lane(3)
    assert [carrier.chart.find(reno, place(code)) for code in ("99501", "96813")] == [None, None], "Anchorage and Honolulu"


def test_a_missing_folder_is_told_what_one_carriers_and_several_carriers_look_like(folder: Path) -> None:
    for name in ("nowhere", "ground.csv"):
        with pytest.raises(RateCardError) as caught:
            load_tariffs(folder / name, handling_cents=0)
        assert str(caught.value) == (
            f"{folder / name}: no such folder; give the folder that holds ground.csv, two_day.csv and next_day.csv, "
            "or that holds such a folder for each of several carriers"
        )


def test_broken_transit_days_say_where_and_what(folder: Path) -> None:
    said = broken(folder, lambda lines: [lines[0], lines[1].replace("5", "never"), *lines[2:]], "transit_days.csv")
    assert said == ": row 2, column 8: 'never' should be 1 to 30 business days"


def test_a_bad_rate_card_folder_is_told_at_start_by_the_name_of_the_setting(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERMESH_RATE_CARDS", str(folder / "nowhere"))
    with pytest.raises(ValueError, match="no such folder") as caught:
        PlanningSettings()
    assert "rate_cards" in str(caught.value)


def test_a_parcel_is_billed_by_its_volume_where_that_comes_to_more_than_its_weight(folder: Path) -> None:
    """A cubic foot by 139; by 166 only above it; 60 x 40 x 40 cm by 5,000."""
    rows = ["service,divisor,unit,above", "ground,139,in3/lb,", "two_day,166,in3/lb,1728", "next_day,5000,cm3/kg,"]
    (folder / "dimensional.csv").write_text("\n".join(rows) + "\n")
    tariffs = load_tariffs(folder, handling_cents=150)
    ground, two_day, next_day = (tariffs.carriers[CARRIER.name].cards[service] for service in SERVICES)
    cubic_foot = 28_316
    assert [ground.billed_pounds(1_000, cubic_foot), ground.billed_pounds(9_000, cubic_foot), ground.billed_pounds(1_000, 0)] == [13, 20, 3]
    assert [two_day.billed_pounds(1_000, cubic_foot), two_day.billed_pounds(1_000, cubic_foot + 1)] == [3, 11]
    assert next_day.billed_pounds(18_000, 96_000) == 43, "19.2 kg"
    assert restore_tariffs(card_files(folder), handling_cents=150) == tariffs
    assert tariffs.version != TARIFFS.version

    prices = tariffs.prices(ways(5), residential=True, by_load=True)
    assert prices is not None
    loads = [load_of(grams, volume) for grams in (1, 900, 70_000, 900_000) for volume in (0, 1, cubic_foot, 400_000, 9_000_000)]
    assert prices.scores(np.array(loads)).tolist() == [prices[load] for load in loads]
    for load in loads:
        quote = tariffs.quote(ways(5), load & LIMIT_GRAMS - 1, residential=True, cubic_centimetres=load >> LOAD_BITS)
        assert quote is not None
        assert (quote.carrier_cents + quote.handling_cents) * SCORE_PER_CENT + quote.parcels == prices[load]


@pytest.mark.parametrize(
    ("rule", "cubic_centimetres", "pounds"),
    [
        (DimensionalWeight.of_inches(139), 2_277, 1),
        (DimensionalWeight.of_inches(139), 2_278, 2),
        (DimensionalWeight.of_centimetres(5_000), 2_267, 1),
        (DimensionalWeight.of_centimetres(5_000), 2_268, 2),
        (DimensionalWeight.of_centimetres(5_000, 40_000), 40_000, 0),
        (DimensionalWeight.of_centimetres(5_000, 40_000), 40_001, 18),
    ],
)
def test_a_volume_is_billed_in_whole_pounds_rounded_up_and_not_at_all_up_to_where_it_counts(
    rule: DimensionalWeight, cubic_centimetres: int, pounds: int
) -> None:
    assert rule.pounds(cubic_centimetres) == rule.pounds_of_many(np.array([cubic_centimetres]))[0] == pounds


def test_a_service_without_a_row_bills_weight_alone(folder: Path) -> None:
    (folder / "dimensional.csv").write_text("service,divisor,unit,above\nground,139,in3/lb,\n")
    tariffs = load_tariffs(folder, handling_cents=0)
    assert [tariffs.carriers[CARRIER.name].cards[service].billed_pounds(1_000, 28_316) for service in SERVICES] == [13, 3, 3]
    by_load, by_weight = (
        tariffs.prices(ways(5, *services), residential=True, by_load=one) for services, one in ((SERVICES, True), (SERVICES[1:], False))
    )
    assert by_load is not None
    assert by_weight is not None
    bulky = load_of(1_000, 400_000)
    assert by_load[bulky] == by_load.scores(np.array([bulky]))[0] == by_weight[3], "not 176 pounds by ground"


def test_a_card_that_ends_early_carries_no_load_beyond_its_end_not_even_in_two_parcels() -> None:
    prices = LoadPrices([[5_000] * 150, [1] * 40], [DimensionalWeight.of_inches(139), None])
    loads = [load_of(18_000, 1), load_of(18_500, 1)]
    assert [prices[load] for load in loads] == prices.scores(np.array(loads)).tolist() == [1, 5_000], "40 and 41 pounds"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("air,139,in3/lb,", "row 2, column service: 'air' should be one of ground, two_day, next_day"),
        ("ground,0,in3/lb,", "row 2, column divisor: '0' should be a whole number from 1 to 100,000, like 139"),
        ("ground,1000000,in3/lb,", "row 2, column divisor: '1000000' should be a whole number from 1 to 100,000, like 139"),
        ("ground,139,inches,", "row 2, column unit: 'inches' should be one of in3/lb, cm3/kg"),
        ("ground,139,in3/lb,-1", "row 2, column above: '-1' should be empty or a whole volume, like 1728"),
        ("ground,139,in3/lb,\nground,166,in3/lb,", "row 3, column service: a second row for ground; keep one of them"),
    ],
)
def test_a_wrong_dimensional_weight_is_named(folder: Path, row: str, said: str) -> None:
    (folder / "dimensional.csv").write_text(f"service,divisor,unit,above\n{row}\n")
    with pytest.raises(RateCardError, match=re.escape(said)):
        load_tariffs(folder, handling_cents=0)
