"""What an edit makes of the lines of an order, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.routing.decide.money import Fall, share_cents, total_cents
from services.routing.decide.order import Line, Order
from services.routing.decide.values import replace
from shared.contracts.orders import Address, ChangeRefusal, LineChange, OrderEditRequested

MOST_LINES = 2_000


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a change may not be made."""

    reason: ChangeRefusal
    detail: str


@dataclass(frozen=True, slots=True)
class Edited:
    """The order as it would stand. ``money_delta_cents`` is the new total minus the old one, never above zero."""

    lines: tuple[Line, ...]
    ship_to: Mapping[str, Any]
    falls: tuple[Fall, ...]
    money_delta_cents: int


def address_as_json(address: Address) -> dict[str, Any]:
    """An address as orders keep it."""
    return address.model_dump(mode="json", exclude_none=True)


def edit_lines(order: Order, request: OrderEditRequested) -> Edited | Refusal:
    """Applies the wished changes, or says which of them can not be made and why.

    The tax of a line follows its quantity: each unit keeps its share. An order may become cheaper or stay as it is; an edit that costs more
    would have to be paid for first.
    """
    wanted = _quantities(order, request.line_changes)
    if isinstance(wanted, Refusal):
        return wanted
    added = _added_lines(order, request)
    if isinstance(added, Refusal):
        return added
    lines = tuple(_with_quantity(line, wanted.get(line.line_id, line.quantity)) for line in order.lines) + added
    ship_to = order.ship_to if request.ship_to is None else address_as_json(request.ship_to)
    if lines == order.lines and ship_to == order.ship_to:
        return Refusal("nothing_to_change", "the order already is as asked for")
    if not any(line.quantity for line in lines):
        return Refusal("empties_order", "nothing would be left of the order: cancel it instead")
    if sum(1 for line in lines if line.quantity) > MOST_LINES:
        return Refusal("invalid", f"line_changes: an order has at most {MOST_LINES} lines")
    delta_cents = total_cents(lines) - total_cents(order.lines)
    if delta_cents > 0:
        return Refusal("payment_required", f"the change costs {delta_cents} cents ({order.currency}) more, which must be paid first")
    return Edited(lines, ship_to, _falls(order.lines, lines), delta_cents)


def _quantities(order: Order, changes: Sequence[LineChange]) -> dict[str, int] | Refusal:
    """New quantities of lines that the order has."""
    wanted: dict[str, int] = {}
    for change in changes:
        if change.line_id is None:
            continue
        line = order.line(change.line_id)
        if line is None or line.quantity == 0:
            return Refusal("unknown_line", f"line_changes: the order has no line {change.line_id}")
        if change.line_id in wanted:
            return Refusal("invalid", f"line_changes: line {change.line_id} is named twice; name it once with its final quantity")
        if change.sku is not None and change.sku != line.sku:
            detail = f"line_changes: line {change.line_id} is {line.sku}, not {change.sku}; to swap, remove it and add a line"
            return Refusal("invalid", detail)
        if change.quantity > 1_000_000:
            return Refusal("invalid", f"line_changes: line {change.line_id}: quantity: at most 1000000 units")
        wanted[change.line_id] = change.quantity
    return wanted


def _added_lines(order: Order, request: OrderEditRequested) -> tuple[Line, ...] | Refusal:
    added = []
    for position, change in enumerate(request.line_changes, start=1):
        if change.line_id is not None:
            continue
        where = f"line_changes: change {position}"
        if change.sku is None:
            return Refusal("invalid", f"{where}: name line_id to change a line, or sku to add one")
        if not 0 < change.quantity <= 1_000_000:
            return Refusal("invalid", f"{where}: quantity: a line that is added needs 1 to 1000000 units")
        if change.unit_price_cents is None or change.unit_weight_grams is None:
            missing = "unit_price_cents" if change.unit_price_cents is None else "unit_weight_grams"
            return Refusal("invalid", f"{where}: {missing}: needed for {change.sku}; take it from the product master")
        added.append(
            Line(
                line_id=f"added-{request.change_id.hex}-{position}",
                sku=change.sku,
                title=change.title or change.sku,
                quantity=change.quantity,
                unit_price_cents=change.unit_price_cents,
                tax_cents=change.tax_cents or 0,
                unit_weight_grams=change.unit_weight_grams,
                hazmat=change.hazmat,
            )
        )
    return tuple(added)


def _with_quantity(line: Line, quantity: int) -> Line:
    if quantity == line.quantity:
        return line
    return replace(line, quantity=quantity, tax_cents=share_cents(line.tax_cents, quantity, line.quantity))


def _falls(before: Sequence[Line], after: Sequence[Line]) -> tuple[Fall, ...]:
    """Lines that got cheaper. ``after`` begins with the same lines as ``before``."""
    falls = []
    for old, new in zip(before, after, strict=False):
        cents = total_cents((old,)) - total_cents((new,))
        if cents > 0 or new.quantity < old.quantity:
            falls.append(Fall(old.line_id, max(0, old.quantity - new.quantity), max(0, cents)))
    return tuple(falls)
