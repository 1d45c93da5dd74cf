"""Which number is to be shown, whatever the order of delivery."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from services.sync.handlers import catalogue, stock
from services.sync.queries.stock import count_latencies
from shared.contracts.stock import Availability, StockAvailabilityChanged
from shared.messaging.message import Transaction
from tests.conftest import Databases
from tests.sync.conftest import Desk
from tests.sync.messages import NOW, availability, listings, products, received


@pytest.fixture
async def desk(desk: Desk) -> Desk:
    """Two channels that list a mug and a lamp."""
    await desk.set_up("LAMP", "MUG", channels=("shop", "outlet"))
    return desk


async def accept(desk: Desk, available: int, version: int, **more: Any) -> None:
    """The channel ``shop`` took a number of the mug and everything is quiet."""
    await desk.connection.execute(
        """
        UPDATE listing_stock SET accepted_available = $1, accepted_mode = $3, accepted_version = $2, due_at = NULL, stale_since = NULL,
               sending_since = NULL
        WHERE channel = 'shop' AND sku = 'MUG'
        """,
        available,
        version,
        more.get("mode", "in_stock"),
    )


async def test_a_number_is_due_on_every_channel_that_lists_the_sku(desk: Desk) -> None:
    await desk.change_availability(availability("MUG", 5, 1))
    rows = await desk.connection.fetch("SELECT channel, sku, wanted_available, due_at, stale_since FROM listing_stock ORDER BY channel")
    assert [tuple(row) for row in rows] == [("outlet", "MUG", 5, NOW, NOW), ("shop", "MUG", 5, NOW, NOW)]


async def test_a_number_of_an_unlisted_sku_is_kept_for_later(desk: Desk) -> None:
    await desk.change_availability(availability("SOFA", 5, 1))
    assert await desk.connection.fetchval("SELECT available FROM stock_numbers WHERE sku = 'SOFA'") == 5


async def test_an_older_version_changes_nothing(desk: Desk) -> None:
    await desk.change_availability(availability("MUG", 5, 7))
    await desk.change_availability(availability("MUG", 9, 6))
    assert (await desk.listing("MUG"))["wanted_available"] == 5
    assert await desk.connection.fetchval("SELECT stock_version FROM stock_numbers") == 7


async def test_staleness_counts_from_the_first_change_not_yet_told(desk: Desk) -> None:
    await desk.change_availability(availability("MUG", 5, 1, changed_at=NOW - timedelta(seconds=9)))
    await desk.change_availability(availability("MUG", 4, 2, changed_at=NOW))
    row = await desk.listing("MUG")
    assert (row["wanted_available"], row["stale_since"], row["wanted_at"]) == (4, NOW - timedelta(seconds=9), NOW)


async def test_a_number_the_channel_already_shows_is_not_sent(desk: Desk) -> None:
    await desk.change_availability(availability("MUG", 5, 1))
    await accept(desk, 5, 1)
    await desk.change_availability(availability("MUG", 5, 2))
    row = await desk.listing("MUG")
    assert (row["due_at"], row["stale_since"], row["wanted_version"]) == (None, None, 2)


async def test_a_number_that_flipped_back_before_its_turn_is_not_sent(desk: Desk) -> None:
    await desk.change_availability(availability("MUG", 5, 1))
    await accept(desk, 5, 1)
    await desk.change_availability(availability("MUG", 4, 2))
    assert (await desk.listing("MUG"))["due_at"] == NOW
    await desk.change_availability(availability("MUG", 5, 3))
    assert (await desk.listing("MUG"))["due_at"] is None


async def test_a_number_that_flipped_back_while_a_call_is_under_way_is_sent_again(desk: Desk) -> None:
    await desk.change_availability(availability("MUG", 5, 1))
    await accept(desk, 5, 1)
    lease = NOW + timedelta(seconds=20)
    await desk.connection.execute("UPDATE listing_stock SET sending_since = $1, due_at = $2", NOW, lease)
    await desk.change_availability(availability("MUG", 5, 3))
    row = await desk.listing("MUG")
    assert row["due_at"] == lease, "what the channel shows is in doubt: the row stays due, at the time it was"


async def test_a_new_mode_or_ship_date_is_a_changed_number(desk: Desk) -> None:
    await desk.change_availability(availability("MUG", 0, 1))
    await accept(desk, 0, 1, mode="sold_out")
    await desk.change_availability(availability("MUG", 0, 2, mode="backorder", next_ship_at=NOW + timedelta(days=9)))
    assert (await desk.listing("MUG"))["due_at"] == NOW
    await accept(desk, 0, 2, mode="backorder")
    await desk.change_availability(availability("MUG", 0, 3, mode="backorder", next_ship_at=NOW + timedelta(days=12)))
    assert (await desk.listing("MUG"))["due_at"] == NOW


async def test_a_listing_that_backs_off_is_not_hurried_by_a_new_number(desk: Desk) -> None:
    await desk.change_availability(availability("MUG", 5, 1))
    later = NOW + timedelta(seconds=30)
    await desk.connection.execute("UPDATE listing_stock SET due_at = $1, failures = 6", later)
    await desk.change_availability(availability("MUG", 4, 2))
    row = await desk.listing("MUG")
    assert (row["due_at"], row["wanted_available"]) == (later, 4)


async def test_overlapping_batches_of_two_processes_do_not_deadlock_and_the_newest_wins(desk: Desk, databases: Databases) -> None:
    desks = [Desk(await databases.connect("sync")) for _ in range(4)]

    async def say(each: Desk, offset: int) -> None:
        for version in range(25):
            both = [availability(sku, version, version * 4 + offset) for sku in ("MUG", "LAMP")]
            await each.change_availability(*(both if offset % 2 else both[::-1]))

    await asyncio.gather(*(say(each, offset) for offset, each in enumerate(desks)))
    rows = await desk.connection.fetch("SELECT wanted_version, wanted_available FROM listing_stock")
    assert [tuple(row) for row in rows] == [(99, 24)] * 4


async def test_recording_numbers_costs_two_round_trips(desk: Desk) -> None:
    statements = []
    async with desk.connection.transaction():
        desk.connection.add_query_logger(lambda record: statements.append(record.query))
        await stock.change_availability(
            Transaction(desk.connection, NOW), [received(availability(sku, 1, number)) for sku in ("MUG", "LAMP") for number in range(100)]
        )
    assert len([statement for statement in statements if "COMMIT" not in statement]) == 2


async def test_old_latency_counts_are_forgotten(desk: Desk) -> None:
    for days in (1, 3):
        await count_latencies(desk.connection, "shop", NOW - timedelta(days=days), Counter({5: 2}))
    await desk.handle(lambda tx, _: stock.forget_old_latencies(tx), received(availability("MUG", 1, 1)))
    assert await desk.connection.fetchval("SELECT count(*) FROM push_latencies") == 1


def numbers(version: int, common: int, **own: int) -> StockAvailabilityChanged:
    """All numbers of the mug, as allocation tells them: together, under one version."""
    pools = {"default": common, **own}
    return StockAvailabilityChanged(
        changes=[
            Availability(sku="MUG", pool=pool, available=units, mode="in_stock" if units else "sold_out", stock_version=version)
            for pool, units in pools.items()
        ],
        changed_at=NOW,
    )


async def shown(desk: Desk) -> dict[str, int]:
    """What each channel shall show of the mug."""
    rows = await desk.connection.fetch("SELECT channel, wanted_available FROM listing_stock WHERE sku = 'MUG'")
    return {row["channel"]: row["wanted_available"] for row in rows}


async def test_a_channel_with_a_number_of_its_own_is_shown_that(desk: Desk) -> None:
    await desk.change_availability(numbers(1, 9, shop=4))
    assert await shown(desk) == {"shop": 4, "outlet": 9}
    await desk.change_availability(numbers(2, 7, shop=5))
    assert await shown(desk) == {"shop": 5, "outlet": 7}


async def test_only_the_channel_whose_number_changed_is_pushed(desk: Desk) -> None:
    await desk.change_availability(numbers(1, 5, shop=5))
    await accept(desk, 5, 1)
    await desk.change_availability(numbers(2, 4, shop=5))
    assert (await desk.listing("MUG"))["due_at"] is None
    assert (await desk.listing("MUG", "outlet"))["due_at"] == NOW


async def test_when_its_rule_is_gone_a_channel_falls_back_to_everybodys_number(desk: Desk) -> None:
    await desk.change_availability(numbers(1, 9, shop=4))
    await desk.change_availability(numbers(2, 8))
    assert await shown(desk) == {"shop": 8, "outlet": 8}
    await desk.change_availability(numbers(3, 8, shop=2))
    assert await shown(desk) == {"shop": 2, "outlet": 8}


@pytest.mark.parametrize("order", list(permutations(range(4))), ids=str)
async def test_the_newest_set_of_numbers_wins_in_every_order_of_arrival(desk: Desk, order: tuple[int, ...]) -> None:
    told = [numbers(1, 9), numbers(2, 8, shop=3), numbers(3, 7, shop=2), numbers(4, 6)]
    for index in order:
        await desk.change_availability(told[index])
    assert await shown(desk) == {"shop": 6, "outlet": 6}


async def test_a_listing_registered_later_is_told_its_channels_own_number(desk: Desk) -> None:
    await desk.handle(catalogue.register_products, received(products("SOFA")))
    await desk.change_availability(
        StockAvailabilityChanged(
            changes=[
                Availability(sku="SOFA", pool=pool, available=units, mode="in_stock", stock_version=3)
                for pool, units in (("default", 9), ("shop", 2))
            ],
            changed_at=NOW,
        )
    )
    for channel in ("shop", "outlet"):
        await desk.handle(catalogue.register_listings, received(listings("SOFA", channel=channel)))
    assert (await desk.listing("SOFA"))["wanted_available"] == 2
    assert (await desk.listing("SOFA", "outlet"))["wanted_available"] == 9


async def test_own_numbers_told_by_many_at_once_end_with_the_newest(desk: Desk, databases: Databases) -> None:
    desks = [Desk(await databases.connect("sync")) for _ in range(4)]

    async def say(each: Desk, offset: int) -> None:
        for round_ in range(15):
            version = round_ * 4 + offset
            await each.change_availability(numbers(version, version, **({"shop": version + 100} if version % 3 else {})))

    await asyncio.gather(*(say(each, offset) for offset, each in enumerate(desks)))
    assert 59 % 3, "the last version has a number of the shop's own"
    assert await shown(desk) == {"shop": 159, "outlet": 59}
