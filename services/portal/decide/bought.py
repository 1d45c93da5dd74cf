"""What a customer bought, as the customer sees it: single lines, and kits with what they are made of.

A kit comes as lines of its components, and one component may be two lines with prices a cent apart (shared/kits.py). People see the kit
once, with its price, and each component once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from services.portal.decide.order import LineView


@dataclass(frozen=True, slots=True)
class KitShare:
    """What a line is of the kit it was bought in; the words of the contract (KitPart)."""

    line_id: str
    sku: str
    title: str
    quantity: int
    units_per_kit: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Units that a customer cannot tell apart: a line, or the lines of one component of a kit. ``whole`` is all of them as one line."""

    lines: Sequence[LineView]
    whole: LineView

    @property
    def title(self) -> str:
        """What it is; of a component also of what it is a part."""
        return title_of(self.whole.title, self.whole.kit.title if self.whole.kit else None)

    def units_in(self, units: Mapping[str, int]) -> int:
        """How many of some units, given by line, are of this piece."""
        return sum(units.get(line.line_id, 0) for line in self.lines)

    def spread(self, units: int) -> dict[str, int]:
        """Units to send back, given to the lines that have them, in their order."""
        spread: dict[str, int] = {}
        for line in self.lines:
            taken = min(units, line.returnable)
            if taken:
                spread[line.line_id] = taken
                units -= taken
        return spread


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that was bought, with its pieces: itself, or the components of a kit."""

    kit: KitShare | None
    pieces: Sequence[Piece]

    @property
    def sku(self) -> str:
        """What it is sold as."""
        return self.kit.sku if self.kit else self.pieces[0].whole.sku

    @property
    def title(self) -> str:
        """What it is called."""
        return self.kit.title if self.kit else self.pieces[0].whole.title

    @property
    def ordered(self) -> int:
        """How many were bought: units, or kits."""
        return self.kit.quantity if self.kit else self.pieces[0].whole.ordered

    @property
    def unit_price_cents(self) -> int:
        """What one costs without tax; of a kit, all that is in it."""
        lines = [line for piece in self.pieces for line in piece.lines]
        return sum(line.unit_price_cents * (line.kit.units_per_kit if line.kit else 1) for line in lines)

    @property
    def total_cents(self) -> int:
        """What all of it costs with tax."""
        return sum(line.total_cents for piece in self.pieces for line in piece.lines)


def title_of(title: str, kit_title: str | None) -> str:
    """What a thing is called outside of its kit."""
    return title if kit_title is None else f"{title} ({kit_title})"


def bought(lines: Sequence[LineView]) -> list[Item]:
    """The lines of an order as what was bought, in the order's order. Lines of a kit stand beside each other."""
    items: list[Item] = []
    for kit_line_id, own in groupby(lines, key=lambda line: line.kit.line_id if line.kit else None):
        parts = list(own)
        if kit_line_id is None:
            items += [Item(None, [Piece([line], line)]) for line in parts]
        else:
            items.append(Item(parts[0].kit, pieces_of(parts)))
    return items


def pieces_of(lines: Sequence[LineView]) -> list[Piece]:
    """The lines of one kit, those of one component taken together."""
    by_sku: dict[str, list[LineView]] = {}
    for line in lines:
        by_sku.setdefault(line.sku, []).append(line)
    return [Piece(own, _together(own)) for own in by_sku.values()]


@dataclass(frozen=True, slots=True)
class ReturnableUnits:
    """What of one piece may come back now, and until when; ``closes_at`` is None where nobody has said."""

    units: int
    closes_at: datetime | None


def returnable_units(pieces: Sequence[Piece], lines: Sequence[Mapping[str, Any]] | None) -> list[ReturnableUnits]:
    """Piece by piece, from what returns says of each line; without its word, what was shipped and is not on its way back."""
    if lines is None:
        return [ReturnableUnits(piece.whole.returnable, None) for piece in pieces]
    told = {line["line_id"]: line for line in lines}
    found = []
    for piece in pieces:
        own = [told[line.line_id] for line in piece.lines if line.line_id in told]
        closing = [datetime.fromisoformat(line["window_closes_at"]) for line in own if line["window_closes_at"]]
        units = min(piece.whole.returnable, sum(line["returnable_units"] for line in own))
        found.append(ReturnableUnits(units, min(closing, default=None)))
    return found


def _together(lines: Sequence[LineView]) -> LineView:
    if len(lines) == 1:
        return lines[0]
    return replace(
        lines[0],
        ordered=sum(line.ordered for line in lines),
        waiting=sum(line.waiting for line in lines),
        promised_ship_at=_last(line.promised_ship_at for line in lines if line.waiting),
        shipped=sum(line.shipped for line in lines),
        delivered=sum(line.delivered for line in lines),
        cancelled=sum(line.cancelled for line in lines),
        returning=sum(line.returning for line in lines),
    )


def _last(dates: Iterable[datetime | None]) -> datetime | None:
    """The last of some dates; none when one of them is not known."""
    known = list(dates)
    return None if not known or None in known else max(date for date in known if date is not None)


def stored_items(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Stored lines as a mail lists them: title and quantity, a kit as one with what is in it."""
    items: list[dict[str, Any]] = []
    for kit_line_id, own in groupby(lines, key=lambda line: (line.get("kit") or {}).get("line_id")):
        parts = list(own)
        if kit_line_id is None:
            items += [{"title": line["title"], "quantity": line["quantity"]} for line in parts]
            continue
        kit = parts[0]["kit"]
        units: dict[str, int] = {}
        for line in parts:
            units[line["title"]] = units.get(line["title"], 0) + line["kit"]["units_per_kit"]
        contents = ", ".join(f"{count} × {title}" for title, count in units.items())
        items.append({"title": f"{kit['title']} ({contents})", "quantity": kit["quantity"]})
    return items


def stored_title(line: Mapping[str, Any]) -> str:
    """What a stored line is called outside of its kit."""
    return title_of(line["title"], line["kit"]["title"] if line.get("kit") else None)
