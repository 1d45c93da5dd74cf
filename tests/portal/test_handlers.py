"""Handlers and their SQL on a real Postgres, with the portal's own rights."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from services.portal import handlers, queries
from services.portal.decide.order import OrderView
from services.portal.reading import read_order_view
from shared.contracts.base import Message
from shared.contracts.envelope import new_id
from shared.messaging.message import Connection, Received, Transaction
from tests.portal import stories
from tests.portal.stories import NOON, at, line, received, units
from tests.portal.telling import hand_over


async def tell(connection: Connection, messages: Sequence[Received[Any]]) -> None:
    """Hands messages to the handlers as the runtime does: one type and one transaction at a time."""
    for message in messages:
        await hand_over(connection, message)


async def view_of(connection: Connection, order_id: UUID) -> OrderView:
    """The order as pages see it."""
    view = await read_order_view(connection, order_id)
    assert view is not None
    return view


async def notified(connection: Connection) -> list[tuple[str, str]]:
    """Kinds and states of all notifications."""
    rows = await connection.fetch("SELECT kind, status FROM notifications ORDER BY kind")
    return [(row["kind"], row["status"]) for row in rows]


class TestTheProjection:
    async def test_an_order_that_nobody_spoke_of_is_unknown(self, connection: Connection) -> None:
        assert await read_order_view(connection, new_id()) is None

    async def test_follows_an_order_from_placing_to_delivery(self, connection: Connection) -> None:
        order, parcel = new_id(), new_id()
        story: list[Message] = [
            stories.placed(order),
            stories.reserved(order),
            stories.started(order, parcel),
            stories.shipped(order, parcel),
            stories.delivered(order, parcel),
        ]
        await tell(connection, [received(message) for message in story])
        view = await view_of(connection, order)
        assert view.status == "delivered"
        assert view.identity is not None
        assert (view.identity.external_id, view.identity.customer_email) == ("#1001", "ada@example.com")
        assert view.ship_to["city"] == "Portland"
        assert [entry.type for entry in view.entries] == [message.type for message in story]

    async def test_events_before_the_order_are_kept_and_merged(self, connection: Connection) -> None:
        order, parcel = new_id(), new_id()
        await tell(connection, [received(stories.shipped(order, parcel)), received(stories.edited(order, 2, [line(quantity=5)]))])
        assert (await view_of(connection, order)).status == "announced"
        await tell(connection, [received(stories.placed(order))])
        view = await view_of(connection, order)
        assert (view.status, view.order_version, view.lines[0].ordered, view.lines[0].shipped) == ("partially_shipped", 2, 5, 2)

    async def test_every_order_of_events_ends_in_the_same_rows(self, connection: Connection) -> None:
        order, parcel, other = new_id(), new_id(), new_id()
        story = [
            received(message)
            for message in (
                stories.placed(order, lines=[line(quantity=3)]),
                stories.reserved(order, 2),
                stories.backordered(order, 1, ship_at=at(500)),
                stories.promise_changed(order, at(900)),
                stories.delayed(order, "silence", at(900)),
                stories.edited(order, 2, [line(quantity=3)]),
                stories.started(order, parcel, [units(quantity=2)]),
                stories.shipped(order, parcel, [units(quantity=2)]),
                stories.shipped(order, other, [units(quantity=1)]),
                stories.delivered(order, parcel),
                stories.refund_succeeded(order, new_id()),
            )
        ]
        await tell(connection, story)
        expected, expected_mail = await view_of(connection, order), await notified(connection)
        shuffler = random.Random(7)
        for _ in range(12):
            await connection.execute("DELETE FROM orders")
            await connection.execute("DELETE FROM order_versions")
            await connection.execute("DELETE FROM notifications")
            other_order = new_id()
            again = [
                Received(
                    event_id=message.event_id,
                    source=message.source,
                    data=message.data.model_copy(update={"order_id": other_order}),
                    time=message.time,
                )
                for message in story
            ]
            shuffler.shuffle(again)
            await tell(connection, again)
            view = await view_of(connection, other_order)
            assert (view.status, view.lines, view.parcels, view.refunds) == (
                expected.status,
                expected.lines,
                expected.parcels,
                expected.refunds,
            )
            assert await notified(connection) == expected_mail

    async def test_one_batch_takes_many_orders_and_the_same_order_often(self, connection: Connection) -> None:
        orders = [new_id() for _ in range(100)]
        async with connection.transaction():
            transaction = Transaction(connection, NOON)
            await handlers.record_placed_orders(transaction, [received(stories.placed(order)) for order in orders])
            await handlers.record_progress(transaction, [received(stories.reserved(order, 1)) for order in orders for _ in range(2)])
        assert await connection.fetchval("SELECT count(*) FROM orders") == 100
        assert await connection.fetchval("SELECT count(*) FROM timeline WHERE type = 'stock.reserved.v1'") == 200

    async def test_the_same_fact_twice_in_one_batch_stands_once(self, connection: Connection) -> None:
        order, parcel = new_id(), new_id()
        async with connection.transaction():
            shipments = [received(stories.shipped(order, parcel)) for _ in range(2)]
            await handlers.record_progress(Transaction(connection, NOON), shipments)
        assert await connection.fetchval("SELECT count(*) FROM timeline") == 1
        assert await notified(connection) == [("shipped", "due")]

    async def test_keeps_the_trace_of_the_order(self, connection: Connection) -> None:
        order = new_id()
        trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        await tell(connection, [received(stories.placed(order), traceparent=f"00-{trace}-00f067aa0ba902b7-01")])
        assert (await view_of(connection, order)).trace_id == trace
        found = await queries.read_trace_id(connection, order)
        assert found is not None
        assert found.hex == trace

    async def test_the_portal_cannot_rewrite_what_happened(self, connection: Connection) -> None:
        order = new_id()
        await tell(connection, [received(stories.reserved(order))])
        for statement in ("UPDATE timeline SET at = now()", "DELETE FROM timeline", "TRUNCATE timeline"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)


class TestNotifications:
    async def test_each_cause_is_told_once_whatever_is_repeated(self, connection: Connection) -> None:
        order, parcel = new_id(), new_id()
        story = [
            stories.placed(order),
            stories.shipped(order, parcel),
            stories.promise_changed(order, at(900)),
            stories.delayed(order, new=at(900)),
            stories.backordered(order),
            stories.backordered(order, cause="shortage"),
        ]
        events = [received(message) for message in story]
        await tell(connection, events)
        await tell(connection, events)
        await tell(connection, [received(message) for message in story[:4]])
        assert await notified(connection) == [
            ("confirmation", "due"),
            ("delay", "due"),
            ("delay", "due"),
            ("shipped", "due"),
        ]

    async def test_two_parcels_are_two_causes(self, connection: Connection) -> None:
        order = new_id()
        await tell(connection, [received(stories.shipped(order, new_id())), received(stories.shipped(order, new_id()))])
        assert await notified(connection) == [("shipped", "due"), ("shipped", "due")]

    async def test_waits_for_the_customers_address(self, connection: Connection) -> None:
        order = new_id()
        await tell(connection, [received(stories.shipped(order, new_id()))])
        lease = NOON + timedelta(minutes=1)
        assert await queries.claim_notifications(connection, NOON, lease, 10) == []
        await tell(connection, [received(stories.placed(order))])
        claimed = await queries.claim_notifications(connection, NOON, lease, 10)
        assert sorted(row["kind"] for row in claimed) == ["confirmation", "shipped"]
        assert {row["customer_email"] for row in claimed} == {"ada@example.com"}

    async def test_a_claimed_mail_is_leased_and_comes_back_when_nobody_settles_it(self, connection: Connection) -> None:
        await tell(connection, [received(stories.placed(new_id()))])
        lease = NOON + timedelta(minutes=1)
        assert len(await queries.claim_notifications(connection, NOON, lease, 10)) == 1
        assert await queries.claim_notifications(connection, NOON, lease, 10) == []
        again = await queries.claim_notifications(connection, lease, lease + timedelta(minutes=1), 10)
        assert [row["attempts"] for row in again] == [2]

    async def test_two_workers_never_claim_the_same_mail(self, connection: Connection, admin: Connection) -> None:
        for _ in range(6):
            await tell(connection, [received(stories.placed(new_id()))])
        lease = NOON + timedelta(minutes=1)
        async with connection.transaction():
            mine = await queries.claim_notifications(connection, NOON, lease, 4)
            async with admin.transaction():
                theirs = await queries.claim_notifications(admin, NOON, lease, 10)
        assert (len(mine), len(theirs)) == (4, 2)
        assert not {row["order_id"] for row in mine} & {row["order_id"] for row in theirs}


class TestSearch:
    async def test_finds_orders_by_number_address_tracking_and_id(self, connection: Connection) -> None:
        order, parcel = new_id(), new_id()
        shipment = stories.shipped(order, parcel)
        await tell(connection, [received(stories.placed(order)), received(shipment)])
        await tell(connection, [received(stories.placed(new_id(), external_id="#2002"))])
        for text, identifier in (
            ("#1001", None),
            (shipment.tracking_number, None),
            (str(order), order),
        ):
            rows = await queries.search_orders(connection, text, identifier, 10)
            assert [row["order_id"] for row in rows] == [order], text
        rows = await queries.search_orders(connection, "ADA@example.com", None, 10)
        assert len(rows) == 2
        assert await queries.search_orders(connection, "nobody@example.com", None, 10) == []
