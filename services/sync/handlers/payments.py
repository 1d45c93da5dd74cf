"""Money for edits: asked of the channel, and what the channel says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from services.sync.decide import payments as decide
from services.sync.decide.payments import BookedPayment
from services.sync.queries import payments as queries
from services.sync.queries.orders import read_addresses
from shared.contracts.channels import (
    ChannelPaymentCollected,
    ChannelPaymentRefused,
    ChannelPaymentRequested,
    ChannelPaymentVoided,
)
from shared.contracts.orders import OrderPaymentRequested, OrderPaymentVoided, PaymentCollected, PaymentRefused
from shared.messaging.message import Outgoing, Received, Transaction


async def ask_for_payments(tx: Transaction, messages: Sequence[Received[OrderPaymentRequested]]) -> list[Outgoing]:
    """Asks channels to collect what edits cost more, each payment once."""
    known = await read_addresses(tx.connection, {message.data.order_id for message in messages})
    wanted: dict[object, Received[OrderPaymentRequested]] = {}
    for message in messages:
        if message.data.order_id in known:
            wanted.setdefault(message.data.payment_id, message)
        else:
            tx.defer(message, f"order {message.data.order_id} has not been placed here yet")
    fresh = await queries.insert_payments(tx.connection, [message.data for message in wanted.values()], tx.now)
    outgoing = []
    for message in wanted.values():
        request = message.data
        if request.payment_id not in fresh:
            continue
        channel, external_id = known[request.order_id]
        asked = ChannelPaymentRequested(
            channel=channel,
            external_id=external_id,
            payment_id=request.payment_id,
            change_id=request.change_id,
            amount_cents=request.amount_cents,
            currency=request.currency,
            due_at=request.due_at,
        )
        outgoing.append(Outgoing(asked, subject=str(request.order_id), because=message, partner=channel))
    return outgoing


async def void_payments(tx: Transaction, messages: Sequence[Received[OrderPaymentVoided]]) -> list[Outgoing]:
    """Tells channels not to collect any more what has not been collected."""
    known = await queries.lock_payments(tx.connection, {message.data.payment_id for message in messages})
    outgoing = []
    voided: dict[object, BookedPayment] = {}
    for message in messages:
        payment = known.get(message.data.payment_id)
        if payment is None:
            tx.defer(message, f"payment {message.data.payment_id} has not been asked for here yet")
        elif payment.state == "requested" and payment.payment_id not in voided:
            voided[payment.payment_id] = replace(payment, state="voided")
            told = ChannelPaymentVoided(
                channel=payment.channel,
                external_id=payment.external_id,
                payment_id=payment.payment_id,
                reason=message.data.reason,
                voided_at=message.data.voided_at,
            )
            outgoing.append(Outgoing(told, subject=str(payment.order_id), because=message, partner=payment.channel))
    if voided:
        await queries.settle_payments(tx.connection, list(voided.values()), tx.now)
    return outgoing


async def take_collections(tx: Transaction, messages: Sequence[Received[ChannelPaymentCollected]]) -> list[Outgoing]:
    """Books what channels have collected, also too late: routing makes the edit or gives the money back."""
    known = await queries.lock_payments(tx.connection, {message.data.payment_id for message in messages})
    outgoing = []
    collected: dict[object, BookedPayment] = {}
    for message in messages:
        said = message.data
        payment = collected.get(said.payment_id) or known.get(said.payment_id)
        if payment is None:
            tx.defer(message, f"payment_id: {said.payment_id} has not been asked for here yet")
            continue
        booked = decide.problem_of_sender(payment, said.channel, message.partner) or decide.collect(payment, said)
        if isinstance(booked, str):
            tx.park(message, booked)
        elif booked != payment:
            collected[said.payment_id] = booked
            event = PaymentCollected(
                payment_id=booked.payment_id,
                order_id=booked.order_id,
                change_id=booked.change_id,
                amount_cents=booked.amount_cents,
                currency=booked.currency,
                provider_reference=said.provider_reference,
                collected_at=said.collected_at,
            )
            outgoing.append(Outgoing(event, subject=str(booked.order_id), because=message))
    if collected:
        await queries.settle_payments(tx.connection, list(collected.values()), tx.now)
        await queries.add_captured(tx.connection, list(collected.values()))
    return outgoing


async def take_refusals(tx: Transaction, messages: Sequence[Received[ChannelPaymentRefused]]) -> list[Outgoing]:
    """Passes on that a customer does not pay; after the payment is settled that changes nothing."""
    known = await queries.lock_payments(tx.connection, {message.data.payment_id for message in messages})
    outgoing = []
    refused: dict[object, BookedPayment] = {}
    for message in messages:
        said = message.data
        payment = known.get(said.payment_id)
        if payment is None:
            tx.defer(message, f"payment_id: {said.payment_id} has not been asked for here yet")
            continue
        problem = decide.problem_of_sender(payment, said.channel, message.partner)
        if problem is not None:
            tx.park(message, problem)
        elif payment.state == "requested" and payment.payment_id not in refused:
            refused[payment.payment_id] = replace(payment, state="refused")
            event = PaymentRefused(
                payment_id=payment.payment_id, order_id=payment.order_id, change_id=payment.change_id, detail=said.detail, refused_at=tx.now
            )
            outgoing.append(Outgoing(event, subject=str(payment.order_id), because=message))
    if refused:
        await queries.settle_payments(tx.connection, list(refused.values()), tx.now)
    return outgoing
