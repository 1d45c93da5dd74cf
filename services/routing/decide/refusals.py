"""Why a change may not be made, and what edits and cancellations refuse alike: lines that are named wrongly."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from services.routing.decide.kits import lines_of_kit
from services.routing.decide.order import Line, Order
from shared.contracts.orders import ChangeRefusal


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a change may not be made."""

    reason: ChangeRefusal
    detail: str


@dataclass(frozen=True, slots=True)
class Wording:
    """How a refusal speaks of the lines that a request names: the field, what would become of a whole kit, how a line is named once."""

    field: str
    kit_as_a_whole: str
    kit_quantity: str
    named_once: str


def lines_named(order: Order, line_id: str, named_before: Collection[str], wording: Wording) -> list[Line] | Refusal:
    """The lines that stand for what was bought under this id: a line itself, or all lines of a kit; or why it can not be named so."""
    line = order.line(line_id)
    if line is not None and line.kit is not None and line.quantity:
        detail = (
            f"{wording.field}: line {line_id} is a part of kit {line.kit.sku}, which {wording.kit_as_a_whole} as a whole: "
            f"name line {line.kit.line_id}, {wording.kit_quantity}"
        )
        return Refusal("invalid", detail)
    parts = [line] if line is not None and line.quantity else lines_of_kit(order, line_id)
    if not parts:
        return Refusal("unknown_line", f"{wording.field}: the order has no line {line_id}")
    if line_id in named_before:
        return Refusal("invalid", f"{wording.field}: line {line_id} is named twice; name it once with {wording.named_once}")
    return parts
