"""Money for edits: asked of the channel once, believed once, and what cannot be that payment is left to a person."""

from __future__ import annotations

from typing import Any

import pytest

from services.sync.handlers import payments, refunds
from shared.contracts.channels import (
    ChannelPaymentCollected,
    ChannelPaymentRefused,
    ChannelPaymentRequested,
    ChannelPaymentVoided,
)
from shared.contracts.envelope import new_id
from shared.contracts.orders import OrderPaymentRequested, OrderPaymentVoided, OrderPlaced, PaymentCollected, PaymentRefused
from tests.sync.conftest import Desk
from tests.sync.messages import NOW, SUPPORT, a_refund, received


@pytest.fixture
async def placed(desk: Desk) -> OrderPlaced:
    """An order of 32.00."""
    await desk.set_up("MUG")
    return await desk.place()


def asks(placed: OrderPlaced) -> OrderPaymentRequested:
    return OrderPaymentRequested(
        order_id=placed.order_id,
        order_version=1,
        change_id=new_id(),
        actor=SUPPORT,
        payment_id=new_id(),
        amount_cents=1_250,
        currency="USD",
        due_at=NOW,
    )


def collected(asked: OrderPaymentRequested, **more: Any) -> ChannelPaymentCollected:
    words = {"channel": "shop", "payment_id": asked.payment_id, "amount_cents": 1_250, "currency": "USD", "provider_reference": "p-1"}
    return ChannelPaymentCollected.model_validate({**words, "collected_at": NOW, **more})


async def test_a_payment_is_asked_for_once_and_taken_once_also_after_it_was_called_off(desk: Desk, placed: OrderPlaced) -> None:
    asked = asks(placed)
    early = received(collected(asked), partner="shop")
    assert list((await desk.handle(payments.take_collections, early)).deferred) == [early.event_id]
    handled = await desk.handle(payments.ask_for_payments, received(asked), received(asked))
    [told] = handled.said(ChannelPaymentRequested)
    assert (told.external_id, told.amount_cents, handled.outgoing[0].partner) == ("1001", 1_250, "shop")
    assert (await desk.handle(payments.ask_for_payments, received(asked))).outgoing == []
    void = OrderPaymentVoided(
        order_id=placed.order_id, change_id=asked.change_id, payment_id=asked.payment_id, reason="lapsed", voided_at=NOW
    )
    assert len((await desk.handle(payments.void_payments, received(void), received(void))).said(ChannelPaymentVoided)) == 1
    late = ChannelPaymentRefused(channel="shop", payment_id=asked.payment_id)
    assert (await desk.handle(payments.take_refusals, received(late, partner="shop"))).outgoing == []
    handled = await desk.handle(payments.take_collections, early, received(collected(asked), partner="shop"))
    [event] = handled.said(PaymentCollected)
    assert (event.order_id, event.change_id, event.amount_cents) == (placed.order_id, asked.change_id, 1_250)
    assert await desk.connection.fetchval("SELECT captured_cents FROM channel_orders") == 3_200 + 1_250
    assert (await desk.handle(refunds.request_refunds, received(a_refund(placed, 4_450)))).parked == {}
    again = await desk.handle(payments.take_collections, received(collected(asked, provider_reference="p-2"), partner="shop"))
    assert (again.outgoing, "paid twice" in str(again.parked)) == ([], True)


@pytest.mark.parametrize(
    ("changes", "partner", "named"),
    [
        ({"amount_cents": 1_000}, "shop", "amount_cents: 1000"),
        ({"currency": "EUR"}, "shop", "1250 EUR"),
        ({}, "outlet", "channel: payment"),
    ],
)
async def test_what_cannot_be_the_payment_that_was_asked_for_is_parked(
    desk: Desk, placed: OrderPlaced, changes: dict[str, Any], partner: str, named: str
) -> None:
    asked = asks(placed)
    await desk.handle(payments.ask_for_payments, received(asked))
    handled = await desk.handle(payments.take_collections, received(collected(asked, **changes), partner=partner))
    assert (handled.outgoing, named in str(handled.parked)) == ([], True)


async def test_a_refusal_is_passed_on_once(desk: Desk, placed: OrderPlaced) -> None:
    asked = asks(placed)
    await desk.handle(payments.ask_for_payments, received(asked))
    no = received(ChannelPaymentRefused(channel="shop", payment_id=asked.payment_id, detail="card declined"), partner="shop")
    [event] = (await desk.handle(payments.take_refusals, no, no)).said(PaymentRefused)
    assert (event.change_id, event.detail) == (asked.change_id, "card declined")
