"""Kits: never stocked, always worth as many as their components make; never more than there is."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.allocation.decide.kits import ComponentStock, sellable_kit
from services.allocation.decide.promising import Sellable
from services.allocation.decide.stock import SupplyUnits
from shared.contracts.base import Message
from shared.contracts.channels import ProductRegistered
from shared.contracts.orders import ComponentProduct, OrderLine, OrderPlaced
from shared.contracts.rules import ChannelPoolRejected, StockSafetyRejected
from shared.contracts.stock import (
    Availability,
    StockAdjustmentRejected,
    StockAvailabilityChanged,
    StockBackordered,
    StockReserved,
)
from shared.kits import Kit, lines_of
from shared.messaging.message import Connection, Transaction
from tests.allocation.conftest import Crowd, Desk, Heard
from tests.allocation.messages import (
    NOW,
    adjustment,
    at,
    called_off,
    cancellation,
    correction,
    dropped,
    edit,
    inspected,
    kit,
    line,
    location,
    moved,
    order,
    plan,
    planned,
    products,
    receipt,
    received,
    shipped,
    snapshot,
    supply,
    third_party_receipt,
    units,
)
from tests.allocation.test_pages import Office, office
from tests.allocation.wishes import channel_rule, safety

__all__ = ["office"]  # fixtures of the neighbours


@pytest.fixture
async def shop(desk: Desk) -> Desk:
    """Sets of two mugs and a lamp; 10 mugs and 3 lamps in the east."""
    await desk.hear(products("MUG", "LAMP", "CUP"))
    await desk.hear(kit("SET", MUG=2, LAMP=1))
    await desk.hear(location("east"), location("west"))
    await desk.hear(receipt(10), receipt(3, "LAMP"))
    return desk


def a_set(quantity: int = 1, line_id: str = "k") -> list[OrderLine]:
    """What sync makes of an order line of sets."""
    parts = [
        ComponentProduct(sku=sku, title=sku, quantity=count, unit_price_cents=1_000, unit_weight_grams=400)
        for sku, count in (("MUG", 2), ("LAMP", 1))
    ]
    return lines_of(Kit(line_id, "SET", "Set", quantity, 3_000, 0, parts), {line_id})


def told(heard: Heard, sku: str = "SET") -> list[Availability]:
    """What channels are told of a SKU."""
    return [change for message in heard.of(StockAvailabilityChanged) for change in message.changes if change.sku == sku]


def numbers(heard: Heard, sku: str = "SET") -> list[int]:
    return [change.available for change in told(heard, sku)]


def stock(quantity: int, available: int, queued: int = 0, *supplies: tuple[int, datetime], sku: str = "MUG") -> ComponentStock:
    return ComponentStock(sku, quantity, available, queued, [SupplyUnits(sku, date, count) for count, date in supplies])


def test_as_many_kits_as_the_scarcest_component_makes() -> None:
    assert sellable_kit([stock(2, 9), stock(1, 5)]) == Sellable(4, "in_stock", None)
    assert sellable_kit([stock(2, 9), stock(1, 3)]) == Sellable(3, "in_stock", None)
    assert sellable_kit([stock(2, 1), stock(1, 3)]) == Sellable(0, "backorder", None)
    assert sellable_kit([stock(1, -4)]) == Sellable(0, "backorder", None)


def test_a_kit_ships_when_the_last_of_the_components_that_hold_it_up_is_there() -> None:
    first, second = NOW + timedelta(days=3), NOW + timedelta(days=8)
    mugs, lamps = stock(2, 1, 0, (1, first)), stock(1, 0, 2, (2, first), (5, second))
    assert sellable_kit([mugs, lamps]).next_ship_at == second
    assert sellable_kit([mugs, stock(1, 7)]).next_ship_at == first
    assert sellable_kit([mugs, stock(1, 0)]).next_ship_at is None, "nobody knows when a lamp comes"


def test_a_kit_on_backorder_waits_for_the_release_of_its_component_in_preorder_too() -> None:
    soon, release = NOW + timedelta(days=3), NOW + timedelta(days=60)
    announced = stock(1, 5)._replace(release_at=release)
    assert sellable_kit([announced, stock(1, 9)]) == Sellable(5, "preorder", release)
    assert sellable_kit([announced, stock(1, 0, 0, (4, soon))]) == Sellable(0, "backorder", release)
    assert sellable_kit([announced, stock(1, 0)]) == Sellable(0, "backorder", None), "nobody knows when the other comes"
    assert sellable_kit([announced._replace(queued=5), stock(1, 0, 0, (4, soon))]) == Sellable(0, "sold_out", None)


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(-3, 40), st.integers(0, 5)), min_size=1, max_size=5),
)
def test_kits_on_sale_can_be_made_and_one_more_cannot(rows: list[tuple[int, int, int]]) -> None:
    components = [stock(quantity, available, queued) for quantity, available, queued in rows]
    kits = sellable_kit(components).available
    for component in components:
        free = max(0, component.available - component.queued)
        assert kits * component.quantity <= free
    assert any((kits + 1) * part.quantity > max(0, part.available - part.queued) for part in components)


@given(
    quantity=st.integers(1, 4),
    available=st.integers(0, 3),
    queued=st.integers(0, 4),
    supplies=st.lists(st.integers(1, 4), max_size=5),
)
def test_the_date_of_a_kit_is_the_first_day_on_which_one_could_be_made(
    quantity: int, available: int, queued: int, supplies: list[int]
) -> None:
    queued = 0 if available else queued
    days = [(count, NOW + timedelta(days=number)) for number, count in enumerate(supplies, start=1)]
    component = stock(quantity, available, queued, *days)
    if component.kits:
        return
    by_hand = next(
        (date for number, (_, date) in enumerate(days, start=1) if available + sum(supplies[:number]) - queued >= quantity),
        None,
    )
    assert sellable_kit([component]).next_ship_at == by_hand


async def test_a_new_kit_is_told_with_what_its_components_make(shop: Desk) -> None:
    heard = await shop.hear(kit("PAIR", MUG=2))
    [change] = told(heard, "PAIR")
    assert (change.available, change.mode, change.pool) == (5, "in_stock", "default")
    assert not (await shop.hear(kit("PAIR", MUG=2))).outgoing


async def test_a_kit_waits_for_its_components(desk: Desk) -> None:
    waiting = received(kit("SET", MUG=2, LAMP=1))
    await desk.hear(products("MUG"))
    assert "component 'LAMP' of kit 'SET' is not registered here yet" in (await desk.hear(waiting)).deferred[0]
    await desk.hear(products("LAMP"))
    assert numbers(await desk.hear(waiting)) == [0]


async def test_a_kit_may_come_with_its_components_in_one_message_and_in_one_batch(desk: Desk) -> None:
    both = ProductRegistered(products=[*kit("SET", MUG=1).products, *products("MUG").products])
    assert numbers(await desk.hear(both)) == [0]
    assert numbers(await desk.hear(kit("PAIR", CUP=2), products("CUP")), "PAIR") == [0]


async def test_the_newest_composition_wins_whatever_the_order(shop: Desk) -> None:
    assert numbers(await shop.hear(received(kit("SET", LAMP=3), time=at(9)))) == [1]
    assert numbers(await shop.hear(received(kit("SET", MUG=1), time=at(5)))) == []
    assert numbers(await shop.hear(receipt(3, "LAMP"))) == [2]
    assert numbers(await shop.hear(receipt(50))) == []
    assert not (await shop.pool("MUG"))["in_kits"]


async def test_of_two_compositions_in_one_batch_the_later_one_stands(shop: Desk) -> None:
    heard = await shop.hear(received(kit("PAIR", MUG=5), time=at(2)), received(kit("PAIR", MUG=2), time=at(1)))
    assert numbers(heard, "PAIR") == [2]


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (products("BOTH"), kit("BOTH", MUG=1), "'BOTH' is stocked here and cannot become a kit"),
        (kit("BOTH", MUG=1), products("BOTH"), "'BOTH' is a kit here and cannot be stocked"),
    ],
    ids=["a product becomes a kit", "a kit becomes a product"],
)
async def test_a_sku_is_a_kit_or_is_stocked_for_ever(shop: Desk, first: Message, second: Message, reason: str) -> None:
    await shop.hear(first)
    assert reason in (await shop.hear(received(second, time=at(1)))).parked[0]


async def test_every_way_in_which_a_component_changes_is_told_of_its_kits(shop: Desk) -> None:
    placed = order(*a_set(2))
    assert numbers(await shop.hear(placed)) == [1]
    assert numbers(await shop.hear(order(line(1, "LAMP")))) == [0]
    assert numbers(await shop.hear(receipt(4, "LAMP"))) == [3]
    assert numbers(await shop.hear(adjustment(5, sku="LAMP", expected=7))) == [2]
    assert numbers(await shop.hear(snapshot(9, sku="LAMP", as_of=at(5)))) == [3], "six mugs are left"
    assert numbers(await shop.hear(correction(-5, sku="MUG", time=at(6)))) == [0]
    assert numbers(await shop.hear(third_party_receipt(5, time=at(7)))) == [3]
    parcel = planned("east", *(units(part.quantity, part.line_id, part.sku) for part in placed.lines))
    await shop.hear(plan(placed, parcel))
    assert numbers(await shop.hear(shipped(placed, parcel, at_time=at(8)))) == []
    assert numbers(await shop.hear(inspected(placed, (2, "restocked")))) == [4]
    assert numbers(await shop.hear(edit(order(*a_set(9)), *a_set(9)))) == []
    assert numbers(await shop.hear(received(location("east", active=False), time=at(9)))) == [0]


async def test_cancelled_kits_may_be_sold_again(shop: Desk) -> None:
    placed = order(*a_set(3))
    assert numbers(await shop.hear(placed)) == [0]
    assert numbers(await shop.hear(cancellation(placed))) == [3]


async def test_a_picker_who_finds_a_component_missing_makes_fewer_kits(shop: Desk) -> None:
    placed = order(*a_set(1))
    await shop.hear(placed)
    lamp = units(1, "k.2", "LAMP")
    parcel = planned("east", units(2, "k.1"), lamp)
    await shop.hear(plan(placed, parcel))
    heard = await shop.hear(called_off(placed, parcel, lamp, missing=[lamp], cause="short_picked"))
    assert numbers(heard) == [1], "of three lamps one is gone, and the order takes another"


async def test_the_date_of_a_kit_moves_with_the_supply_of_its_components(shop: Desk) -> None:
    assert numbers(await shop.hear(order(line(3, "LAMP")))) == [0]
    lamps = supply(5, NOW + timedelta(days=5), sku="LAMP")
    [change] = told(await shop.hear(lamps))
    assert (change.available, change.mode, change.next_ship_at) == (0, "backorder", NOW + timedelta(days=5))
    [change] = told(await shop.hear(moved(lamps, NOW + timedelta(days=9))))
    assert change.next_ship_at == NOW + timedelta(days=9)
    [change] = told(await shop.hear(dropped(lamps)))
    assert change.next_ship_at is None


async def test_the_version_of_a_kit_grows_with_every_number(shop: Desk) -> None:
    versions = [change.stock_version for _ in range(3) for change in told(await shop.hear(order(line(1, "LAMP"))))]
    assert len(versions) == 3
    assert versions == sorted(set(versions))
    assert (await shop.connection.fetchval("SELECT version FROM kits WHERE kit_sku = 'SET'")) == versions[-1]


async def test_a_change_that_makes_no_fewer_kits_is_not_told(shop: Desk) -> None:
    assert numbers(await shop.hear(order(line(3)))) == []
    assert numbers(await shop.hear(order(line(1, "CUP")))) == []


async def test_the_same_component_in_two_kits_and_by_itself_is_counted_together(shop: Desk) -> None:
    await shop.hear(kit("PAIR", MUG=2))
    pair = lines_of(
        Kit("p", "PAIR", "Pair", 2, 100, 0, [ComponentProduct(sku="MUG", title="", quantity=2, unit_price_cents=1, unit_weight_grams=1)]),
        {"p"},
    )
    placed = order(*a_set(2), *pair, line(3, line_id="b"))
    heard = await shop.hear(placed)
    reserved = {part.line_id: part.quantity for part in heard.one(StockReserved).lines}
    assert reserved == {"k.1": 4, "k.2": 2, "p.1": 4, "b": 2}
    assert [(part.line_id, part.quantity) for part in heard.one(StockBackordered).lines] == [("b", 1)]
    assert (await shop.pool())["available"] == 0
    assert (numbers(heard), numbers(heard, "PAIR")) == ([0], [0])


@pytest.mark.parametrize(
    "message",
    [
        receipt(1, "SET"),
        third_party_receipt(1, sku="SET"),
        supply(1, NOW + timedelta(days=1), sku="SET"),
        correction(1, sku="SET"),
    ],
    ids=["receipt", "3PL receipt", "supply", "correction"],
)
async def test_stock_of_a_kit_cannot_be_moved_and_the_reason_names_its_components(shop: Desk, message: Message) -> None:
    [reason] = (await shop.hear(message)).parked
    assert reason == "sku: 'SET' is a kit and has no stock of its own: say it of its components 'LAMP', 'MUG'"


async def test_a_count_of_a_kit_is_reported_like_one_of_an_unknown_sku_and_moves_nothing(shop: Desk) -> None:
    before = await shop.pool()
    heard = await shop.hear(snapshot(1, sku="SET"))
    assert (heard.parked, heard.deferred) == ([], [])
    assert await shop.pool() == before
    assert await shop.connection.fetchval("SELECT on_hand FROM unregistered_counts WHERE sku = 'SET'") == 1


async def test_rules_about_a_kit_are_refused_for_good_and_name_its_components(shop: Desk) -> None:
    refused = (await shop.hear(channel_rule(fence=1, sku="SET"))).one(ChannelPoolRejected)
    kept = (await shop.hear(safety(1, sku="SET"))).one(StockSafetyRejected)
    assert refused.reason == kept.reason == "kit_has_no_stock"
    assert "'LAMP', 'MUG'" in refused.detail


async def test_an_operator_who_adjusts_a_kit_is_told_its_components(shop: Desk) -> None:
    refused = (await shop.hear(adjustment(5, sku="SET"))).one(StockAdjustmentRejected)
    assert refused.reason == "kit_has_no_stock"
    assert "'LAMP', 'MUG'" in refused.detail


async def test_an_order_for_a_kit_that_nobody_took_apart_is_parked_and_disturbs_nobody(shop: Desk) -> None:
    whole, good = order(line(1, "SET")), order(line(1))
    heard = await shop.hear(whole, good)
    assert "SKU 'SET' is a kit and cannot be reserved itself" in heard.parked[0]
    assert [message.order_id for message in heard.of(StockReserved)] == [good.order_id]
    assert "line_changes.components" in (await shop.hear(edit(good, line(1), line(1, "SET", "2")))).parked[0]


async def test_a_kit_is_read_with_its_components(shop: Desk, office: Office) -> None:
    status, document = await office.get("/stock/SET")
    assert (status, document["available_units"], document["mode"], document["hazmat"]) == (200, 3, "in_stock", False)
    assert [(part["sku"], part["units_per_kit"], part["available_units"], part["kits"]) for part in document["components"]] == [
        ("LAMP", 1, 3, 3),
        ("MUG", 2, 10, 5),
    ]


class Counting:
    """A connection that counts statements."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.statements = 0

    def __getattr__(self, name: str) -> object:
        if name in ("fetch", "fetchrow", "fetchval", "execute"):
            self.statements += 1
        return getattr(self.connection, name)


async def statements_of(desk: Desk, placed: OrderPlaced) -> int:
    """How many statements the hot path needs for one order."""
    from services.allocation.handlers.placing import reserve_placed_orders

    counting = Counting(desk.connection)
    async with desk.connection.transaction():
        await reserve_placed_orders(Transaction(counting, NOW), [received(placed)])  # type: ignore[arg-type]  # it counts and passes on
    return counting.statements


async def test_an_ordinary_sku_pays_nothing_for_kits_on_the_hot_path(shop: Desk) -> None:
    await shop.hear(receipt(5, "CUP"))
    assert await statements_of(shop, order(line(1, "CUP"))) == 2
    assert await statements_of(shop, order(line(1, "LAMP"))) == 2 + 3


def buyers(count: int, chance: random.Random) -> Sequence[OrderPlaced]:
    """People who want sets, mugs or lamps."""
    return [order(*chance.choice([a_set(1), a_set(1), [line(1, "LAMP")], [line(2)]])) for _ in range(count)]


async def test_200_concurrent_buyers_of_kits_and_of_single_components_never_get_more_than_there_is(shop: Desk, crowd: Crowd) -> None:
    wanted = [*[order(*a_set(1)) for _ in range(100)], *[order(line(1, "LAMP")) for _ in range(100)]]
    random.Random(3).shuffle(wanted)
    heard = await crowd.together([[buyer] for buyer in wanted])
    got = [part for each in heard for message in each.of(StockReserved) for part in message.lines]
    assert sum(part.quantity for part in got if part.sku == "LAMP") == 3
    assert sum(part.quantity for part in got if part.sku == "MUG") <= 10
    newest = max((change for each in heard for change in told(each)), key=lambda change: change.stock_version)
    assert newest.available == 0
    assert await shop.connection.fetchval("SELECT available FROM kits") == 0


async def test_the_newest_number_of_a_kit_is_right_whoever_changed_its_components_at_once(shop: Desk, crowd: Crowd) -> None:
    """One changes the mugs while another changes the lamps: neither sees the other's units, and the later one must."""
    chance = random.Random(11)
    for _ in range(6):
        acts: list[Message] = [*buyers(10, chance), *(receipt(chance.randint(1, 6), chance.choice(["MUG", "LAMP"])) for _ in range(10))]
        chance.shuffle(acts)
        heard = await crowd.together([[act] for act in acts])
        versions = [change.stock_version for each in heard for change in told(each)]
        assert len(versions) == len(set(versions))
        mugs, lamps = await shop.pool("MUG"), await shop.pool("LAMP")
        right = min(max(0, mugs["available"]) // 2, max(0, lamps["available"]))
        assert await shop.connection.fetchval("SELECT available FROM kits WHERE kit_sku = 'SET'") == right
        if versions:
            newest = max((change for each in heard for change in told(each)), key=lambda change: change.stock_version)
            assert newest.available == right


async def test_registrations_orders_and_receipts_of_many_kits_at_once_never_deadlock(shop: Desk, crowd: Crowd) -> None:
    chance = random.Random(5)
    skus = ["MUG", "LAMP", "CUP"]

    def composition() -> Message:
        parts = {sku: chance.randint(1, 3) for sku in chance.sample(skus, chance.randint(1, 3))}
        return kit(f"KIT-{chance.randint(1, 4)}", **parts)

    acts: list[Message] = [composition() for _ in range(25)]
    acts += [order(*(line(1, sku, sku) for sku in chance.sample(skus, 2))) for _ in range(40)]
    acts += [receipt(chance.randint(1, 4), chance.choice(skus)) for _ in range(25)]
    chance.shuffle(acts)
    batches = [[received(act, time=at(number / 60))] for number, act in enumerate(acts)]
    heard = await asyncio.wait_for(crowd.together(batches), timeout=60)
    assert not any(each.parked or each.deferred for each in heard)
