"""Payments that edits ask channels for: requested -> collected | refused | voided; money that comes late is money all the same (D3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal
from uuid import UUID

from shared.contracts.channels import ChannelPaymentCollected


@dataclass(frozen=True, slots=True)
class BookedPayment:
    """A payment as it stands, and where its order came from."""

    payment_id: UUID
    order_id: UUID
    change_id: UUID
    channel: str
    external_id: str
    amount_cents: int
    currency: str
    state: Literal["requested", "voided", "refused", "collected"]
    provider_reference: str | None = None


def problem_of_sender(payment: BookedPayment, channel: str, partner: str | None) -> str | None:
    """Why a channel may say nothing about a payment. ``partner`` is whom the broker vouches for."""
    if channel != (partner or channel) or channel != payment.channel:
        return f"channel: payment {payment.payment_id} was asked of {payment.channel!r}, not of {partner or channel!r}"
    return None


def collect(payment: BookedPayment, message: ChannelPaymentCollected) -> BookedPayment | str:
    """The payment once the money is there, the same one when that is known already, or why it cannot be this payment."""
    if (message.amount_cents, message.currency) != (payment.amount_cents, payment.currency):
        return (
            f"amount_cents: {message.amount_cents} {message.currency} were collected, but payment {payment.payment_id} is "
            f"{payment.amount_cents} {payment.currency}: send what was asked for, or give the money back by hand"
        )
    if payment.state != "collected":
        return replace(payment, state="collected", provider_reference=message.provider_reference)
    if payment.provider_reference != message.provider_reference:
        return (
            f"provider_reference: payment {payment.payment_id} was collected as {payment.provider_reference!r} before, and now as "
            f"{message.provider_reference!r}: find out whether the customer paid twice, and give the second payment back by hand"
        )
    return payment
