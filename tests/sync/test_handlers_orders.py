"""Orders in: new, repeated, contradicted, wrong, at once."""

from __future__ import annotations

import asyncio

import pytest

from services.sync.handlers import catalogue, orders
from services.sync.queries.channels import register_channel
from shared.contracts.channels import ChannelOrderReceived, ChannelOrderRejected, FieldProblem
from shared.contracts.envelope import new_id
from shared.contracts.orders import OrderPlaced
from shared.messaging.message import Connection, Transaction
from shared.messaging.reading import Delivery, Reader, Unreadable
from tests.conftest import Databases
from tests.sync.conftest import Desk
from tests.sync.messages import NOW, a_line, an_order, cancelled, edited, listings, products, received


@pytest.fixture
async def desk(desk: Desk) -> Desk:
    """A channel that lists a mug and a lamp."""
    await desk.set_up("MUG", "LAMP")
    return desk


async def stored(connection: Connection) -> int:
    count: int = await connection.fetchval("SELECT count(*) FROM channel_orders")
    return count


async def test_a_good_order_is_placed_with_what_the_product_master_knows(desk: Desk) -> None:
    message = received(
        an_order(lines=[a_line("MUG", 2), a_line("LAMP", line="b")]), partner="shop", traceparent=f"00-{'a' * 32}-{'b' * 16}-01"
    )
    handled = await desk.handle(orders.receive_orders, message)
    [outgoing] = handled.outgoing
    assert isinstance(outgoing.data, OrderPlaced)
    assert [(line.line_id, line.sku, line.title, line.unit_weight_grams) for line in outgoing.data.lines] == [
        ("a", "MUG", "The MUG", 300),
        ("b", "LAMP", "The LAMP", 300),
    ]
    assert outgoing.data.order_id.version == 7
    assert outgoing.subject == str(outgoing.data.order_id)
    assert outgoing.because is message
    assert (handled.parked, handled.deferred) == ({}, {})


async def test_the_same_order_under_another_event_id_changes_nothing(desk: Desk) -> None:
    await desk.place()
    handled = await desk.handle(orders.receive_orders, received(an_order(), partner="shop"))
    assert (handled.outgoing, handled.parked) == ([], {})
    assert await stored(desk.connection) == 1


async def test_different_content_for_a_known_external_id_is_parked_and_its_adapter_told(desk: Desk) -> None:
    await desk.place()
    message = received(an_order(shipping_paid_cents=1), partner="shop")
    handled = await desk.handle(orders.receive_orders, message)
    assert "different content for external id '1001'" in handled.parked[message.event_id]
    [outgoing] = handled.outgoing
    assert isinstance(outgoing.data, ChannelOrderRejected)
    assert (outgoing.partner, outgoing.data.channel, outgoing.data.external_id) == ("shop", "shop", "1001")
    assert (outgoing.data.event_id, outgoing.data.rejected_at) == (message.event_id, NOW)
    assert outgoing.data.problems[0].field == "external_id"


async def test_of_two_contents_in_one_batch_one_is_placed_and_one_rejected(desk: Desk) -> None:
    first, second = received(an_order(), partner="shop"), received(an_order(shipping_paid_cents=1), partner="shop")
    handled = await desk.handle(orders.receive_orders, first, second)
    assert len(handled.said(OrderPlaced)) == 1
    assert len(handled.said(ChannelOrderRejected)) == 1
    assert list(handled.parked) == [second.event_id]


async def test_repetitions_within_one_batch_place_one_order(desk: Desk) -> None:
    handled = await desk.handle(orders.receive_orders, *(received(an_order(), partner="shop") for _ in range(5)))
    assert [type(outgoing.data) for outgoing in handled.outgoing] == [OrderPlaced]
    assert handled.parked == {}


async def test_two_channels_may_use_the_same_external_id(desk: Desk) -> None:
    await desk.set_up("MUG", channels=("outlet",))
    handled = await desk.handle(
        orders.receive_orders, received(an_order(), partner="shop"), received(an_order(channel="outlet"), partner="outlet")
    )
    assert len(handled.said(OrderPlaced)) == 2


async def test_one_bad_order_does_not_disturb_the_good_ones_of_its_batch(desk: Desk) -> None:
    bad = received(an_order(external_id="bad", lines=[a_line("SOFA")]), partner="shop")
    good = [received(an_order(external_id=str(number)), partner="shop") for number in range(20)]
    handled = await desk.handle(orders.receive_orders, *good[:10], bad, *good[10:])
    assert {placed.external_id for placed in handled.said(OrderPlaced)} == {str(number) for number in range(20)}
    [rejected] = handled.said(ChannelOrderRejected)
    assert (rejected.external_id, rejected.problems[0].field) == ("bad", "lines.0.sku")
    assert list(handled.parked) == [bad.event_id]
    assert "SOFA" in handled.parked[bad.event_id]


async def test_a_parked_order_goes_through_when_redriven_after_its_listing_was_registered(desk: Desk) -> None:
    await desk.handle(catalogue.register_products, received(products("CHAIR")))
    message = received(an_order(lines=[a_line("CHAIR")]), partner="shop")
    first = await desk.handle(orders.receive_orders, message)
    assert [problem.problem for problem in first.said(ChannelOrderRejected)[0].problems] == ["SKU 'CHAIR' is not listed on channel 'shop'"]
    second = await desk.handle(orders.receive_orders, message)
    assert len(second.outgoing) == 1, "each attempt says its rejection once"
    await desk.handle(catalogue.register_listings, received(listings("CHAIR")))
    third = await desk.handle(orders.receive_orders, message)
    assert len(third.said(OrderPlaced)) == 1
    assert third.parked == {}


async def test_an_order_placed_before_its_sku_was_delisted_may_be_repeated(desk: Desk) -> None:
    await desk.place()
    await desk.connection.execute("DELETE FROM listings")
    handled = await desk.handle(orders.receive_orders, received(an_order(), partner="shop"))
    assert (handled.outgoing, handled.parked) == ([], {})


async def test_an_order_for_another_channel_is_rejected_to_the_one_who_sent_it(desk: Desk) -> None:
    await desk.set_up("MUG", channels=("outlet",))
    handled = await desk.handle(orders.receive_orders, received(an_order(channel="outlet"), partner="shop"))
    [outgoing] = handled.outgoing
    assert isinstance(outgoing.data, ChannelOrderRejected)
    assert (outgoing.partner, outgoing.data.channel, outgoing.data.problems[0].field) == ("shop", "shop", "channel")
    assert await stored(desk.connection) == 0


async def test_a_bad_order_is_parked_even_when_nobody_can_be_told(desk: Desk) -> None:
    message = received(an_order(), partner="NO CODE")
    handled = await desk.handle(orders.receive_orders, message)
    assert (handled.outgoing, list(handled.parked)) == ([], [message.event_id])


async def test_unreadable_messages_are_answered_field_by_field(desk: Desk) -> None:
    body = b'{"specversion":"1.0","id":"0199","data":{"external_id":"1001","channel":"shop"}}'
    read = Reader(ChannelOrderReceived).read(Delivery(body, "channel.shop.order_received.v1"))
    assert isinstance(read.content, Unreadable)
    async with desk.connection.transaction():
        [answer] = await orders.answer_unreadable_orders(Transaction(desk.connection, NOW), [read.content])
    assert isinstance(answer.data, ChannelOrderRejected)
    assert (answer.partner, answer.data.external_id) == ("shop", "1001")
    assert {"source", "type", "data.paid_at", "data.lines"} <= {problem.field for problem in answer.data.problems}


async def test_unreadable_messages_without_a_partner_are_answered_to_nobody(desk: Desk) -> None:
    problem = FieldProblem(field="body", problem="not JSON", remedy="send JSON")
    async with desk.connection.transaction():
        assert (
            await orders.answer_unreadable_orders(Transaction(desk.connection, NOW), [Unreadable(new_id(), None, (problem,), None)]) == []
        )


async def test_one_external_id_arriving_twenty_times_at_once_is_one_order(desk: Desk, databases: Databases) -> None:
    desks = [Desk(await databases.connect("sync")) for _ in range(20)]
    handled = await asyncio.gather(
        *(
            each.handle(orders.receive_orders, received(an_order(shipping_paid_cents=number % 2), partner="shop"))
            for number, each in enumerate(desks)
        )
    )
    assert sum(len(batch.said(OrderPlaced)) for batch in handled) == 1
    assert sum(len(batch.said(ChannelOrderRejected)) for batch in handled) == 10, "the other content is rejected each time"
    assert await stored(desk.connection) == 1


async def blocked(connection: Connection, expected: int) -> None:
    """Returns once so many sessions wait for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    for _ in range(1_000):
        if await connection.fetchval(waiting) >= expected:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{expected} sessions should have waited for a lock")


async def test_batches_that_overlap_in_opposite_order_do_not_deadlock(desk: Desk, databases: Databases) -> None:
    batch = [received(an_order(external_id=f"{number:03}"), partner="shop") for number in range(100)]
    holder, watcher = Desk(await databases.connect("sync")), await databases.connect_as_admin()
    desks = [Desk(await databases.connect("sync")) for _ in range(2)]
    # Somebody holds a key in the middle, so that both batches have certainly begun when it is let go.
    transaction = holder.connection.transaction()
    await transaction.start()
    await orders.receive_orders(Transaction(holder.connection, NOW), [received(an_order(external_id="050"), partner="shop")])
    at_work = [asyncio.create_task(each.handle(orders.receive_orders, *batch[::step])) for each, step in zip(desks, (1, -1), strict=True)]
    await blocked(watcher, 2)
    await transaction.rollback()
    handled = await asyncio.gather(*at_work)
    assert sum(len(each.said(OrderPlaced)) for each in handled) == 100


async def test_a_batch_of_new_orders_costs_two_round_trips(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    statements = []
    desk.connection.add_query_logger(lambda record: statements.append(record.query))
    async with desk.connection.transaction():
        statements.clear()
        await orders.receive_orders(
            Transaction(desk.connection, NOW), [received(an_order(external_id=str(number)), partner="shop") for number in range(200)]
        )
        assert len(statements) == 2


async def test_an_edit_replaces_the_lines_and_an_older_one_changes_nothing(desk: Desk) -> None:
    placed = await desk.place()
    await desk.handle(orders.record_edits, received(edited(placed, 3, 7)), received(edited(placed, 2, 5)))
    await desk.handle(orders.record_edits, received(edited(placed, 2, 4)))
    row = await desk.connection.fetchrow("SELECT order_version, lines FROM channel_orders")
    assert row is not None
    assert (row["order_version"], row["lines"]) == (3, [{"line_id": "a", "sku": "MUG", "quantity": 7}])


async def test_the_first_word_about_a_cancellation_stands(desk: Desk) -> None:
    placed = await desk.place()
    await desk.handle(orders.record_cancellations, received(cancelled(placed, reason="first")))
    await desk.handle(orders.record_cancellations, received(cancelled(placed, reason="second")))
    assert await desk.connection.fetchval("SELECT cancel_reason FROM channel_orders") == "first"


async def test_news_of_an_order_that_is_not_here_yet_waits(desk: Desk) -> None:
    placed = await desk.place()
    elsewhere = placed.model_copy(update={"order_id": new_id()})
    cancel, edit = received(cancelled(elsewhere)), received(edited(elsewhere, 2, 1))
    assert list((await desk.handle(orders.record_cancellations, cancel)).deferred) == [cancel.event_id]
    assert list((await desk.handle(orders.record_edits, edit)).deferred) == [edit.event_id]


async def test_no_personal_data_is_kept(desk: Desk) -> None:
    await desk.place()
    text = await desk.connection.fetchval("SELECT string_agg(to_jsonb(o)::text, '') FROM channel_orders o")
    assert not any(secret in text for secret in ("Ann", "ann@example.com", "Main St", "78701"))


async def test_a_channel_becomes_known_once(desk: Desk) -> None:
    assert await register_channel(desk.connection, "shop", NOW) is True
    assert await register_channel(desk.connection, "new", NOW) is False
    assert await register_channel(desk.connection, "new", NOW) is True


async def test_a_nul_character_anywhere_is_rejected_and_disturbs_nobody(desk: Desk) -> None:
    hostile = [
        received(an_order(external_id="a\x00b"), partner="shop"),
        received(an_order(external_id="2", customer={"email": "a\x00@b"}), partner="shop"),
        received(an_order(external_id="3", lines=[a_line("MUG", line="\x00")]), partner="shop"),
    ]
    handled = await desk.handle(orders.receive_orders, *hostile, received(an_order(external_id="4"), partner="shop"))
    assert set(handled.parked) == {message.event_id for message in hostile}
    assert [placed.external_id for placed in handled.said(OrderPlaced)] == ["4"]
    assert {rejected.external_id for rejected in handled.said(ChannelOrderRejected)} == {None, "2", "3"}
    assert await desk.connection.fetchval("SELECT count(*) FROM outbox WHERE convert_from(body, 'UTF8')::jsonb IS NOT NULL") > 3
