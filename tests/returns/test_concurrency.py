"""Two people at once, on connections of their own: whatever they do to the same units and money, one of them wins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.contracts.base import Message
from shared.contracts.orders import OrderPlaced
from shared.contracts.returns import RefundExecutionRequested, ReturnApproved, ReturnClosed, ReturnDeclined, ReturnScanRejected
from tests.conftest import Databases
from tests.returns.conftest import Desk, Heard
from tests.returns.messages import RENO, a_cancellation, a_line, a_refund, a_return, a_scan, a_shipment, an_edit, an_order, money_moved

PEOPLE = 8


@pytest.fixture
async def desks(databases: Databases) -> AsyncIterator[list[Desk]]:
    """Several desks on one database; the books must balance at the end."""
    desks = [Desk(await databases.connect("returns")) for _ in range(PEOPLE)]
    await desks[0].hear(RENO)
    yield desks
    assert await desks[0].violations() == []


async def all_at_once(desks: list[Desk], messages: list[Message]) -> list[Heard]:
    """Each desk hears one message, all at the same time."""
    return await asyncio.gather(*(desk.hear(message) for desk, message in zip(desks, messages, strict=True)))


async def shipped_order(desk: Desk) -> OrderPlaced:
    """Three mugs that have left."""
    order = an_order()
    await desk.hear(order)
    await desk.hear(a_shipment(order))
    return order


async def test_eight_browser_tabs_and_three_units_three_may_come_back(desks: list[Desk]) -> None:
    order = await shipped_order(desks[0])
    heard = await all_at_once(desks, [a_return(order.order_id, {"1": 1}) for _ in desks])
    assert sum(len(item.of(ReturnApproved)) for item in heard) == 3
    assert sum(len(item.of(ReturnDeclined)) for item in heard) == 5


async def test_two_tabs_and_one_unit_one_effect(desks: list[Desk]) -> None:
    order = await shipped_order(desks[0])
    await desks[0].hear(a_return(order.order_id, {"1": 2}))
    heard = await all_at_once(desks[:2], [a_return(order.order_id, {"1": 1}) for _ in range(2)])
    assert sorted(len(item.of(ReturnApproved)) for item in heard) == [0, 1]


async def test_the_same_request_from_eight_tabs_is_one_return(desks: list[Desk]) -> None:
    order = await shipped_order(desks[0])
    request = a_return(order.order_id, {"1": 1})
    heard = await all_at_once(desks, [request for _ in desks])
    assert sum(len(item.outgoing) for item in heard) == 1


async def test_eight_scanners_and_one_parcel_never_book_more_than_was_approved(desks: list[Desk]) -> None:
    order = await shipped_order(desks[0])
    approved = (await desks[0].hear(a_return(order.order_id, {"1": 3}))).one(ReturnApproved)
    heard = await all_at_once(desks, [a_scan(approved.return_id, {"1": 2}, closes=False) for _ in desks])
    assert sum(len(item.of(RefundExecutionRequested)) for item in heard) == 1
    assert sum(len(item.of(ReturnScanRejected)) for item in heard) == 7


async def test_the_same_scan_from_two_scanners_pays_once(desks: list[Desk]) -> None:
    order = await shipped_order(desks[0])
    approved = (await desks[0].hear(a_return(order.order_id, {"1": 3}))).one(ReturnApproved)
    scan = a_scan(approved.return_id, {"1": 3})
    heard = await all_at_once(desks, [scan for _ in desks])
    assert sum(len(item.of(RefundExecutionRequested)) for item in heard) == 1


async def test_concurrent_refunds_of_one_order_never_exceed_what_was_captured(desks: list[Desk]) -> None:
    order = an_order()
    cancelled = a_cancellation(order)
    await desks[0].hear(order)
    await desks[0].hear(cancelled)
    heard = await all_at_once(desks, [a_refund(order.order_id, {"1": 1_000}, cause_id=cancelled.change_id) for _ in desks])
    assert sum(len(item.of(RefundExecutionRequested)) for item in heard) == 3
    assert sum(len(item.parked) for item in heard) == 5


async def test_two_last_refunds_that_succeed_at_once_close_their_return_once(desks: list[Desk]) -> None:
    order = await shipped_order(desks[0])
    approved = (await desks[0].hear(a_return(order.order_id, {"1": 3}))).one(ReturnApproved)
    asked = [
        (await desks[0].hear(a_scan(approved.return_id, {"1": 1}, closes=False))).one(RefundExecutionRequested),
        (await desks[0].hear(a_scan(approved.return_id, {"1": 2}))).one(RefundExecutionRequested),
    ]
    heard = await all_at_once(desks[:2], [money_moved(item.refund_id, order.order_id, item.amount_cents) for item in asked])
    closed = [message for item in heard for message in item.of(ReturnClosed)]
    assert [message.refunded_cents for message in closed] == [3_100]


async def test_edit_refund_and_return_at_once_end_in_balanced_books(desks: list[Desk]) -> None:
    order = await shipped_order(desks[0])
    edit = an_edit(order, a_line("1", 3, 900, 90))
    refund = a_refund(order.order_id, {"1": 310}, cause="edited", cause_id=edit.change_id)
    heard = await all_at_once(desks[:4], [edit, refund, a_return(order.order_id, {"1": 1}), a_return(order.order_id, {"1": 2})])
    # Where both returns were first they hold the line's money: the refund waits for its edit, is tried again and shown to a person.
    settled = await desks[1].hear(refund) if heard[1].deferred else heard[1]
    assert settled.deferred == []
    row = await desks[0].connection.fetchrow("SELECT captured_cents, edited_cents, held_cents FROM order_lines")
    assert row is not None
    assert row["edited_cents"] == (0 if settled.parked else 310)
    assert row["edited_cents"] + row["held_cents"] <= 3_100
