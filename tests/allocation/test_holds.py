"""Checkout holds: asked for, prolonged, released, expired, confirmed, shrunk."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from services.allocation.handlers.holding import (
    CLOSED_HOLDS_KEPT,
    answer_unreadable_requests,
    forget_closed_holds,
)
from services.allocation.queries.holds import list_hold_lines, read_hold
from shared.contracts.envelope import new_id
from shared.contracts.holds import (
    ChannelHoldAnswered,
    ChannelHoldRejected,
    ChannelHoldRequested,
    ChannelHoldShrunk,
    StockHoldAnswered,
    StockHoldRejected,
)
from shared.contracts.registry import routing_key_of
from shared.contracts.stock import StockAvailabilityChanged, StockBackordered, StockReserved
from shared.messaging.message import Transaction
from shared.messaging.reading import Delivery, Reader, Unreadable
from tests.allocation.conftest import Desk
from tests.allocation.messages import NOW, adjustment, cancellation, kit, line, location, order, products, receipt, received
from tests.allocation.wishes import from_channel, hold, naming, release, sold_by, sweep


@pytest.fixture
async def shop(desk: Desk) -> Desk:
    """Three mugs and two cups."""
    await desk.hear(products("MUG", "CUP"))
    await desk.hear(location("east"))
    await desk.hear(receipt(3), receipt(2, "CUP"))
    return desk


def held_of(answer: StockHoldAnswered | ChannelHoldAnswered) -> dict[str, tuple[int, int]]:
    """Asked for and held, by SKU."""
    return {line.sku: (line.asked, line.held) for line in answer.lines}


async def state_of(desk: Desk, hold_id: UUID) -> str:
    row = await read_hold(desk.connection, hold_id)
    assert row is not None
    return str(row["state"])


async def test_a_hold_keeps_units_from_everybody_else_until_it_ends(shop: Desk) -> None:
    answer = (await shop.hear(hold(("MUG", 2)))).one(StockHoldAnswered)
    assert (answer.outcome, held_of(answer)) == ("held", {"MUG": (2, 2)})
    assert answer.expires_at == NOW + timedelta(seconds=600)
    pool = await shop.pool()
    assert (pool["held"], pool["available"], await shop.ledger("held")) == (2, 1, 2)
    placed = order(line(2))
    await shop.hear(placed)
    assert await shop.line(placed.order_id) == {"units": 2, "reserved": 1, "queued": 1}


async def test_a_hold_for_more_than_exists_holds_what_there_is_and_says_so(shop: Desk) -> None:
    answer = (await shop.hear(hold(("MUG", 5), ("CUP", 1)))).one(StockHoldAnswered)
    assert (answer.outcome, held_of(answer)) == ("partly_held", {"MUG": (5, 3), "CUP": (1, 1)})


async def test_all_or_nothing_holds_nothing_when_one_line_is_short(shop: Desk) -> None:
    wish = hold(("MUG", 5), ("CUP", 1), policy="all_or_nothing")
    answer = (await shop.hear(wish)).one(StockHoldAnswered)
    assert (answer.outcome, held_of(answer), answer.expires_at) == ("nothing_held", {"MUG": (5, 0), "CUP": (1, 0)}, None)
    assert await read_hold(shop.connection, wish.hold_id) is None
    await shop.hear(receipt(2))
    assert (await shop.hear(wish)).one(StockHoldAnswered).outcome == "held"


async def test_a_sku_on_two_lines_of_a_hold_counts_as_both_together(shop: Desk) -> None:
    answer = (await shop.hear(hold(("MUG", 2), ("MUG", 2)))).one(StockHoldAnswered)
    assert held_of(answer) == {"MUG": (4, 3)}


async def test_a_hold_does_not_jump_the_queue(shop: Desk) -> None:
    await shop.hear(order(line(5)))
    assert (await shop.hear(hold())).one(StockHoldAnswered).outcome == "nothing_held"
    await shop.hear(receipt(2))
    assert (await shop.hear(hold())).one(StockHoldAnswered).outcome == "nothing_held"
    await shop.hear(receipt(1))
    assert (await shop.hear(hold())).one(StockHoldAnswered).outcome == "held"


async def test_asking_again_prolongs_the_hold_and_is_answered_the_same(shop: Desk) -> None:
    wish = hold(("MUG", 5))
    first = (await shop.hear(wish)).one(StockHoldAnswered)
    shop.now = NOW + timedelta(seconds=300)
    await shop.hear(receipt(4))
    again = (await shop.hear(wish)).one(StockHoldAnswered)
    assert held_of(again) == held_of(first) == {"MUG": (5, 3)}
    assert again.expires_at == NOW + timedelta(seconds=900)
    shorter = wish.model_copy(update={"ttl_seconds": 10})
    assert (await shop.hear(shorter)).one(StockHoldAnswered).expires_at == again.expires_at
    assert await shop.ledger("held") == 3


async def test_the_same_request_twice_in_one_batch_holds_once(shop: Desk) -> None:
    wish = hold(("MUG", 2))
    answers = (await shop.hear(wish, wish)).of(StockHoldAnswered)
    assert [held_of(answer) for answer in answers] == [{"MUG": (2, 2)}] * 2
    assert (await shop.pool())["held"] == 2


@pytest.mark.parametrize(
    "change",
    [{"lines": hold(("MUG", 2)).lines}, {"lines": hold(("CUP", 1)).lines}, {"policy": "all_or_nothing"}],
    ids=["another quantity", "another SKU", "another policy"],
)
async def test_the_same_id_with_another_content_is_refused(shop: Desk, change: dict[str, Any]) -> None:
    wish = hold()
    await shop.hear(wish)
    refused = (await shop.hear(wish.model_copy(update=change))).one(StockHoldRejected)
    assert (refused.reason, refused.field) == ("different_content", "hold_id")
    assert (await shop.pool())["held"] == 1


async def test_a_hold_of_an_unknown_sku_is_refused_whole_and_names_the_line(shop: Desk) -> None:
    wish = hold(("MUG", 1), ("GHOST", 1))
    refused = (await shop.hear(wish)).one(StockHoldRejected)
    assert (refused.reason, refused.field) == ("unknown_sku", "lines.1.sku")
    assert "register the product" in refused.detail
    assert await read_hold(shop.connection, wish.hold_id) is None
    assert (await shop.pool())["held"] == 0


async def test_a_kit_is_held_by_its_components_and_the_refusal_names_them(shop: Desk) -> None:
    await shop.hear(kit("SET", MUG=2, CUP=1))
    refused = (await shop.hear(hold(("SET", 1)))).one(StockHoldRejected)
    assert (refused.reason, refused.field) == ("kit", "lines.0.sku")
    assert "hold its components: CUP, MUG" in refused.detail
    told = (await shop.hear(hold(("MUG", 2), ("CUP", 1)))).of(StockAvailabilityChanged)
    assert {change.sku: change.available for event in told for change in event.changes} == {"MUG": 1, "CUP": 1, "SET": 0}


async def test_another_channels_hold_can_be_neither_prolonged_nor_released(shop: Desk) -> None:
    wish = hold()
    await shop.hear(wish)
    taken = (await shop.hear(wish.model_copy(update={"channel": "market"}))).one(StockHoldRejected)
    freed = (await shop.hear(release(wish, channel="market"))).one(StockHoldRejected)
    assert (taken.reason, freed.reason) == ("foreign_channel", "foreign_channel")
    assert await state_of(shop, wish.hold_id) == "held"


async def test_a_channel_cannot_ask_in_the_name_of_another_one(shop: Desk) -> None:
    heard = await shop.hear(from_channel(hold(channel="web"), partner="market"))
    refused = heard.one(ChannelHoldRejected)
    assert (refused.channel, refused.reason, refused.problems[0].field) == ("market", "foreign_channel", "channel")
    assert heard.outgoing[0].partner == "market"
    assert (await shop.pool())["held"] == 0


async def test_a_wish_by_queue_is_answered_into_the_channels_own_queue(shop: Desk) -> None:
    heard = await shop.hear(from_channel(hold(("MUG", 1))))
    assert held_of(heard.one(ChannelHoldAnswered)) == {"MUG": (1, 1)}
    said = next(item for item in heard.outgoing if isinstance(item.data, ChannelHoldAnswered))
    assert routing_key_of(type(said.data), said.partner) == "channel.web.hold_answered.v1"
    assert heard.parked == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"lines": [{"sku": "MUG", "quantity": 1.5}]}, "data.lines.0.quantity"),
        ({"lines": [{"sku": "MUG", "quantity": -1}]}, "data.lines.0.quantity"),
        ({"lines": [{"sku": "MUG", "quantity": 0}]}, "data.lines.0.quantity"),
        ({"lines": []}, "data.lines"),
        ({"ttl_seconds": 9}, "data.ttl_seconds"),
        ({"ttl_seconds": 3_601}, "data.ttl_seconds"),
        ({"ttl_seconds": 60.5}, "data.ttl_seconds"),
        ({"hold_id": "17"}, "data.hold_id"),
        ({"policy": "most"}, "data.policy"),
    ],
)
async def test_a_wish_that_cannot_be_is_answered_with_the_field(shop: Desk, changes: dict[str, Any], field: str) -> None:
    wish = hold().model_dump(mode="json") | changes
    document = {
        "specversion": "1.0",
        "id": str(new_id()),
        "source": "adapter",
        "type": ChannelHoldRequested.type,
        "time": NOW.isoformat(),
        "data": wish,
    }
    read = Reader(ChannelHoldRequested).read(Delivery(_json(document), "channel.web.hold_requested.v1"))
    assert isinstance(read.content, Unreadable)
    outgoing = await answer_unreadable_requests(Transaction(shop.connection, NOW), [read.content])
    rejected = outgoing[0].data
    assert isinstance(rejected, ChannelHoldRejected)
    assert (rejected.reason, [problem.field for problem in rejected.problems]) == ("invalid", [field])
    assert rejected.hold_id == (None if field == "data.hold_id" else UUID(wish["hold_id"]))
    assert outgoing[0].partner == "web"


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()


async def test_released_units_go_to_the_queue_first(shop: Desk) -> None:
    wish, waiting = hold(("MUG", 3)), order(line(2))
    await shop.hear(wish)
    await shop.hear(waiting)
    heard = await shop.hear(release(wish))
    answer = heard.one(StockHoldAnswered)
    assert (answer.outcome, answer.lines, answer.expires_at) == ("released", [], None)
    assert heard.one(StockReserved).cause == "restocked"
    assert await shop.line(waiting.order_id) == {"units": 2, "reserved": 2}
    assert (await shop.available(), await shop.ledger("unheld")) == (1, -3)


async def test_releasing_twice_is_as_good_as_once(shop: Desk) -> None:
    wish = hold()
    await shop.hear(wish)
    await shop.hear(release(wish))
    assert (await shop.hear(release(wish))).one(StockHoldAnswered).outcome == "released"
    assert await shop.ledger("unheld") == -1


async def test_a_release_that_comes_before_its_hold_keeps_it_from_coming_to_life(shop: Desk) -> None:
    wish = hold()
    assert (await shop.hear(release(wish))).one(StockHoldAnswered).outcome == "released"
    assert (await shop.hear(wish)).one(StockHoldRejected).reason == "released"
    assert (await shop.pool())["held"] == 0


async def test_a_hold_ends_when_its_time_is_up_and_the_queue_gets_its_units(shop: Desk) -> None:
    wish, longer, waiting = hold(("MUG", 2)), hold(ttl_seconds=1_200), order(line(1))
    await shop.hear(wish, longer)
    await shop.hear(waiting)
    shop.now = NOW + timedelta(seconds=599)
    assert (await sweep(shop)).outgoing == []
    shop.now = NOW + timedelta(seconds=600)
    heard = await sweep(shop)
    assert heard.one(StockReserved).order_id == waiting.order_id
    assert [(change.sku, change.available) for change in heard.one(StockAvailabilityChanged).changes] == [("MUG", 1)]
    assert (await state_of(shop, wish.hold_id), await state_of(shop, longer.hold_id)) == ("expired", "held")
    assert (await shop.hear(wish)).one(StockHoldRejected).reason == "expired"


async def test_an_order_that_names_its_hold_gets_the_held_units_and_nobody_notices(shop: Desk) -> None:
    wish = hold(("MUG", 3))
    await shop.hear(wish)
    rival, placed = order(line(1)), naming(wish, line(3))
    heard = await shop.hear(rival, placed)
    assert await shop.line(placed.order_id) == {"units": 3, "reserved": 3}
    assert await shop.line(rival.order_id) == {"units": 1, "queued": 1}
    assert [told.order_id for told in heard.of(StockReserved)] == [placed.order_id]
    pool = await shop.pool()
    assert (pool["held"], pool["reserved"], pool["available"]) == (0, 3, 0)
    row = await read_hold(shop.connection, wish.hold_id)
    assert row is not None
    assert (row["state"], row["order_id"]) == ("confirmed", placed.order_id)
    assert (await shop.hear(release(wish))).one(StockHoldRejected).reason == "confirmed"
    assert (await shop.hear(wish)).one(StockHoldRejected).reason == "confirmed"


async def test_what_a_hold_has_beyond_its_order_goes_to_the_queue_in_the_same_batch(shop: Desk) -> None:
    wish, early, late = hold(("MUG", 3), ("CUP", 2)), order(line(1)), order(line(1))
    await shop.hear(wish)
    await shop.hear(early)
    heard = await shop.hear(late, naming(wish, line(1)))
    assert await shop.line(early.order_id) == {"units": 1, "reserved": 1}
    assert await shop.line(late.order_id) == {"units": 1, "reserved": 1}
    assert {told.cause for told in heard.of(StockReserved)} == {"placed", "restocked"}
    assert (await shop.available(), await shop.available("CUP")) == (0, 2)


async def test_what_a_hold_has_less_than_its_order_is_reserved_like_any_other(shop: Desk) -> None:
    wish = hold(("MUG", 1))
    await shop.hear(wish)
    placed = naming(wish, line(2), line(3, line_id="2"), line(1, "CUP", "3"))
    heard = await shop.hear(placed)
    assert await shop.line(placed.order_id) == {"units": 2, "reserved": 2}
    assert await shop.line(placed.order_id, "2") == {"units": 3, "reserved": 1, "queued": 2}
    assert await shop.line(placed.order_id, "3") == {"units": 1, "reserved": 1}
    assert [part.quantity for part in heard.one(StockBackordered).lines] == [2]


@pytest.mark.parametrize("case", ["unknown", "expired", "released", "foreign", "used"])
async def test_an_order_whose_hold_is_no_use_is_placed_as_if_it_named_none(shop: Desk, case: str) -> None:
    wish = hold(("MUG", 2))
    placed = naming(wish, line(2), channel="market" if case == "foreign" else None)
    if case != "unknown":
        await shop.hear(wish)
    if case == "released":
        await shop.hear(release(wish))
    if case == "expired":
        shop.now = NOW + timedelta(hours=1)
        await sweep(shop)
    if case == "used":
        await shop.hear(naming(wish, line(2)))
    left = await shop.available()
    await shop.hear(placed)
    taken = min(2, left)
    assert await shop.line(placed.order_id) == {
        name: value for name, value in {"units": 2, "reserved": taken, "queued": 2 - taken}.items() if value
    }


async def test_a_hold_named_by_two_orders_of_one_batch_is_used_once(shop: Desk) -> None:
    wish = hold(("MUG", 2))
    await shop.hear(wish)
    first, second = naming(wish, line(2)), naming(wish, line(2))
    await shop.hear(first, second)
    assert await shop.line(first.order_id) == {"units": 2, "reserved": 2}
    assert await shop.line(second.order_id) == {"units": 2, "reserved": 1, "queued": 1}


async def test_an_order_told_twice_uses_its_hold_once(shop: Desk) -> None:
    wish = hold(("MUG", 2))
    await shop.hear(wish)
    placed = naming(wish, line(2))
    await shop.hear(placed, received(placed))
    assert (await shop.hear(received(placed))).outgoing == []
    assert await shop.line(placed.order_id) == {"units": 2, "reserved": 2}


async def test_a_cancelled_order_gives_back_what_its_hold_brought(shop: Desk) -> None:
    wish = hold(("MUG", 3))
    await shop.hear(wish)
    placed = naming(wish, line(3))
    await shop.hear(placed)
    await shop.hear(cancellation(placed))
    assert await shop.available() == 3


async def test_when_shelves_drop_holds_give_way_before_reservations_and_the_newest_first(shop: Desk) -> None:
    placed, older, newer = order(line(1)), hold(("MUG", 1), ("CUP", 1)), hold(channel="market")
    await shop.hear(placed)
    await shop.hear(older)
    shop.now = NOW + timedelta(seconds=1)
    await shop.hear(newer)
    heard = await shop.hear(adjustment(2))
    shrunk = heard.one(ChannelHoldShrunk)
    assert (shrunk.hold_id, shrunk.channel) == (newer.hold_id, "market")
    assert [(line.sku, line.asked, line.held) for line in shrunk.lines] == [("MUG", 1, 0)]
    assert await shop.line(placed.order_id) == {"units": 1, "reserved": 1}
    assert held_of((await shop.hear(older)).one(StockHoldAnswered)) == {"MUG": (1, 1), "CUP": (1, 1)}
    assert (await shop.hear(newer)).one(StockHoldAnswered).outcome == "nothing_held"
    heard = await shop.hear(adjustment(0))
    assert heard.one(ChannelHoldShrunk).hold_id == older.hold_id
    assert await shop.line(placed.order_id) == {"units": 1, "queued": 1}
    rows = await list_hold_lines(shop.connection, [older.hold_id])
    assert [(row["sku"], row["granted"], row["held"]) for row in rows] == [("CUP", 1, 1), ("MUG", 1, 0)]


async def test_an_order_of_a_shrunken_hold_gets_what_is_left_of_it(shop: Desk) -> None:
    wish = hold(("MUG", 3))
    await shop.hear(wish)
    await shop.hear(adjustment(2))
    placed = naming(wish, line(3))
    await shop.hear(placed)
    assert await shop.line(placed.order_id) == {"units": 3, "reserved": 2, "queued": 1}


async def test_channels_are_told_that_held_units_are_not_for_sale(shop: Desk) -> None:
    told = (await shop.hear(hold(("MUG", 3)), hold(("CUP", 1)))).one(StockAvailabilityChanged)
    assert [(change.sku, change.pool, change.available, change.mode) for change in told.changes] == [
        ("CUP", "default", 1, "in_stock"),
        ("MUG", "default", 0, "backorder"),
    ]
    assert {change.sku: change.stock_version for change in told.changes} == {
        "CUP": (await shop.pool("CUP"))["version"],
        "MUG": (await shop.pool())["version"],
    }


async def test_a_plain_order_asks_the_database_no_more_than_before(shop: Desk) -> None:
    statements: list[str] = []

    def note(record: Any) -> None:
        statements.append(record.query.split()[0])

    shop.audited = False
    await shop.hear(sold_by("web", line(1)))  # the driver asks about column types once per connection
    shop.connection.add_query_logger(note)
    await shop.hear(sold_by("web", line(1)))
    await shop.connection.fetchval("VALUES (1)")
    shop.connection.remove_query_logger(note)
    assert statements == ["BEGIN;", "SELECT", "WITH", "COMMIT;"]


async def test_holds_that_ended_days_ago_are_forgotten(shop: Desk) -> None:
    old, still_open = hold(), hold()
    await shop.hear(old)
    await shop.hear(release(old))
    await shop.hear(still_open.model_copy(update={"ttl_seconds": 3_600}))
    async with shop.connection.transaction():
        await forget_closed_holds(Transaction(shop.connection, NOW + CLOSED_HOLDS_KEPT + timedelta(seconds=1)))
    assert await read_hold(shop.connection, old.hold_id) is None
    assert await state_of(shop, still_open.hold_id) == "held"
