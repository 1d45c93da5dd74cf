"""What some units of a line are worth, to the cent, however often the line is divided."""

from __future__ import annotations


def share_cents(total_cents: int, part: int, whole: int) -> int:
    """``part`` out of ``whole`` units' share of an amount, rounded half up.

    Shares are cumulative: the difference of two shares is what the units between them are worth, so that the pieces of a line always add
    up to the line, whatever the steps in which it is divided.
    """
    if whole <= 0:
        return 0
    return (2 * total_cents * part + whole) // (2 * whole)


def value_of_first_units_cents(unit_price_cents: int, tax_cents: int, quantity: int, units: int) -> int:
    """What the first ``units`` of a line of ``quantity`` are worth: their price and their cumulative share of the line's tax.

    Raises:
        ValueError: more units than the line has.
    """
    if units > quantity:
        raise ValueError(f"{units} units of a line of {quantity}")
    return unit_price_cents * units + share_cents(tax_cents, units, quantity)
