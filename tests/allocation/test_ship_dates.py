"""Ship dates from calendars, cutoffs and supply, as far as allocation knows them (feature B7)."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from shared.contracts.fulfillment import LocationRegistered
from shared.contracts.stock import StockAvailabilityChanged, StockBackordered, StockPromiseChanged
from tests.allocation.conftest import Desk
from tests.allocation.messages import at, changed, line, location, moved, order, products, receipt, received, supply

NEW_YORK = ZoneInfo("America/New_York")
YEAR = datetime.now(NEW_YORK).year + 1


def local(month: int, day: int, hour: int) -> datetime:
    """An instant next year as a clock in New York shows it."""
    return datetime(YEAR, month, day, hour, tzinfo=NEW_YORK)


FRIDAY = next(day for day in range(1, 8) if date(YEAR, 6, day).isoweekday() == 5)
FRIDAY_EVENING, MONDAY_CUTOFF = local(6, FRIDAY, 17), local(6, FRIDAY + 3, 15)


def works(**more: Any) -> LocationRegistered:
    """A location in New York that needs a working day from the dock to the shelf."""
    return location("east").model_copy(update={"time_zone": "America/New_York", "dock_to_stock_days": 1, **more})


@pytest.fixture
async def sold_out(desk: Desk) -> Desk:
    """Nothing of anything, at a location whose calendar is known."""
    await desk.hear(products("MUG"))
    await desk.hear(works())
    return desk


async def test_goods_expected_on_friday_evening_that_need_a_working_day_ship_on_monday(sold_out: Desk) -> None:
    placed = order(line(1))
    await sold_out.hear(placed)
    heard = await sold_out.hear(supply(3, FRIDAY_EVENING))
    assert heard.one(StockPromiseChanged).lines[0].new_ship_at == MONDAY_CUTOFF
    assert heard.one(StockAvailabilityChanged).changes[0].next_ship_at == MONDAY_CUTOFF
    assert (await sold_out.hear(order(line(1)))).one(StockBackordered).lines[0].promised_ship_at == MONDAY_CUTOFF


async def test_goods_that_come_another_hour_of_the_same_day_move_no_promise(sold_out: Desk) -> None:
    await sold_out.hear(order(line(1)))
    coming = supply(3, FRIDAY_EVENING)
    await sold_out.hear(coming)
    assert not (await sold_out.hear(moved(coming, local(6, FRIDAY, 9)))).of(StockPromiseChanged)


async def test_a_location_that_works_on_other_days_ships_its_supplies_on_them(sold_out: Desk) -> None:
    placed = order(line(1))
    await sold_out.hear(placed)
    await sold_out.hear(supply(3, FRIDAY_EVENING))
    rests = received(works(holidays=[date(YEAR, 6, FRIDAY + 3)]), time=at(1))
    heard = await sold_out.hear(rests)
    told = heard.one(StockPromiseChanged)
    assert (told.order_id, told.cause, told.cause_id) == (placed.order_id, "calendar_changed", rests.event_id)
    assert told.lines[0].new_ship_at == local(6, FRIDAY + 4, 15)
    assert heard.one(StockAvailabilityChanged).changes[0].next_ship_at == local(6, FRIDAY + 4, 15)
    saturdays = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
    heard = await sold_out.hear(received(works(working_days=saturdays), time=at(2)))
    assert heard.one(StockPromiseChanged).lines[0].new_ship_at == local(6, FRIDAY + 1, 15)


async def test_a_supply_that_was_complete_when_its_location_changed_its_days_ships_by_the_new_ones_when_more_of_it_comes(
    sold_out: Desk,
) -> None:
    coming = supply(1, FRIDAY_EVENING)
    await sold_out.hear(coming)
    await sold_out.hear(receipt(1, supply_id=coming.supply_id))
    await sold_out.hear(received(works(dock_to_stock_days=2), time=at(1)))
    await sold_out.hear(order(line(2)))
    heard = await sold_out.hear(changed(coming, MUG=4))
    assert heard.one(StockPromiseChanged).lines[0].new_ship_at == local(6, FRIDAY + 4, 15)


async def test_an_older_registration_that_comes_late_changes_no_calendar(sold_out: Desk) -> None:
    await sold_out.hear(order(line(1)))
    await sold_out.hear(supply(3, FRIDAY_EVENING))
    assert not (await sold_out.hear(received(works(dock_to_stock_days=5), time=at(-1)))).outgoing


async def test_the_same_calendar_registered_again_tells_nobody(sold_out: Desk) -> None:
    await sold_out.hear(order(line(1)))
    await sold_out.hear(supply(3, FRIDAY_EVENING))
    assert not (await sold_out.hear(received(works(name="Newark"), time=at(1)))).outgoing


async def test_a_location_without_a_known_calendar_ships_goods_the_moment_they_are_expected(desk: Desk) -> None:
    await desk.hear(products("MUG"))
    await desk.hear(location("east"))
    await desk.hear(order(line(1)))
    assert (await desk.hear(supply(3, FRIDAY_EVENING))).one(StockPromiseChanged).lines[0].new_ship_at == FRIDAY_EVENING
