"""Checkout holds: units kept for a shopper between the basket and the payment (feature A5).

A hold takes what is free now, never what somebody waits for. It lives until its time is up, the channel releases it, or an order names it;
until a schedule has swept it, its units are kept even when its time is up. Its id and content are fixed: asking again with the same content
prolongs it and is answered the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple
from uuid import UUID

from services.allocation.decide.books import Books
from services.allocation.decide.pools import SharedPool
from shared.contracts.channels import FieldProblem
from shared.contracts.holds import HoldOutcome, HoldRefusal, HoldRequest

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

NO_KITS: Mapping[str, Sequence[str] | None] = {}

HoldState = Literal["held", "confirmed", "released", "expired"]


@dataclass(slots=True)
class HoldLine:
    """One SKU of a hold: asked for, granted at first, and still held."""

    asked: int
    granted: int
    held: int


@dataclass(slots=True)
class Hold:
    """A hold as the books have it. ``is_new``: its id was first heard of in this transaction, and nothing is held under it yet."""

    hold_id: UUID
    channel: str
    state: HoldState
    policy: str
    expires_at: datetime
    lines: dict[str, HoldLine]
    is_new: bool = False


class HoldRefused(NamedTuple):
    """Why a request about a hold is not done: the reason as a code, and the field with the way out."""

    reason: HoldRefusal
    problem: FieldProblem


class HoldClaim(NamedTuple):
    """What a batch of holds takes from one pool."""

    held: int
    fenced: int


def asked_units(request: HoldRequest) -> dict[str, int]:
    """Units asked for per SKU: one SKU on two lines counts as both together."""
    asked: dict[str, int] = {}
    for line in request.lines:
        asked[line.sku] = asked.get(line.sku, 0) + line.quantity
    return asked


def refusal_of(
    request: HoldRequest, hold: Hold, registered: Mapping[str, object], kits: Mapping[str, Sequence[str] | None] = NO_KITS
) -> HoldRefused | None:
    """Why a request for units is refused; None when it may be answered with what is held.

    Args:
        request: what the channel asks for.
        hold: the hold of that id, locked; new when nobody has asked under the id before.
        registered: the SKUs that there are, among those asked for.
        kits: those of the others that are kits, with their components.
    """
    if hold.channel != request.channel:
        return _another_channels()
    stranger = next((index for index, line in enumerate(request.lines) if line.sku not in registered), None)
    if stranger is not None:
        sku, field = request.lines[stranger].sku, f"lines.{stranger}.sku"
        if sku in kits:
            problem, remedy = f"SKU {sku!r} is a kit and has no stock of its own", f"hold its components: {', '.join(kits[sku] or ())}"
            return HoldRefused("kit", FieldProblem(field=field, problem=problem, remedy=remedy[:500]))
        problem, remedy = f"SKU {sku!r} is not known", "register the product, then ask again under the same hold id"
        return HoldRefused("unknown_sku", FieldProblem(field=field, problem=problem, remedy=remedy))
    if hold.is_new:
        return None
    if hold.state != "held":
        return HoldRefused(hold.state, _closed(hold.state))
    content = {sku: line.asked for sku, line in hold.lines.items()}
    if content != asked_units(request) or hold.policy != request.policy:
        problem = f"hold {hold.hold_id} stands with other lines or another policy"
        return HoldRefused(
            "different_content",
            FieldProblem(field="hold_id", problem=problem, remedy="ask under a new hold id, and release the one that is no longer needed"),
        )
    return None


def release_refusal(channel: str, hold: Hold) -> HoldRefused | None:
    """Why a hold cannot be released: it is another channel's, or an order has its units. Releasing twice is as good as once."""
    if hold.channel != channel:
        return _another_channels()
    return HoldRefused("confirmed", _closed("confirmed")) if hold.state == "confirmed" else None


def _another_channels() -> HoldRefused:
    problem = "this id belongs to a hold of another channel"
    return HoldRefused("foreign_channel", FieldProblem(field="hold_id", problem=problem, remedy="use a fresh UUID for every hold"))


def _closed(state: HoldState) -> FieldProblem:
    if state == "confirmed":
        return FieldProblem(field="hold_id", problem="an order has taken these units", remedy="cancel the order to give them back")
    problem = "this hold was released" if state == "released" else "the time of this hold is up"
    return FieldProblem(field="hold_id", problem=problem, remedy="ask under a new hold id")


def grant(request: HoldRequest, pools: Mapping[str, SharedPool]) -> dict[str, HoldLine]:
    """Takes what is free for a new hold: all of it or nothing if the request says so, otherwise what there is.

    Returns:
        the hold's lines; empty when nothing is held, because a hold that holds nothing is none.
    """
    asked = asked_units(request)
    free = {sku: min(units, pools[sku].takeable(request.channel)) for sku, units in asked.items()}
    if (request.policy == "all_or_nothing" and free != asked) or not any(free.values()):
        return {}
    for sku, units in free.items():
        pools[sku].take(request.channel, units)
    return {sku: HoldLine(units, free[sku], free[sku]) for sku, units in asked.items()}


def outcome_of(hold: Hold) -> HoldOutcome:
    """How a hold compares with what was asked for."""
    held = sum(line.held for line in hold.lines.values())
    if not held:
        return "nothing_held"
    return "held" if held == sum(line.asked for line in hold.lines.values()) else "partly_held"


def hold_id_in(document: object) -> UUID | None:
    """The hold id of a message that could not be read as a request, as far as it can be made out."""
    data = document.get("data") if isinstance(document, dict) else None
    text = data.get("hold_id") if isinstance(data, dict) else None
    return UUID(text) if isinstance(text, str) and _UUID.fullmatch(text) else None


def prolonged(hold: Hold, now: datetime, ttl_seconds: int) -> datetime:
    """When a hold ends that was asked for again: never sooner than before."""
    return max(hold.expires_at, now + timedelta(seconds=ttl_seconds))


def shrink_holds(books: Books, skus: Iterable[str]) -> list[UUID]:
    """Takes units from holds that no shelf has any more, the newest hold first (feature A10). Returns the holds that got smaller."""
    shrunk: dict[UUID, None] = {}
    for sku in skus:
        pool = books.pools[sku]
        newest_first = sorted(
            (units for units in books.held_units.values() if units.sku == sku),
            key=lambda units: (units.opened_at, units.hold_id),
            reverse=True,
        )
        for units in newest_first:
            quantity = min(pool.held_shortage, units.held)
            if quantity:
                books.unhold(units, quantity, books.causes[sku])
                shrunk[units.hold_id] = None
    return list(shrunk)


class UsableHold(NamedTuple):
    """A hold that an order names and may use: what is held per SKU."""

    hold_id: UUID
    channel: str
    held: dict[str, int]


def used_units(hold: UsableHold, wanted: Sequence[tuple[str, int]]) -> dict[str, int]:
    """How many of a hold's units become the order's, per SKU; the rest of the hold is free again."""
    asked: dict[str, int] = {}
    for sku, quantity in wanted:
        asked[sku] = asked.get(sku, 0) + quantity
    return {sku: min(held, asked.get(sku, 0)) for sku, held in hold.held.items()}
