"""Goods on their way, and what is sold before its release."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from services.portal.api.models.shapes import Request
from shared.contracts.base import Code, ShortText, Time
from shared.contracts.stock import SupplyChange, SupplyLine


class ScheduleSupply(Request):
    """Goods that are on the way. ``supply_id`` is chosen here when it is left out; ``purchase_order`` is the number people know it by."""

    supply_id: UUID | None = None
    location: Code
    expected_at: Time
    lines: Annotated[list[SupplyLine], Field(min_length=1, max_length=1_000)]
    purchase_order: ShortText | None = None


class ReceiveSupply(Request):
    """Goods that arrived and may be sold."""

    location: Code
    lines: Annotated[list[SupplyLine], Field(min_length=1, max_length=1_000)]


class RescheduleSupply(Request):
    """The new expected date of a supply."""

    expected_at: Time


class ChangeSupply(Request):
    """How many units of some SKUs the supply brings in all, received ones included. Lines that are not listed stay as they are."""

    lines: Annotated[list[SupplyChange], Field(min_length=1, max_length=1_000)]


class OpenPreorder(Request):
    """When a SKU is released, and whether its orders may ship before that when goods are there earlier."""

    release_at: Time
    early_release: bool = False
