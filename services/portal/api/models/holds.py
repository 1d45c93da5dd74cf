"""Checkout holds."""

from __future__ import annotations

from pydantic import ConfigDict

from shared.contracts.holds import HoldRequest


class RequestHold(HoldRequest):
    """Units to keep for a shopper before the payment. Asking again with the same content prolongs the hold."""

    model_config = ConfigDict(extra="forbid")
