"""Refunds and shipment notices: booked once."""

from __future__ import annotations

import asyncio

import pytest

from services.sync.handlers import refunds, shipments
from shared.contracts.envelope import new_id
from tests.conftest import Databases
from tests.sync.conftest import Desk
from tests.sync.messages import a_refund, received, shipped


@pytest.fixture
async def desk(desk: Desk) -> Desk:
    """A channel that lists a mug."""
    await desk.set_up("MUG")
    return desk


async def amounts(desk: Desk) -> list[int]:
    return [row["amount_cents"] for row in await desk.connection.fetch("SELECT amount_cents FROM refunds ORDER BY refund_id")]


async def test_a_refund_is_booked_once_however_often_it_is_asked_for(desk: Desk) -> None:
    placed = await desk.place()
    refund = a_refund(placed, 1600)
    await desk.handle(refunds.request_refunds, received(refund), received(refund))
    await desk.handle(refunds.request_refunds, received(refund))
    assert await amounts(desk) == [1600]


async def test_two_equal_partial_refunds_are_both_booked(desk: Desk) -> None:
    placed = await desk.place()
    await desk.handle(refunds.request_refunds, received(a_refund(placed, 1600)), received(a_refund(placed, 1600)))
    assert await amounts(desk) == [1600, 1600]


async def test_more_than_was_paid_is_parked_with_the_figures(desk: Desk) -> None:
    placed = await desk.place()
    message = received(a_refund(placed, 3201))
    handled = await desk.handle(refunds.request_refunds, message)
    assert handled.parked[message.event_id].startswith("amount_cents: 3201 is more than the 3200 cents that are left")
    assert await amounts(desk) == []


async def test_refunds_of_an_order_that_is_not_here_yet_wait(desk: Desk) -> None:
    placed = await desk.place()
    message = received(a_refund(placed, 100, order_id=new_id()))
    assert list((await desk.handle(refunds.request_refunds, message)).deferred) == [message.event_id]


async def test_concurrent_refunds_never_exceed_what_was_paid(desk: Desk, databases: Databases) -> None:
    placed = await desk.place()
    desks = [Desk(await databases.connect("sync")) for _ in range(8)]
    handled = await asyncio.gather(*(each.handle(refunds.request_refunds, received(a_refund(placed, 1000))) for each in desks))
    assert await amounts(desk) == [1000, 1000, 1000]
    assert sum(len(each.parked) for each in handled) == 5


async def test_a_refused_refund_requested_again_is_due_again_under_its_key(desk: Desk) -> None:
    placed = await desk.place()
    refund = a_refund(placed, 1600)
    await desk.handle(refunds.request_refunds, received(refund))
    await desk.connection.execute("UPDATE refunds SET state = 'failed', attempts = 1, due_at = NULL, settled_at = now()")
    again = received(refund)
    await desk.handle(refunds.request_refunds, again)
    row = await desk.connection.fetchrow("SELECT state, due_at, attempts, settled_at, cause_event_id FROM refunds")
    assert row is not None
    assert tuple(row) == ("requested", desk.now, 1, None, again.event_id)


async def test_a_parcel_is_announced_once_however_often_it_is_heard_of(desk: Desk) -> None:
    placed = await desk.place()
    parcel = shipped(placed)
    await desk.handle(shipments.schedule_notices, received(parcel), received(parcel))
    await desk.handle(shipments.schedule_notices, received(parcel))
    rows = await desk.connection.fetch("SELECT channel, external_id, state, due_at, lines FROM shipment_notices")
    assert [tuple(row) for row in rows] == [("shop", "1001", "due", desk.now, [{"line_id": "a", "sku": "MUG", "quantity": 2}])]


async def test_a_parcel_of_an_order_that_is_not_here_yet_waits(desk: Desk) -> None:
    placed = await desk.place()
    message = received(shipped(placed, order_id=new_id()))
    assert list((await desk.handle(shipments.schedule_notices, message)).deferred) == [message.event_id]
