"""Channels change orders: passed on once with what the product master knows, the outcome told once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.sync.decide.edits import content_of
from services.sync.handlers import edits, orders
from shared.contracts.channels import ChannelEditDecided, ChannelEditRequested
from shared.contracts.orders import OrderEditRejected, OrderEditRequested
from tests.conftest import Databases
from tests.sync.conftest import Desk, Handled
from tests.sync.messages import edited, received


@pytest.fixture
async def desk(desk: Desk) -> Desk:
    """A channel that lists a mug and a lamp."""
    await desk.set_up("MUG", "LAMP")
    return desk


def changes(*lines: dict[str, Any], **more: Any) -> ChannelEditRequested:
    return ChannelEditRequested.model_validate(
        {"channel": "shop", "external_id": "1001", "edit_id": "e-1", "line_changes": list(lines), **more}
    )


async def ask(desk: Desk, *requests: ChannelEditRequested, partner: str = "shop") -> Handled:
    return await desk.handle(edits.pass_on_edits, *(received(request, partner=partner) for request in requests))


async def test_an_edit_by_a_channel_is_passed_on_once_with_what_the_product_master_knows(desk: Desk) -> None:
    early = await ask(desk, changes({"external_line_id": "a", "quantity": 1}))
    assert (early.outgoing, "has not been placed here yet" in str(early.deferred)) == ([], True)
    placed = await desk.place()
    request = changes(
        {"external_line_id": "a", "quantity": 1},
        {"sku": "LAMP", "quantity": 2, "unit_price_cents": 700, "tax_cents": 30},
        expected_order_version=1,
        service_level="two_day",
    )
    others = changes({"external_line_id": "a", "quantity": 0}), changes({"sku": "SOFA", "quantity": 1})
    heard = await ask(desk, request, *others, request)
    [command] = heard.said(OrderEditRequested)
    assert (len(heard.outgoing), len(heard.parked)) == (1, 2)
    assert (command.order_id, command.actor.kind, command.actor.name) == (placed.order_id, "channel", "shop")
    assert (command.expected_order_version, command.service_level) == (1, "two_day")
    kept, added = command.line_changes
    assert (kept.line_id, kept.quantity, kept.unit_price_cents, kept.tax_cents) == ("a", 1, None, None)
    assert (added.sku, added.unit_price_cents, added.tax_cents, added.title) == ("LAMP", 700, 30, "The LAMP")
    assert (added.unit_weight_grams, added.unit_volume_cubic_centimetres) == (300, 2_000)
    again = await ask(desk, request)
    assert (again.outgoing, again.parked) == ([], {})
    for other in others:
        heard = await ask(desk, other)
        assert (heard.outgoing, "was used for another edit" in str(heard.parked)) == ([], True)
    foreign = await ask(desk, request, partner="outlet")
    assert (foreign.outgoing, "is not the channel 'outlet' that sent it" in str(foreign.parked)) == ([], True)


async def test_what_a_channel_says_of_the_price_of_a_line_is_not_lost_on_the_way_to_who_knows_the_price(desk: Desk) -> None:
    await desk.place()
    [command] = (await ask(desk, changes({"external_line_id": "a", "quantity": 1, "unit_price_cents": 9, "tax_cents": 1}))).said(
        OrderEditRequested
    )
    [change] = command.line_changes
    assert (change.unit_price_cents, change.tax_cents) == (9, 1)


@pytest.mark.parametrize("quantity", [1, 2])
async def test_of_two_edits_of_one_name_at_the_same_moment_one_is_passed_on_and_another_one_is_parked(
    desk: Desk, databases: Databases, quantity: int
) -> None:
    await desk.place()
    first, second = (changes({"external_line_id": "a", "quantity": count}) for count in (1, quantity))
    heard = await asyncio.gather(ask(desk, first), ask(Desk(await databases.connect("sync")), second))
    assert sum(len(each.said(OrderEditRequested)) for each in heard) == 1
    assert sum(len(each.parked) for each in heard) == quantity - 1


def test_an_edit_sent_again_after_the_contract_has_grown_is_the_same_edit() -> None:
    class Later(ChannelEditRequested):
        gift_note: str | None = None

    asked = changes({"external_line_id": "a", "quantity": 1})
    assert content_of(Later.model_validate(asked.model_dump())) == content_of(asked)


async def test_two_channels_may_use_the_same_names_and_each_hears_of_its_own_order(desk: Desk) -> None:
    await desk.set_up("MUG", channels=("outlet",))
    placed = {channel: await desk.place(channel=channel) for channel in ("shop", "outlet")}
    request = changes({"external_line_id": "a", "quantity": 1})
    commands = {
        channel: (await ask(desk, request.model_copy(update={"channel": channel}), partner=channel)).said(OrderEditRequested)
        for channel in placed
    }
    for channel in ("outlet", "shop"):
        [command] = commands[channel]
        assert command.order_id == placed[channel].order_id
        answer = OrderEditRejected(order_id=command.order_id, order_version=1, change_id=command.change_id, reason="invalid", detail="no")
        [told] = (await desk.handle(edits.tell_outcomes, received(answer))).outgoing
        assert isinstance(told.data, ChannelEditDecided)
        assert (told.partner, told.data.channel, told.data.external_id) == (channel, channel, "1001")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ({"sku": "SOFA", "quantity": 1, "unit_price_cents": 1}, "line_changes.0.sku: SKU 'SOFA' is not known"),
        ({"sku": "LAMP", "quantity": 1}, "line_changes.0.unit_price_cents: an added line has no price"),
        ({"quantity": 1}, "line_changes.0: names no line"),
    ],
)
async def test_an_edit_that_adds_what_cannot_be_sold_is_refused_by_field_and_may_come_again_corrected(
    desk: Desk, line: dict[str, Any], problem: str
) -> None:
    await desk.place()
    [decided] = (await ask(desk, changes(line))).said(ChannelEditDecided)
    assert (decided.edit_id, decided.outcome, decided.reason, problem in decided.detail) == ("e-1", "refused", "invalid", True)
    assert len((await ask(desk, changes({"external_line_id": "a", "quantity": 1}))).said(OrderEditRequested)) == 1


async def test_an_edit_to_an_address_that_a_label_would_show_empty_is_refused_by_field_and_may_come_again_corrected(desk: Desk) -> None:
    await desk.place()
    place = {"name": "Ann", "line1": "2 Main St", "city": "Austin", "postal_code": "78701", "country": "US"}
    [decided] = (await ask(desk, changes(ship_to={**place, "line1": " ", "city": "\t"}))).said(ChannelEditDecided)
    assert (decided.outcome, decided.reason) == ("refused", "invalid")
    assert [part.split(" (")[0] for part in decided.detail.split("; ")] == ["ship_to.line1: is blank", "ship_to.city: is blank"]
    assert len((await ask(desk, changes(ship_to=place))).said(OrderEditRequested)) == 1


async def test_the_channel_hears_once_what_became_of_its_edit(desk: Desk) -> None:
    placed = await desk.place()
    first, second = changes({"external_line_id": "a", "quantity": 1}), changes({"external_line_id": "a", "quantity": 5}, edit_id="e-2")
    made_of, refused_of = (await ask(desk, first, second)).said(OrderEditRequested)
    answer = edited(placed, 2, 1).model_copy(update={"change_id": made_of.change_id, "money_delta_cents": -1_000})
    [made] = (await desk.handle(orders.record_edits, received(answer), received(answer))).said(ChannelEditDecided)
    assert (made.edit_id, made.outcome, made.order_version, made.money_delta_cents) == ("e-1", "made", 2, -1_000)
    late = OrderEditRejected(
        order_id=placed.order_id, order_version=2, change_id=refused_of.change_id, reason="stale_version", detail="look again"
    )
    [refused] = (await desk.handle(edits.tell_outcomes, received(late), received(late))).said(ChannelEditDecided)
    assert (refused.edit_id, refused.outcome, refused.reason, refused.detail) == ("e-2", "refused", "stale_version", "look again")
    assert (await desk.handle(edits.tell_outcomes, received(late))).outgoing == []
