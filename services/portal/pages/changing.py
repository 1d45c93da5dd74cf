"""The form that changes an order, for shoppers and operators alike: what was filled in, as a wish or as what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid5

from pydantic import ValidationError

from services.portal.api.outcomes import faults_in
from services.portal.decide.bought import Item
from services.portal.decide.order import OrderView
from shared.contracts.orders import Actor, Address, LineChange, OrderEditRequested

ADDRESS_LABELS = {
    "name": "Name",
    "line1": "Street",
    "line2": "Apartment, floor (if any)",
    "city": "City",
    "region": "State or region",
    "postal_code": "Postal code",
    "country": "Country (two letters)",
}
MOST_UNITS = 999_999
UNSAID = frozenset({"token", "step", "seen", "find", "found"})
"""Fields that ask for nothing by themselves."""


@dataclass(frozen=True)
class ChangeForm:
    """A form that was filled in. ``changes`` are the fields of the command; ``wrong`` says by field what cannot be read."""

    fields: Mapping[str, str]
    changes: Mapping[str, Any] = field(default_factory=dict)
    wrong: Mapping[str, str] = field(default_factory=dict)
    version: int | None = None

    def change_id(self, order_id: UUID, who: str) -> UUID:
        """The wish's name. What is asked for is part of it: one page may be sent with other figures once more."""
        said = "\n".join(f"{name}={text}" for name, text in sorted(self.fields.items()) if name not in UNSAID)
        return uuid5(order_id, f"{who} change {said}")

    def command(self, order_id: UUID, actor: Actor, who: str) -> OrderEditRequested:
        """The wish."""
        change_id = self.change_id(order_id, who)
        return OrderEditRequested(order_id=order_id, change_id=change_id, actor=actor, expected_order_version=self.version, **self.changes)


def line_id_of(item: Item) -> str:
    """By which line id a thing that was bought is changed: a kit as a whole."""
    return item.kit.line_id if item.kit else item.pieces[0].lines[0].line_id


def read_change(order: OrderView, fields: Mapping[str, str], *, for_operators: bool = False, may_add: bool = False) -> ChangeForm:
    """Reads the form. What stands as it was is no change. Who ``may_add`` may add a product, or swap a line for one; operators may, and
    change how the order ships as well."""
    wrong: dict[str, str] = {}
    changes: dict[str, Any] = {}
    lines: list[LineChange] = []
    for item in order.bought:
        name = f"units {line_id_of(item)}"
        text = fields.get(name, "").strip()
        if not text or text == str(item.ordered):
            continue
        units = _count(text)
        if units is None:
            wrong[name] = "Choose a whole number; 0 removes it."
        else:
            lines.append(LineChange(line_id=line_id_of(item), quantity=units))
    own = {f"units {line_id_of(item)}" for item in order.bought}
    if any(name.startswith("units ") and name not in own for name in fields):
        wrong["form"] = "This names something that is not in the order, or not any more. Please look at it as it stands, and try again."
    if for_operators or may_add:
        lines += _added(order, fields, wrong)
    elif fields.get("add_sku", "").strip() or fields.get("swap_line", ""):
        wrong["form"] = "Nothing can be added to this order here: please order it separately."
    if lines:
        changes["line_changes"] = lines
    address = _address(order, fields, wrong)
    if address is not None:
        changes["ship_to"] = address
    if for_operators:
        changes |= {name: fields[name] for name in ("service_level", "split_policy") if fields.get(name)}
    version = _count(fields.get("version", ""))
    if not changes and not wrong:
        wrong["form"] = "Nothing is different yet: change what you want to have changed."
    elif version is None and not wrong:
        wrong["form"] = "Please look at the order as it stands now, and try again."
    return ChangeForm(fields, changes, wrong, version)


def _added(order: OrderView, fields: Mapping[str, str], wrong: dict[str, str]) -> list[LineChange]:
    """A product that is added; of a swap the removed line before it, with as many units. What contradicts itself is wrong."""
    sku, swapped, units_text = (fields.get(name, "").strip() for name in ("add_sku", "swap_line", "add_units"))
    if not sku:
        if swapped:
            wrong["add_sku"] = "Choose what you want instead."
        return []
    instead_of = next((item for item in order.bought if line_id_of(item) == swapped), None)
    if swapped and instead_of is None:
        wrong["swap_line"] = "This is not in the order, or not any more: choose again."
    elif instead_of is not None and instead_of.sku == sku:
        wrong["swap_line"] = "This would be swapped for itself: change how many you want of it instead."
    elif instead_of is not None and fields.get(f"units {swapped}", "").strip() not in ("", str(instead_of.ordered)):
        wrong["swap_line"] = "Either swap it, or change how many you want of it: not both."
    elif instead_of is not None and units_text not in ("", str(instead_of.ordered)):
        wrong["add_units"] = f"You get as many as you swap, {instead_of.ordered}: leave this empty."
    units = instead_of.ordered if instead_of is not None else _count(units_text or "1")
    if not units:
        wrong["add_units"] = "Choose a whole number of 1 or more."
        return []
    try:
        added = LineChange.model_validate({"sku": sku, "quantity": units})
    except ValidationError:
        wrong["add_sku"] = "This is no SKU."
        return []
    return [added] if instead_of is None else [LineChange(line_id=swapped, quantity=0), added]


def _address(order: OrderView, fields: Mapping[str, str], wrong: dict[str, str]) -> Address | None:
    """The new address; None where it stands as it was. Whatever the form does not have is kept."""
    now = {name: order.ship_to.get(name) or "" for name in ADDRESS_LABELS}
    filled_in = {name: fields.get(f"address_{name}", now[name]).strip() for name in ADDRESS_LABELS}
    if filled_in == now:
        return None
    wanted = {**order.ship_to, **filled_in}
    try:
        return Address.model_validate({name: value for name, value in wanted.items() if value})
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_context=False, include_input=False):
            wrong[f"address_{problem['loc'][0]}"] = "Please fill this in as it stands on a parcel."
        return None


def _count(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and int(text[:7]) <= MOST_UNITS and len(text) <= 6 else None


def marked(form: ChangeForm, refusal: str) -> ChangeForm:
    """The form with the fields marked that routing's refusal blames, of those that people fill in."""
    blamed = {
        f"address_{name}": f"Please check this: we do not know this {ADDRESS_LABELS[name].lower()}."
        for fault in faults_in(refusal)
        if fault.field.startswith("ship_to.") and (name := fault.field.removeprefix("ship_to.")) in ADDRESS_LABELS
    }
    return replace(form, wrong={**form.wrong, **blamed}) if blamed else form
