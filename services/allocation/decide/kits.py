"""What may be sold of a kit: as many as can be made of what is available of its components (feature A8)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from services.allocation.decide.promising import Sellable, date_of_unit
from services.allocation.decide.stock import SupplyUnits
from shared.contracts.stock import AvailabilityMode


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

    @property
    def mode(self) -> AvailabilityMode:
        """How the component itself is sold while it holds the kit up: too few units for one kit are as good as none."""
        return "backorder" if self.release_at is None else "sold_out"


WORST_FIRST: tuple[AvailabilityMode, ...] = ("sold_out", "preorder", "backorder")


def sellable_kit(components: Sequence[ComponentStock]) -> Sellable:
    """What channels are told of a kit.

    In stock while at least one kit can be made; in preorder when a component is, until the last of those ships. Otherwise it is sold as the
    component that holds it up most, and would ship when the last of those components is there; without a date of one of them there is none
    for the kit.
    """
    available = min((component.kits for component in components), default=0)
    if available > 0:
        releases = [component.next_ship_at for component in components if component.release_at is not None]
        if not releases:
            return Sellable(available, "in_stock", None)
        dated = [date for date in releases if date is not None]
        return Sellable(available, "preorder", max(dated) if len(dated) == len(releases) else None)
    short = [component for component in components if component.kits == 0]
    modes = {component.mode for component in short}
    dates = [component.next_ship_at for component in short]
    known = [date for date in dates if date is not None]
    mode: AvailabilityMode = next((mode for mode in WORST_FIRST if mode in modes), "backorder")
    return Sellable(0, mode, max(known) if known and len(known) == len(dates) else None)
