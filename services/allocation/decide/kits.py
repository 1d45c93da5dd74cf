"""What may be sold of a kit: as many as can be made of what is available of its components (feature A8)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from services.allocation.decide.promising import Sellable, date_of_unit
from services.allocation.decide.stock import SupplyUnits


class ComponentStock(NamedTuple):
    """One component of a kit: its units per kit, and its pool.

    ``supplies`` is what is still expected of it, earliest first; of a component that is not in preorder it is only looked at when it holds
    the kit up. ``release_at`` is before when nothing of a component in preorder ships; None for ordinary ones.
    """

    sku: str
    quantity: int
    available: int
    queued: int
    supplies: Sequence[SupplyUnits] = ()
    release_at: datetime | None = None

    @property
    def kits(self) -> int:
        """How many kits this component alone would allow. Units that somebody waits for are not for sale; of a preorder what is on its way
        is."""
        coming = sum(supply.quantity for supply in self.supplies) if self.release_at is not None else 0
        return max(0, self.available + coming - self.queued) // self.quantity

    @property
    def next_ship_at(self) -> datetime | None:
        """When the units of one more kit are there, behind everybody who waits; None while nothing on its way reaches that far."""
        return date_of_unit(self.queued + self.quantity, self.supplies, on_shelf=self.available, release_at=self.release_at)


def sellable_kit(components: Sequence[ComponentStock]) -> Sellable:
    """What channels are told of a kit.

    In stock while at least one kit can be made; in preorder when a component is, until the last of those ships. Otherwise it is sold out
    when a component that holds it up can be ordered no more, and else on backorder: it would ship when the last of the components is there
    that hold it up or are in preorder; without a date of one of them there is none for the kit.
    """
    available = min((component.kits for component in components), default=0)
    short = [component for component in components if component.kits == 0]
    awaited = [component for component in components if component.kits == 0 or component.release_at is not None]
    dates = [component.next_ship_at for component in awaited]
    known = [date for date in dates if date is not None]
    next_ship_at = max(known) if known and len(known) == len(dates) else None
    if available > 0:
        return Sellable(available, "preorder" if awaited else "in_stock", next_ship_at)
    return Sellable(0, "sold_out" if any(component.release_at is not None for component in short) else "backorder", next_ship_at)
