"""What an edit makes of the lines of an order, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from services.routing.decide.fulfillment import REJECTED_FOR_THE_ADDRESS, STARTED, State
from services.routing.decide.money import Fall, share_cents, total_cents
from services.routing.decide.order import Line, Order, line_of
from services.routing.decide.refusals import Refusal, Wording, lines_named
from services.routing.decide.values import replace
from shared.addresses import blank_fields
from shared.contracts.base import MOST_CENTS
from shared.contracts.orders import Address, LineChange, OrderEditRequested, ServiceLevel, SplitPolicy
from shared.kits import MOST_UNITS_OF_A_LINE, Kit, lines_of, oversized_component

MOST_LINES = 2_000
WORDING = Wording("line_changes", "changes", "its quantity counts kits (0 removes the kit)", "its final quantity")


@dataclass(frozen=True, slots=True)
class Edited:
    """The order as it would stand. ``money_delta_cents`` is the new total minus the old one, shipping included; ``shipping_delta_cents`` is
    the part of it that is shipping's."""

    lines: tuple[Line, ...]
    ship_to: Mapping[str, Any]
    falls: tuple[Fall, ...]
    money_delta_cents: int
    service_level: ServiceLevel
    split_policy: SplitPolicy
    shipping_delta_cents: int = 0


def address_as_json(address: Address) -> dict[str, Any]:
    """An address as orders keep it."""
    return address.model_dump(mode="json", exclude_none=True)


def edit_lines(order: Order, request: OrderEditRequested) -> Edited | Refusal:
    """Applies the wished changes, or says which of them can not be made and why. What they cost more has to be paid for first."""
    edited = apply_changes(order, request)
    return edited if isinstance(edited, Refusal) else started_refusal(order, edited) or edited


def started_refusal(order: Order, edited: Edited) -> Refusal | None:
    """Why an edit comes too late: a line of it has been started by a warehouse or has shipped. Lines before their cutoff stay free, and so
    do new ones; address, service level and split policy are the whole order's, so they stand once anything has started."""
    places: dict[str, str] = {}
    for fulfillment in order.fulfillments:
        if fulfillment.state in STARTED:
            places |= {line.line_id: fulfillment.location for line in fulfillment.lines if line.left or line.shipped}
    shipped = {line.line_id for line in order.lines if line.shipped}
    whole = _changes_of_the_whole(order, edited)
    if whole and (places or shipped):
        if places:
            return Refusal(
                "fulfillment_started", f"{whole[0]}: {min(places.values())} has started to pick; what has shipped can be sent back"
            )
        return Refusal("already_shipped", f"{whole[0]}: a part of the order has shipped; cancel the rest and order it anew")
    for before, after in zip(order.lines, edited.lines, strict=False):
        if before.quantity == after.quantity:
            continue
        if before.line_id in places:
            detail = f"line_changes: {places[before.line_id]} has started to pick line {before.line_id}; what has shipped can be sent back"
            return Refusal("fulfillment_started", detail)
        if before.line_id in shipped:
            return Refusal("already_shipped", f"line_changes: line {before.line_id} has shipped; what has shipped can be sent back")
    return None


def _changes_of_the_whole(order: Order, edited: Edited) -> list[str]:
    """Fields of an edit that concern every line."""
    fields = {
        "ship_to": edited.ship_to != order.ship_to,
        "service_level": edited.service_level != order.service_level,
        "split_policy": edited.split_policy != order.split_policy,
    }
    return [field for field, changed in fields.items() if changed]


def edited_order(order: Order, edited: Edited, now: datetime) -> Order:
    """The order with lines, address, service and split policy of an edit. Another service level is promised from now on, and replaces the
    date that the customer was told for the old one. Where another address goes, who could not deliver to the old one may be asked."""
    changed = replace(order, lines=edited.lines, ship_to=edited.ship_to, split_policy=edited.split_policy)
    if edited.ship_to != order.ship_to:
        changed = _asking_again_for_the_address(changed)
    if edited.service_level == order.service_level:
        return changed
    paid_cents = order.shipping_paid_cents + edited.shipping_delta_cents
    return replace(changed, service_level=edited.service_level, shipping_paid_cents=paid_cents, promise_from=now, deliver_by=None)


def _asking_again_for_the_address(order: Order) -> Order:
    """The order with the locations that rejected it for its old address free to ship it. What they rejected for other reasons stands."""
    rejected = [item for item in order.fulfillments if item.state is State.REJECTED]
    # A location may have rejected the order before an operator retried it: its last word counts.
    last_word = {item.location: item.ended_because for item in rejected}
    free = {location for location in order.excluded_locations if last_word.get(location) == REJECTED_FOR_THE_ADDRESS}
    settled = sum(item.location in free and item.ended_because == REJECTED_FOR_THE_ADDRESS for item in rejected)
    return replace(order, excluded_locations=order.excluded_locations - free, rejections=max(0, order.rejections - settled))


def payment_refusal(order: Order, edited: Edited) -> Refusal | None:
    """Why an edit that costs more is not made where no payments are asked for."""
    if edited.money_delta_cents <= 0:
        return None
    field = dearer_field(edited.money_delta_cents, edited.shipping_delta_cents)
    of_lines = field == "line_changes"
    way_out = "have what is added ordered and paid for separately" if of_lines else "keep the service level that was paid"
    detail = f"{field}: the change costs {edited.money_delta_cents} cents ({order.currency}) more, which must be paid first; {way_out}"
    return Refusal("payment_required", detail)


def dearer_field(money_delta_cents: int, shipping_delta_cents: int) -> Literal["line_changes", "service_level"]:
    """Which field makes an edit cost more."""
    return "line_changes" if money_delta_cents > shipping_delta_cents else "service_level"


def shipping_delta_cents(order: Order, request: OrderEditRequested) -> int:
    """What the customer would pay more for shipping, or less (below zero): nothing where the service stays or has no price."""
    if request.service_level in (None, order.service_level) or request.shipping_paid_cents is None:
        return 0
    return request.shipping_paid_cents - order.shipping_paid_cents


def unmapped_refusal(address: Mapping[str, Any]) -> Refusal:
    """Why an order can not be sent to an address whose postal code is on no map."""
    detail = (
        f"ship_to.postal_code: {address['postal_code']!r} is on no map of {address['country']} here; "
        f"correct the postal code or the country, or have the postal areas of that country loaded"
    )
    return Refusal("invalid", detail)


def apply_changes(order: Order, request: OrderEditRequested) -> Edited | Refusal:
    """The order with the wished changes, whatever it would cost, or which of them can not be made and why.

    The tax of a line follows its quantity: each unit keeps its share.
    """
    blank = [] if request.ship_to is None else blank_fields(request.ship_to)
    if blank:
        return Refusal("invalid", f"ship_to.{blank[0]}: is blank; send what is to stand on the parcel")
    wanted = _quantities(order, request.line_changes)
    if isinstance(wanted, Refusal):
        return wanted
    added = _added_lines(order, request)
    if isinstance(added, Refusal):
        return added
    lines = tuple(_with_quantity(line, wanted.get(line.line_id, line.quantity)) for line in order.lines) + added
    ship_to = order.ship_to if request.ship_to is None else address_as_json(request.ship_to)
    service_level, split_policy = request.service_level or order.service_level, request.split_policy or order.split_policy
    if (lines, ship_to, service_level, split_policy) == (order.lines, order.ship_to, order.service_level, order.split_policy):
        return Refusal("nothing_to_change", "the order already is as asked for")
    if not any(line.quantity for line in lines):
        return Refusal("empties_order", "nothing would be left of the order: cancel it instead")
    if sum(1 for line in lines if line.quantity) > MOST_LINES:
        return Refusal("invalid", f"line_changes: an order has at most {MOST_LINES} lines")
    shipping_cents = shipping_delta_cents(order, request)
    delta_cents = total_cents(lines) - total_cents(order.lines) + shipping_cents
    worth_cents = total_cents(lines) + order.shipping_paid_cents + shipping_cents
    if delta_cents > 0 and worth_cents > MOST_CENTS:
        return _too_dear(order, request, lines, worth_cents)
    return Edited(lines, ship_to, _falls(order.lines, lines), delta_cents, service_level, split_policy, shipping_cents)


def _too_dear(order: Order, request: OrderEditRequested, lines: Sequence[Line], worth_cents: int) -> Refusal:
    """The refusal of an edit that brings the order over the largest amount that money messages can carry. The change that costs most is to
    blame: its price where not even one unit could be had, else its quantity."""
    rises: dict[str, int] = {}
    for sign, some in ((1, lines), (-1, order.lines)):
        for line in some:
            bought_as = line.line_id if line.kit is None else line.kit.line_id
            rises[bought_as] = rises.get(bought_as, 0) + sign * total_cents((line,))
    costs = [
        (rises.get(change.line_id or _added_id(request, position), 0), -position)
        for position, change in enumerate(request.line_changes, start=1)
    ]
    limit = f"the order would be worth {worth_cents} cents ({order.currency}), the largest amount is {MOST_CENTS}"
    if not costs or max(costs)[0] <= 0:
        return Refusal("invalid", f"service_level: {limit}; keep the one that it has")
    position = -max(costs)[1]
    change = request.line_changes[position - 1]
    price_cents = change.unit_price_cents if change.line_id is None else None
    too_dear_alone = price_cents is not None and worth_cents - price_cents * (change.quantity - 1) > MOST_CENTS
    field = f"line_changes.{position - 1}.{'unit_price_cents' if too_dear_alone else 'quantity'}"
    return Refusal("invalid", f"{field}: {limit}; order less of it, or as an order of its own")


def _added_id(request: OrderEditRequested, position: int) -> str:
    """The id of the line that a change adds; ``position`` counts from 1."""
    return f"added-{request.change_id.hex}-{position}"


def with_fewer_units(order: Order, units: Mapping[str, int]) -> Edited:
    """The order without these units of its lines; what has left or is being packed stays."""
    lines = tuple(_with_quantity(line, line.quantity - units.get(line.line_id, 0)) for line in order.lines)
    delta_cents = total_cents(lines) - total_cents(order.lines)
    return Edited(lines, order.ship_to, _falls(order.lines, lines), delta_cents, order.service_level, order.split_policy)


def _quantities(order: Order, changes: Sequence[LineChange]) -> dict[str, int] | Refusal:
    """New quantities of lines that the order has. A kit is named by the line id of the kit, and all its lines change together."""
    wanted: dict[str, int] = {}
    named: set[str] = set()
    for position, change in enumerate(changes):
        if change.line_id is None:
            continue
        parts = lines_named(order, change.line_id, named, WORDING)
        if isinstance(parts, Refusal):
            return parts
        named.add(change.line_id)
        sku = parts[0].sku if parts[0].kit is None else parts[0].kit.sku
        if change.sku is not None and change.sku != sku:
            detail = f"line_changes: line {change.line_id} is {sku}, not {change.sku}; to swap, remove it and add a line"
            return Refusal("invalid", detail)
        units = {part.line_id: change.quantity * (1 if part.kit is None else part.kit.units) for part in parts}
        if max(units.values()) > MOST_UNITS_OF_A_LINE:
            return Refusal("invalid", f"line_changes: line {change.line_id}: quantity: at most {MOST_UNITS_OF_A_LINE} units")
        refused = _another_price(f"line_changes.{position}", change, parts, units)
        if refused is not None:
            return refused
        wanted |= units
    return wanted


def _another_price(where: str, change: LineChange, parts: Sequence[Line], units: Mapping[str, int]) -> Refusal | None:
    """Why a change that names another price or tax than the line has is not made: what was bought keeps its price, and who says another
    one would believe that it had been taken. What the line has anyway may be repeated, and of a line that goes it means nothing."""
    if not change.quantity:
        return None
    price_cents = sum(part.unit_price_cents * (1 if part.kit is None else part.kit.units) for part in parts)
    tax_cents = sum(share_cents(part.tax_cents, units[part.line_id], part.quantity) for part in parts)
    for field, said, known in (("unit_price_cents", change.unit_price_cents, price_cents), ("tax_cents", change.tax_cents, tax_cents)):
        if said not in (None, known):
            with_units = "" if field == "unit_price_cents" else f" with {change.quantity} units"
            detail = (
                f"{where}.{field}: line {change.line_id}{with_units} has {known}, not {said}, and keeps it; leave the field out, or take "
                f"the line off (quantity 0) and add its SKU anew without line id"
            )
            return Refusal("invalid", detail)
    return None


def _added_lines(order: Order, request: OrderEditRequested) -> tuple[Line, ...] | Refusal:
    added: list[Line] = []
    for position, change in enumerate(request.line_changes, start=1):
        if change.line_id is not None:
            continue
        where = f"line_changes: change {position}"
        if change.sku is None:
            return Refusal("invalid", f"{where}: name line_id to change a line, or sku to add one")
        if not 0 < change.quantity <= MOST_UNITS_OF_A_LINE:
            return Refusal("invalid", f"{where}: quantity: a line that is added needs 1 to {MOST_UNITS_OF_A_LINE} units")
        if change.unit_price_cents is None or (change.unit_weight_grams is None and not change.components):
            missing = "unit_price_cents" if change.unit_price_cents is None else "unit_weight_grams"
            return Refusal("invalid", f"{where}: {missing}: needed for {change.sku}; take it from the product master")
        line_id = _added_id(request, position)
        if change.components:
            taken = {line.line_id for line in (*order.lines, *added)}
            kit = _added_kit(change, line_id, change.unit_price_cents, taken, where)
            if isinstance(kit, Refusal):
                return kit
            added += kit
            continue
        assert change.unit_weight_grams is not None
        added.append(
            Line(
                line_id=line_id,
                sku=change.sku,
                title=change.title or change.sku,
                quantity=change.quantity,
                unit_price_cents=change.unit_price_cents,
                tax_cents=change.tax_cents or 0,
                unit_weight_grams=change.unit_weight_grams,
                unit_volume_cubic_centimetres=change.unit_volume_cubic_centimetres,
                hazmat=change.hazmat,
            )
        )
    return tuple(added)


def _added_kit(change: LineChange, line_id: str, unit_price_cents: int, taken: set[str], where: str) -> list[Line] | Refusal:
    """A kit as the lines of its components."""
    assert change.sku is not None
    skus = [component.sku for component in change.components]
    twice = next((sku for sku in skus if skus.count(sku) > 1), None)
    if twice is not None:
        return Refusal("invalid", f"{where}: components: {twice} stands twice in kit {change.sku}; name each SKU once, with all its units")
    oversized = oversized_component(change.components, change.quantity)
    if oversized is not None:
        return Refusal(
            "invalid", f"{where}: quantity: {change.quantity} kits need too many units of {oversized.sku}; at most {MOST_UNITS_OF_A_LINE}"
        )
    kit = Kit(line_id, change.sku, change.title or change.sku, change.quantity, unit_price_cents, change.tax_cents or 0, change.components)
    return [line_of(line) for line in lines_of(kit, taken)]


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
