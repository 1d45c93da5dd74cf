"""A generated day: the same from the same seed, valid where it should be, wrong only where it says so."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
import zipcodes
from pydantic import ValidationError

from shared.contracts.channels import ChannelOrderReceived
from simulators.adapter.generated_day import generate_day
from simulators.adapter.geography import RESIDENTS_THOUSANDS, draw_place, place_of_customer, places_by_state
from simulators.adapter.opening_stock import declare_stock, warehouses
from simulators.adapter.replay import REFUSED_LABELS, Replay, demand_of

CHANNELS = ("webshop", "marketplace")


@pytest.fixture(scope="module")
def day() -> Replay:
    return generate_day(seed=1, channels=CHANNELS)


def test_the_same_seed_gives_the_same_day_and_another_seed_another(day: Replay) -> None:
    assert generate_day(seed=1, channels=CHANNELS) == day
    assert generate_day(seed=2, channels=CHANNELS).orders != day.orders


def test_every_good_order_fits_the_contract(day: Replay) -> None:
    assert len(day.good_orders) == 1_500
    for order in day.good_orders:
        ChannelOrderReceived.model_validate(order.content)


def test_wrong_orders_are_wrong_in_the_way_their_label_says(day: Replay) -> None:
    good = {order.external_id: order.content for order in day.good_orders}
    known = {item.sku for item in day.catalogue}
    labels = Counter(order.label for order in day.orders)
    assert set(labels) == {"good", "unknown_sku", "negative_quantity", "duplicate", "conflicting_duplicate"}
    assert 0.01 < 1 - labels["good"] / len(day.orders) < 0.08
    for order in day.orders:
        if order.label == "unknown_sku":
            assert order.external_id not in good
            assert order.content["lines"][0]["sku"] not in known
        elif order.label == "negative_quantity":
            with pytest.raises(ValidationError, match="quantity"):
                ChannelOrderReceived.model_validate(order.content)
        elif order.label == "duplicate":
            assert order.content == good[order.external_id]
        elif order.label == "conflicting_duplicate":
            assert order.content != good[order.external_id]


def test_deliveries_come_in_the_order_of_their_arrival_and_a_wrong_one_after_its_original(day: Replay) -> None:
    times = [order.arrives_at for order in day.orders]
    assert times == sorted(times)
    first_seen = {order.external_id: position for position, order in reversed(list(enumerate(day.orders)))}
    assert all(day.orders[first_seen[order.external_id]].label == "good" for order in day.orders if "duplicate" in order.label)


def test_every_zip_code_is_real_and_belongs_to_its_city_and_state(day: Replay) -> None:
    for order in day.good_orders[:100]:
        to = order.content["ship_to"]
        (found,) = zipcodes.matching(to["postal_code"])  # type: ignore[no-untyped-call]  # the package has no types
        assert (found["city"], found["state"], found["zip_code_type"]) == (to["city"], to["region"], "STANDARD")


def test_few_skus_sell_most_and_most_baskets_are_small(day: Replay) -> None:
    demand = demand_of(day.good_orders)
    ranked = sorted(demand.values(), reverse=True)
    assert sum(ranked[: len(ranked) // 5]) > 0.5 * sum(ranked)
    sizes = Counter(len(order.content["lines"]) for order in day.good_orders)
    assert max(sizes) <= 8
    assert sizes[1] + sizes[2] + sizes[3] > 0.75 * len(day.good_orders)


def test_all_states_have_places_and_customers_stay_where_they_live() -> None:
    assert set(places_by_state()) == set(RESIDENTS_THOUSANDS)
    assert all(places_by_state().values())
    assert place_of_customer("17850") == place_of_customer("17850")
    states = Counter(draw_place(Random(number)).state for number in range(3_000))
    assert states.most_common(1)[0][0] == "CA"


def test_opening_stock_is_the_same_for_the_same_seed_and_enough_but_for_the_scarce(day: Replay) -> None:
    places = warehouses(["east", "west"])
    stock = declare_stock(day, places, seed=1)
    assert declare_stock(day, places, seed=1) == stock
    demand = demand_of(day.good_orders)
    opening: Counter[str] = Counter()
    for line in stock.opening:
        assert line.quantity > 0
        opening[line.sku] += line.quantity
    assert stock.scarce_skus
    for sku, units in demand.items():
        assert (opening[sku] < units) == (sku in stock.scarce_skus)


def test_supply_comes_for_all_scarce_goods_but_those_that_wait_on_purpose(day: Replay) -> None:
    stock = declare_stock(day, warehouses(["east", "west"]), seed=1)
    assert {line.sku for line in stock.supply} == stock.scarce_skus - stock.never_resupplied_skus
    assert stock.never_resupplied_skus


def test_hazardous_goods_stand_only_where_they_may(day: Replay) -> None:
    places = warehouses(["east", "west"])
    certified = {place.code for place in places if place.hazmat_certified}
    hazardous = {item.sku for item in day.catalogue if item.hazmat}
    stock = declare_stock(day, places, seed=1)
    assert hazardous
    assert {line.location for line in (*stock.opening, *stock.supply) if line.sku in hazardous} <= certified


def test_labels_that_must_be_refused_are_named() -> None:
    assert {"unknown_sku", "negative_quantity", "conflicting_duplicate"} == REFUSED_LABELS
