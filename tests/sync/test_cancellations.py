"""Channels call off and change orders: passed on once, never lost, the outcome told once; and channels hear of every change."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest

from services.sync.handlers import cancellations, orders
from services.sync.pages.changing import SHOPIFY_SIGNATURE_HEADER, SHOPIFY_TOPIC_HEADER
from shared.contracts.channels import ChannelCancelDecided, ChannelCancelRequested, ChannelOrderChanged
from shared.contracts.envelope import new_id
from shared.contracts.orders import (
    LineNotCancelled,
    LineUnits,
    OrderCancelRejected,
    OrderCancelRequested,
    OrderPlaced,
)
from tests.sync.conftest import Desk, Handled
from tests.sync.messages import a_line, cancelled, edited, received
from tests.sync.service_side import SECRET, SyncHttp

OUR_SIGNATURE = "X-Ordermesh-Hmac-Sha256"


@pytest.fixture
async def desk(desk: Desk) -> Desk:
    """A channel that lists a mug and a lamp."""
    await desk.set_up("MUG", "LAMP")
    return desk


def calls_off(*lines: dict[str, Any], **more: Any) -> ChannelCancelRequested:
    return ChannelCancelRequested.model_validate({"channel": "shop", "external_id": "1001", "lines": list(lines), **more})


async def ask(desk: Desk, *requests: ChannelCancelRequested, partner: str = "shop") -> Handled:
    return await desk.handle(cancellations.pass_on_cancellations, *(received(request, partner=partner) for request in requests))


async def look_again(desk: Desk) -> list[Any]:
    """What the schedule says."""
    return [item.data for item in (await desk.handle(lambda tx, _: cancellations.take_up_waiting_cancellations(tx))).outgoing]


def refused(placed: OrderPlaced, command: OrderCancelRequested, reason: str, **more: Any) -> OrderCancelRejected:
    words: dict[str, Any] = {"order_id": placed.order_id, "order_version": 1, "change_id": command.change_id, "detail": "why", **more}
    return OrderCancelRejected(reason=reason, **words)


async def test_a_cancellation_is_passed_on_once_however_often_it_is_sent(desk: Desk) -> None:
    placed = await desk.place()
    request = calls_off({"external_line_id": "a", "quantity": 1}, cancellation_id="c-1")
    handled = await ask(desk, request, request)
    [command] = handled.said(OrderCancelRequested)
    assert (command.order_id, command.actor.kind, command.actor.name) == (placed.order_id, "channel", "shop")
    assert [(line.line_id, line.quantity) for line in command.lines] == [("a", 1)]
    assert (await ask(desk, request)).outgoing == []
    contradiction = await ask(desk, calls_off(cancellation_id="c-1"))
    assert (contradiction.outgoing, "was used for other lines" in str(contradiction.parked)) == ([], True)
    assert len((await ask(desk, calls_off(cancellation_id="c-2"))).outgoing) == 1


async def test_a_channel_cancels_its_own_orders_only(desk: Desk) -> None:
    await desk.place()
    handled = await ask(desk, calls_off(), partner="outlet")
    assert (handled.outgoing, "is not the channel 'outlet' that sent it" in str(handled.parked)) == ([], True)


async def test_a_cancellation_before_its_order_waits_for_it_and_is_told_off_when_there_is_none(desk: Desk) -> None:
    handled = await ask(desk, calls_off(), calls_off(external_id="lost"))
    assert (handled.outgoing, handled.parked, handled.deferred) == ([], {}, {})
    assert await look_again(desk) == []
    placed = await desk.place()
    [command] = await look_again(desk)
    assert (command.type, command.order_id, command.lines) == ("order.cancel_requested.v1", placed.order_id, [])
    assert await look_again(desk) == []
    desk.now += timedelta(days=8)
    [decided] = await look_again(desk)
    assert (decided.external_id, decided.outcome, decided.reason) == ("lost", "refused", "unknown_order")
    assert await look_again(desk) == []


async def test_the_channel_hears_once_what_became_of_its_cancellation_and_how_the_order_stands(desk: Desk) -> None:
    placed = await desk.place(lines=[a_line("MUG", 3), a_line("LAMP", line="b")])
    [command] = (await ask(desk, calls_off({"external_line_id": "a", "quantity": 2}))).said(OrderCancelRequested)
    missed = LineNotCancelled(line_id="a", sku="MUG", quantity=1, reason="fulfillment_started", detail="reno has started")
    units = [LineUnits(line_id="a", sku="MUG", quantity=1)]
    answer = edited(placed, 2, 2).model_copy(
        update={"change_id": command.change_id, "cancelled": units, "not_cancelled": [missed], "money_delta_cents": -1_000}
    )
    handled = await desk.handle(orders.record_edits, received(answer), received(answer))
    [changed] = handled.said(ChannelOrderChanged)
    [decided] = handled.said(ChannelCancelDecided)
    assert {item.partner for item in handled.outgoing} == {"shop"}
    assert (changed.external_id, changed.order_version, changed.status, changed.money_delta_cents) == ("1001", 2, "edited", -1_000)
    assert [(line.external_line_id, line.quantity) for line in changed.lines] == [("a", 2)]
    assert (decided.cancellation_id, decided.outcome, decided.refund_cents) == ("cancellation", "cancelled_in_part", 1_000)
    assert [(line.external_line_id, line.quantity) for line in decided.cancelled] == [("a", 1)]
    assert [(line.external_line_id, line.reason) for line in decided.not_cancelled] == [("a", "fulfillment_started")]
    assert (await desk.handle(orders.record_edits, received(answer))).outgoing == []


async def test_a_change_that_somebody_else_asked_for_is_told_without_a_decision(desk: Desk) -> None:
    placed = await desk.place()
    off = cancelled(placed)
    handled = await desk.handle(orders.record_cancellations, received(off), received(off))
    [changed] = [item.data for item in handled.outgoing]
    assert isinstance(changed, ChannelOrderChanged)
    assert (changed.status, [(line.external_line_id, line.quantity) for line in changed.cancelled]) == ("cancelled", [("a", 2)])


async def test_a_refusal_is_told_once_and_another_open_change_is_waited_for(desk: Desk) -> None:
    placed = await desk.place()
    [command] = (await ask(desk, calls_off())).said(OrderCancelRequested)
    busy = refused(placed, command, "change_in_progress")
    assert (await desk.handle(cancellations.tell_refusals, received(busy))).outgoing == []
    assert await look_again(desk) == [], "not at once"
    desk.wait(31)
    [again] = await look_again(desk)
    assert again.change_id != command.change_id
    assert (await desk.handle(cancellations.tell_refusals, received(busy))).outgoing == [], "that attempt is over"
    late = refused(placed, again, "already_shipped", return_ids=[new_id()])
    [decided] = (await desk.handle(cancellations.tell_refusals, received(late), received(late))).said(ChannelCancelDecided)
    assert (decided.outcome, decided.reason, decided.detail, decided.return_ids) == ("refused", "already_shipped", "why", late.return_ids)


async def post(sync: SyncHttp, path: str, document: Any, header: str = OUR_SIGNATURE, secret: str = SECRET, **more: str) -> tuple[int, Any]:
    """A webhook, signed with a secret; a document that is bytes goes out as it is."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    signature = base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()
    return await sync.post(path, body, {"Content-Type": "application/json", header: signature, **more})


async def test_shopifys_webhook_of_a_cancelled_order_and_our_own_are_taken_signed_and_once(sync: SyncHttp, desk: Desk) -> None:
    desk.now = sync.now()
    order = await desk.place(external_id="123456")

    topic = {SHOPIFY_TOPIC_HEADER: "orders/cancelled"}
    shopify = {"id": 123456, "name": "#9999", "cancelled_at": "2016-05-17T04:14:36-04:00", "cancel_reason": "customer", "line_items": []}
    path = "/webhooks/shop/shopify"
    for _ in range(2):
        status, answer = await post(sync, path, shopify, SHOPIFY_SIGNATURE_HEADER, **topic)
        assert (status, answer["status"], answer["external_id"]) == (202, "taken", "123456")
    assert (await post(sync, path, shopify, SHOPIFY_SIGNATURE_HEADER, "guessed-secret", **topic))[0] == 401
    assert (await post(sync, path, shopify, SHOPIFY_SIGNATURE_HEADER))[1]["error"]["problems"][0]["field"] == SHOPIFY_TOPIC_HEADER
    status, answer = await post(sync, path, {**shopify, "cancelled_at": None}, SHOPIFY_SIGNATURE_HEADER, **topic)
    assert (status, answer["error"]["problems"][0]["field"]) == (422, "cancelled_at")
    own = {"channel": "shop", "external_id": "2002", "lines": [{"external_line_id": "a", "quantity": 1}]}
    assert (await post(sync, "/webhooks/shop/cancellations", own))[0] == 202
    status, answer = await post(sync, "/webhooks/shop/cancellations", {**own, "channel": "outlet"})
    assert (status, "is not the channel 'shop'" in answer["error"]["message"]) == (422, True)
    status, answer = await post(sync, "/webhooks/shop/cancellations", {**own, "reason": "a\x00"})
    assert (status, answer["error"]["problems"][0]["field"]) == (422, "reason")
    said = await desk.connection.fetch("SELECT subject FROM outbox WHERE type = 'order.cancel_requested.v1'")
    assert [row["subject"] for row in said] == [str(order.order_id)]
    waiting = await desk.connection.fetch("SELECT external_id FROM cancellations WHERE change_id IS NULL")
    assert [row["external_id"] for row in waiting] == ["2002"]


async def test_an_edit_by_signed_webhook_is_taken_once_and_one_that_cannot_be_taken_is_told_why(sync: SyncHttp, desk: Desk) -> None:
    desk.now = sync.now()
    order = await desk.place(external_id="123456")
    edit = {"channel": "shop", "external_id": "123456", "edit_id": "e1", "line_changes": [{"external_line_id": "a", "quantity": 1}]}
    for _ in range(2):
        status, answer = await post(sync, "/webhooks/shop/edits", edit)
        assert (status, answer) == (202, {"status": "taken", "external_id": "123456", "edit_id": "e1"})
    passed_on = await desk.connection.fetch("SELECT subject FROM outbox WHERE type = 'order.edit_requested.v1'")
    assert [row["subject"] for row in passed_on] == [str(order.order_id)]
    for wrong, code, said_of in (
        ({"edit_id": "e2", "external_id": "2002"}, (409, "not_yet"), "has not been placed here yet; send it again in a moment"),
        ({"line_changes": [{"external_line_id": "a", "quantity": 3}]}, (422, "not_taken"), "edit_id: 'e1' of order '123456' was used for"),
        ({"service_level": "teleport"}, (422, "invalid_edit"), "service_level: "),
        ({"channel": "outlet"}, (422, "not_taken"), "is not the channel 'shop'"),
    ):
        status, answer = await post(sync, "/webhooks/shop/edits", {**edit, **wrong})
        assert (status, answer["error"]["code"]) == code, answer
        assert said_of in answer["error"]["message"]
    assert (await post(sync, "/webhooks/shop/edits", edit, secret="guessed-secret"))[0] == 401
    for broken in (b"{", json.dumps(edit).encode().replace(b'"e1"', b'"e1", "edit_id": "e2"')):
        status, answer = await post(sync, "/webhooks/shop/edits", broken)
        assert (status, answer["error"]["code"]) == (400, "malformed_json"), "nobody can tell which of two was meant"
