"""Purchase orders in full: what may be said about them, in which order, and what becomes of goods that nobody expected (feature B4)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from shared.contracts.stock import (
    StockAvailabilityChanged,
    StockPromiseChanged,
    StockReserved,
    SupplyChanged,
    SupplyLine,
    SupplyReceiptBooked,
    SupplyReceived,
    SupplyRejected,
    SupplyScheduled,
)
from shared.messaging.reading import Delivery, Reader, Unreadable
from tests.allocation.conftest import Desk
from tests.allocation.messages import (
    NOW,
    PARTNER,
    at,
    changed,
    dropped,
    line,
    location,
    moved,
    order,
    products,
    receipt,
    received,
    supply,
    third_party_receipt,
)


@pytest.fixture
async def sold_out(desk: Desk) -> Desk:
    """Nothing of anything."""
    await desk.hear(products("MUG", "CUP"))
    await desk.hear(location("east"), location("west"))
    return desk


async def supply_line(desk: Desk, supply_id: UUID, sku: str = "MUG") -> dict[str, int]:
    row = await desk.connection.fetchrow(
        "SELECT quantity, received, called_off, over_received, open::int FROM supply_lines WHERE supply_id = $1 AND sku = $2",
        supply_id,
        sku,
    )
    assert row is not None
    return {name: value for name, value in row.items() if value}


async def promised(desk: Desk, order_id: UUID) -> object:
    return await desk.connection.fetchval("SELECT promised_ship_at FROM demand WHERE order_id = $1", order_id)


async def test_more_goods_than_ordered_are_booked_and_the_answer_names_how_many_too_many(sold_out: Desk) -> None:
    coming = supply(4, at(600))
    await sold_out.hear(coming)
    first = (await sold_out.hear(receipt(3, supply_id=coming.supply_id))).one(SupplyReceiptBooked)
    assert first.over_received == 0
    second = (await sold_out.hear(receipt(3, supply_id=coming.supply_id))).one(SupplyReceiptBooked)
    assert (second.over_received, second.lines[0].quantity, second.lines[0].over_received) == (2, 3, 2)
    assert await sold_out.available() == 6
    assert await supply_line(sold_out, coming.supply_id) == {"quantity": 4, "received": 6, "over_received": 2}


async def test_too_many_goods_booked_by_a_3pl_stay_visible(sold_out: Desk) -> None:
    coming = supply(4, at(600))
    await sold_out.hear(coming)
    told = third_party_receipt(5).data.model_copy(update={"supply_id": coming.supply_id})
    await sold_out.hear(received(told, partner=PARTNER))
    assert (await supply_line(sold_out, coming.supply_id))["over_received"] == 1


async def test_goods_that_were_not_on_the_purchase_order_are_booked_and_named(sold_out: Desk) -> None:
    coming = supply(4, at(600))
    await sold_out.hear(coming)
    goods = [SupplyLine(sku="MUG", quantity=4), SupplyLine(sku="CUP", quantity=2)]
    booked = (await sold_out.hear(receipt(1, supply_id=coming.supply_id).model_copy(update={"lines": goods}))).one(SupplyReceiptBooked)
    assert [(part.sku, part.over_received) for part in booked.lines] == [("MUG", 0), ("CUP", 2)]
    assert await sold_out.available("CUP") == 2
    assert await supply_line(sold_out, coming.supply_id, "CUP") == {"received": 2, "over_received": 2}


async def test_goods_without_a_purchase_order_are_not_too_many(sold_out: Desk) -> None:
    assert (await sold_out.hear(receipt(3))).one(SupplyReceiptBooked).over_received == 0


async def test_an_operator_accepts_too_many_goods_by_raising_the_quantity(sold_out: Desk) -> None:
    coming = supply(4, at(600))
    await sold_out.hear(coming)
    await sold_out.hear(receipt(6, supply_id=coming.supply_id))
    await sold_out.hear(changed(coming, MUG=6))
    assert await supply_line(sold_out, coming.supply_id) == {"quantity": 6, "received": 6}


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("location", {"location": "west"}),
        ("expected_at", {"expected_at": at(700)}),
        ("purchase_order", {"purchase_order": "PO-8"}),
        ("lines", {"lines": [SupplyLine(sku="MUG", quantity=5)]}),
    ],
)
async def test_two_schedules_for_one_supply_with_different_content_are_refused_by_field(
    sold_out: Desk, field: str, other: dict[str, Any]
) -> None:
    coming = supply(4, at(600), purchase_order="PO-7")
    await sold_out.hear(coming)
    refused = (await sold_out.hear(coming.model_copy(update=other))).one(SupplyRejected)
    assert (refused.supply_id, refused.field, refused.reason) == (coming.supply_id, field, "scheduled_differently")
    assert refused.detail.startswith(f"{field}: ")
    assert await supply_line(sold_out, coming.supply_id) == {"quantity": 4, "open": 1}


async def test_of_two_different_schedules_in_one_batch_the_first_counts(sold_out: Desk) -> None:
    coming = supply(4, at(600))
    heard = await sold_out.hear(coming, coming, coming.model_copy(update={"expected_at": at(700)}))
    assert heard.one(SupplyRejected).field == "expected_at"
    assert await sold_out.connection.fetchval("SELECT expected_at FROM supplies") == at(600)


async def test_a_schedule_said_again_after_it_was_changed_is_still_the_same_schedule(sold_out: Desk) -> None:
    coming = supply(4, at(600))
    await sold_out.hear(coming)
    await sold_out.hear(moved(coming, at(700)))
    await sold_out.hear(changed(coming, MUG=9))
    assert not (await sold_out.hear(received(coming))).outgoing


async def test_goods_expected_in_the_past_are_refused_and_the_way_out_is_named(sold_out: Desk) -> None:
    refused = (await sold_out.hear(supply(4, NOW - timedelta(days=2)))).one(SupplyRejected)
    assert (refused.field, refused.reason) == ("expected_at", "date_in_the_past")
    assert "supply.received" in refused.detail
    assert await sold_out.connection.fetchval("SELECT count(*) FROM supplies") == 0
    coming = supply(4, at(600))
    await sold_out.hear(coming)
    assert (await sold_out.hear(moved(coming, NOW - timedelta(days=2)))).one(SupplyRejected).field == "expected_at"
    assert await sold_out.connection.fetchval("SELECT expected_at FROM supplies") == at(600)


async def test_a_schedule_that_was_under_way_for_long_is_judged_by_when_it_was_said(sold_out: Desk) -> None:
    said = received(supply(4, at(600)))
    sold_out.now = NOW + timedelta(days=30)
    assert not (await sold_out.hear(said)).of(SupplyRejected)
    assert await sold_out.connection.fetchval("SELECT count(*) FROM supplies") == 1


async def test_fewer_goods_push_promises_out_and_more_pull_them_in(sold_out: Desk) -> None:
    first, second = order(line(2)), order(line(2))
    await sold_out.hear(first, second)
    coming = supply(4, at(600))
    await sold_out.hear(coming, supply(9, at(900)))
    fewer = changed(coming, MUG=3)
    heard = await sold_out.hear(fewer)
    told = heard.one(StockPromiseChanged)
    assert (told.order_id, told.cause, told.cause_id) == (second.order_id, "supply_changed", fewer.change_id)
    assert (told.lines[0].old_ship_at, told.lines[0].new_ship_at) == (at(600), at(900))
    assert not (await sold_out.hear(received(fewer))).outgoing
    told = (await sold_out.hear(changed(coming, MUG=4))).one(StockPromiseChanged)
    assert (told.order_id, told.lines[0].new_ship_at) == (second.order_id, at(600))


async def test_a_sku_that_joins_a_purchase_order_gives_dates(sold_out: Desk) -> None:
    placed = order(line(2, "CUP"))
    await sold_out.hear(placed)
    coming = supply(4, at(600))
    await sold_out.hear(coming)
    assert (await sold_out.hear(changed(coming, CUP=5))).one(StockPromiseChanged).lines[0].new_ship_at == at(600)


async def test_a_quantity_below_what_has_come_is_refused_and_nothing_of_the_change_is_made(sold_out: Desk) -> None:
    coming = supply(4, at(600)).model_copy(update={"lines": [SupplyLine(sku="MUG", quantity=4), SupplyLine(sku="CUP", quantity=4)]})
    await sold_out.hear(coming)
    await sold_out.hear(receipt(3, supply_id=coming.supply_id))
    refused = (await sold_out.hear(changed(coming, CUP=9, MUG=2))).one(SupplyRejected)
    assert (refused.field, refused.reason) == ("lines", "less_than_received")
    assert (await supply_line(sold_out, coming.supply_id, "CUP"))["quantity"] == 4


async def test_an_older_change_of_quantity_that_comes_late_changes_nothing(sold_out: Desk) -> None:
    coming = supply(4, at(600))
    await sold_out.hear(coming)
    await sold_out.hear(received(changed(coming, MUG=9), time=at(2)))
    await sold_out.hear(received(changed(coming, MUG=7), time=at(1)))
    assert (await supply_line(sold_out, coming.supply_id))["quantity"] == 9


async def test_a_partly_received_supply_is_closed_with_what_has_come(sold_out: Desk) -> None:
    first, second = order(line(2)), order(line(2))
    await sold_out.hear(first, second)
    coming = supply(4, at(600))
    await sold_out.hear(coming)
    await sold_out.hear(receipt(2, supply_id=coming.supply_id))
    told = (await sold_out.hear(dropped(coming))).one(StockPromiseChanged)
    assert (told.order_id, told.lines[0].new_ship_at) == (second.order_id, None)
    assert await supply_line(sold_out, coming.supply_id) == {"quantity": 4, "received": 2, "called_off": 2}
    late = await sold_out.hear(receipt(2, supply_id=coming.supply_id))
    assert late.one(SupplyReceiptBooked).over_received == 2
    assert late.one(StockReserved).order_id == second.order_id
    assert (await sold_out.hear(changed(coming, MUG=9))).one(SupplyRejected).reason == "cancelled"


async def test_whatever_is_said_before_the_schedule_waits_for_it_and_then_has_its_effect(sold_out: Desk) -> None:
    coming = supply(4, at(600))
    said = [receipt(3, supply_id=coming.supply_id), moved(coming, at(700)), changed(coming, MUG=5)]
    for message in said:
        assert (await sold_out.hear(message)).deferred
    await sold_out.hear(coming)
    for message in reversed(said):
        assert not (await sold_out.hear(message)).deferred
    assert await supply_line(sold_out, coming.supply_id) == {"quantity": 5, "received": 3, "open": 1}
    assert await sold_out.connection.fetchval("SELECT expected_at FROM supplies") == at(700)


async def test_supply_of_an_unknown_sku_waits_and_changes_nothing(sold_out: Desk) -> None:
    coming = supply(4, at(600))
    await sold_out.hear(coming)
    for message in (
        coming.model_copy(update={"supply_id": order().order_id, "lines": [SupplyLine(sku="GHOST", quantity=1)]}),
        receipt(1, "GHOST", supply_id=coming.supply_id),
        changed(coming, MUG=9, GHOST=1),
    ):
        heard = await sold_out.hear(message)
        assert "'GHOST' not registered" in heard.deferred[0]
        assert not heard.outgoing
    assert await supply_line(sold_out, coming.supply_id) == {"quantity": 4, "open": 1}


@pytest.mark.parametrize("quantity", [-1, 0, 1.5, "2", None, 2_000_000])
@pytest.mark.parametrize("message", [SupplyScheduled, SupplyReceived])
def test_negative_or_fractional_units_are_named_by_field(message: type[Any], quantity: object) -> None:
    said = supply(1, at(600)) if message is SupplyScheduled else receipt(1)
    data = said.model_dump(mode="json") | {"lines": [{"sku": "MUG", "quantity": quantity}]}
    assert "lines.0.quantity" in _problem(message, data)


@pytest.mark.parametrize("quantity", [-1, 1.5, "2"])
def test_a_change_to_negative_or_fractional_units_is_named_by_field(quantity: object) -> None:
    data = changed(supply(1, at(600)), MUG=1).model_dump(mode="json") | {"lines": [{"sku": "MUG", "quantity": quantity}]}
    assert "lines.0.quantity" in _problem(SupplyChanged, data)


def _problem(message: type[Any], data: dict[str, Any]) -> str:
    """What the reader says to a message that breaks its contract."""
    body = {"specversion": "1.0", "id": str(order().order_id), "source": "tests", "type": message.type, "data": data}
    content = Reader(message).read(Delivery(json.dumps(body).encode(), message.type)).content
    assert isinstance(content, Unreadable)
    return content.reason


async def test_changes_of_supply_tell_channels_when_the_next_order_would_ship(sold_out: Desk) -> None:
    coming = supply(4, at(600))
    assert (await sold_out.hear(coming)).one(StockAvailabilityChanged).changes[0].next_ship_at == at(600)
    assert (await sold_out.hear(changed(coming, MUG=0))).one(StockAvailabilityChanged).changes[0].next_ship_at is None
