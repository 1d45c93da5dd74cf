"""A kit as the lines of its components: the same rule for an order that comes in and for a kit that an edit adds.

A kit is sold under one SKU and has no stock of its own. Its price is shared out over the units of its components in proportion to their
own prices, by largest remainder, so that every unit has a whole price and the units add up to the kit. Largest remainder gives each unit
the rounded-down share or one cent more, and equal units of one component differ only where the last cents run out among them: at most
one component of a kit becomes two lines. Why lines and not one line with a fraction: docs/decisions/0012-kits.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.contracts.orders import ComponentProduct, KitPart, OrderLine

MOST_UNITS_OF_A_LINE = 1_000_000
LINE_ID_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Kit:
    """Some kits of one kind in one order. ``unit_price_cents`` is for one kit, ``tax_cents`` for all of them."""

    line_id: str
    sku: str
    title: str
    quantity: int
    unit_price_cents: int
    tax_cents: int
    components: Sequence[ComponentProduct]


@dataclass(frozen=True, slots=True)
class PricedUnits:
    """Units of one component in one kit that cost the same."""

    component: ComponentProduct
    units: int
    unit_price_cents: int


def largest_remainder(total: int, weights: Sequence[int]) -> list[int]:
    """Shares out a whole number in proportion to weights: every share is rounded down, then the largest remainders get one more each.

    The shares add up to ``total`` exactly; of equal remainders the first gets more. Without any weight all count the same. Source: the
    Hamilton method of apportionment.
    """
    if not any(weights):
        weights = [1] * len(weights)
    whole = sum(weights)
    shares = [total * weight // whole for weight in weights]
    order = sorted(range(len(weights)), key=lambda index: (-(total * weights[index] % whole), index))
    for index in order[: total - sum(shares)]:
        shares[index] += 1
    return shares


def price_units(unit_price_cents: int, components: Sequence[ComponentProduct]) -> list[PricedUnits]:
    """The price of one kit shared out over the units of its components, as :func:`largest_remainder` would do it unit by unit.

    Units of one component have the same remainder, so the last cents are handed out component by component.
    """
    weights = [component.unit_price_cents for component in components]
    if not any(weights):
        weights = [1] * len(components)
    whole = sum(weight * component.quantity for weight, component in zip(weights, components, strict=True))
    shares = [unit_price_cents * weight // whole for weight in weights]
    left = unit_price_cents - sum(share * component.quantity for share, component in zip(shares, components, strict=True))
    dearer = [0] * len(components)
    for index in sorted(range(len(components)), key=lambda index: (-(unit_price_cents * weights[index] % whole), index)):
        dearer[index] = min(left, components[index].quantity)
        left -= dearer[index]
    return [
        priced
        for component, share, more in zip(components, shares, dearer, strict=True)
        for priced in (PricedUnits(component, more, share + 1), PricedUnits(component, component.quantity - more, share))
        if priced.units
    ]


def lines_of(kit: Kit, taken_line_ids: Collection[str]) -> list[OrderLine]:
    """The kit as lines of an order. Price and tax of the lines add up to those of the kit, to the cent.

    Args:
        kit: what was bought.
        taken_line_ids: ids that other lines of the order have, which no line of the kit may have.
    """
    priced = price_units(kit.unit_price_cents, kit.components)
    taxes = largest_remainder(kit.tax_cents, _tax_weights(priced))
    line_ids = _line_ids(kit.line_id, taken_line_ids)
    return [
        OrderLine(
            line_id=next(line_ids),
            sku=part.component.sku,
            title=part.component.title,
            quantity=kit.quantity * part.units,
            unit_price_cents=part.unit_price_cents,
            tax_cents=tax_cents,
            unit_weight_grams=part.component.unit_weight_grams,
            unit_volume_cubic_centimetres=part.component.unit_volume_cubic_centimetres,
            hazmat=part.component.hazmat,
            kit=KitPart(line_id=kit.line_id, sku=kit.sku, title=kit.title, quantity=kit.quantity, units_per_kit=part.units),
        )
        for part, tax_cents in zip(priced, taxes, strict=True)
    ]


def oversized_component(components: Iterable[ComponentProduct], quantity: int) -> ComponentProduct | None:
    """The first component of which so many kits need more units than one line may have."""
    return next((component for component in components if component.quantity * quantity > MOST_UNITS_OF_A_LINE), None)


def whole_kits(units: Iterable[tuple[KitPart, int]]) -> dict[str, int]:
    """How many complete kits some units make, by the line id of the kit.

    Args:
        units: for every line of every kit asked about, the units there are of it; a line that is left out would not count.
    """
    kits: dict[str, int] = {}
    for part, count in units:
        made = count // part.units_per_kit
        kits[part.line_id] = min(kits.get(part.line_id, made), made)
    return kits


def kit_part_of(line: Mapping[str, Any]) -> KitPart | None:
    """The kit that a stored line belongs to, if it does."""
    return None if line.get("kit") is None else KitPart.model_validate(line["kit"])


def _tax_weights(priced: Sequence[PricedUnits]) -> list[int]:
    """What each line costs; where the kit is free, what it would cost by itself, else its units."""
    paid = [part.unit_price_cents * part.units for part in priced]
    worth = [part.component.unit_price_cents * part.units for part in priced]
    return paid if any(paid) else worth if any(worth) else [part.units for part in priced]


def _line_ids(kit_line_id: str, taken: Collection[str]) -> Iterator[str]:
    """``1.1``, ``1.2`` ... for the kit on line ``1``; a digest takes the place of an id that is too long or taken."""
    number = 0
    while True:
        number += 1
        line_id = f"{kit_line_id}.{number}"
        salt = 0
        while len(line_id) > LINE_ID_LENGTH or line_id in taken:
            line_id = f"kit-{hashlib.sha256(f'{kit_line_id}/{salt}'.encode()).hexdigest()[:24]}.{number}"
            salt += 1
        yield line_id
