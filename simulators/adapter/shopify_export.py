"""Shopify's orders export, the CSV that every merchant can download under Orders > Export.

One row per line item; the order's own columns stand on its first row only and are blank below. Columns are found by name, so older and
newer exports both work. A discounted line whose net amount does not divide by its quantity is written as two lines, because the
contract's unit price is a whole number of cents and no cent may be lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from shared.contracts.channels import ChannelOrderReceived
from shared.contracts.orders import ServiceLevel
from simulators.adapter.replay import CatalogueItem, Replay, RowAccount, SourceOrder, order_content
from simulators.adapter.table import Row, UnreadableFileError, minor_units_of, read_table, whole_number_of

NEEDED_COLUMNS = ("Name", "Email", "Financial Status", "Currency", "Lineitem quantity", "Lineitem name", "Lineitem price", "Lineitem sku")
RECOGNISED_BY = frozenset({"Name", "Financial Status", "Lineitem quantity"})
ASSUMED_WEIGHT_GRAMS = 500
UNPAID = {
    "pending": "not_paid_yet",
    "authorized": "not_paid_yet",
    "partially_paid": "not_paid_yet",
    "expired": "not_paid_yet",
    "unpaid": "not_paid_yet",
    "voided": "payment_voided",
    "refunded": "already_refunded",
    "partially_refunded": "already_partly_refunded",
}
TIME_FORMATS = ("%Y-%m-%d %H:%M:%S %z", "%Y-%m-%dT%H:%M:%S%z")


class _NotTakenError(Exception):
    """This order cannot be taken: ``reason`` counts it, ``detail`` tells the merchant; ``row`` is the culprit, if it is one row."""

    def __init__(self, reason: str, detail: str, row: int | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.row = row


@dataclass(slots=True)
class _Occurrence:
    """One order as it stands in the file: its first row and the rows below it."""

    name: str
    rows: list[Row] = field(default_factory=list)

    @property
    def first(self) -> Row:
        return self.rows[0]


@dataclass(frozen=True, slots=True)
class _Item:
    """A line item that is shipped. ``discount_cents`` is for the whole line."""

    row: int
    sku: str
    title: str
    quantity: int
    unit_price_cents: int
    discount_cents: int

    @property
    def net_cents(self) -> int:
        return self.quantity * self.unit_price_cents - self.discount_cents


def reads(heading: Sequence[str]) -> bool:
    """Whether a file with this heading is an orders export of Shopify."""
    return set(heading) >= RECOGNISED_BY


def read_shopify_export(text: str, path: Path, channel: str) -> Replay:
    """Reads one file.

    Args:
        text: the whole file.
        path: names the file in messages.
        channel: the code under which its orders are published.

    Raises:
        UnreadableFileError: the text is no CSV, or columns are missing (they are named).
    """
    heading, rows = read_table(text, path)
    absent = [column for column in NEEDED_COLUMNS if column not in heading]
    if absent:
        raise UnreadableFileError(f"{path}: for a Shopify orders export the columns {', '.join(absent)} are missing; use 'Export orders'")
    account = RowAccount()
    orders: list[SourceOrder] = []
    items: list[_Item] = []
    seen: set[str] = set()
    for occurrence in _occurrences(rows, account):
        if occurrence.name in seen:
            _report_all(account, occurrence, "order_stands_twice_in_the_file", f"order {occurrence.name} was read further up")
            continue
        seen.add(occurrence.name)
        draft = RowAccount()
        try:
            order, shipped = _read_order(occurrence, channel, draft)
        except _NotTakenError as problem:
            account.reported += draft.reported
            _report_refusal(account, occurrence, problem, {row.row for row in draft.reported})
            continue
        account.reported += draft.reported
        account.notes.update(draft.notes)
        account.rows_in_orders += len({item.row for item in shipped})
        orders.append(order)
        items += shipped
    return Replay(
        name=path.name,
        currency=_most_frequent_currency(orders),
        orders=sorted(orders, key=lambda order: (order.arrives_at, order.external_id)),
        withdrawals=[],
        catalogue=_catalogue(items),
        account=account,
        assumptions=[
            f"The export has no weights: every product weighs {ASSUMED_WEIGHT_GRAMS} g (assumed).",
            "Orders are replayed as if they came in now, whatever their fulfillment status was.",
        ],
    )


def _occurrences(rows: Iterable[Row], account: RowAccount) -> Iterator[_Occurrence]:
    """Groups rows: a row with a financial status begins an order, rows of the same name without one belong to it."""
    current: _Occurrence | None = None
    for row in rows:
        account.rows_in += 1
        if row.cells is None:
            reason = "wrong_number_of_columns" if row.raw else "blank_row"
            account.report(row.number, reason, f"{len(row.raw)} cells")
            continue
        name = row.cell("Name")
        if not name:
            account.report(row.number, "no_order_name", row.cell("Lineitem name")[:100])
        elif row.cell("Financial Status"):
            if current is not None:
                yield current
            current = _Occurrence(name, [row])
        elif current is not None and current.name == name:
            current.rows.append(row)
        else:
            account.report(row.number, "line_item_without_its_order", f"order {name}: its first row is not above")
    if current is not None:
        yield current


def _report_all(account: RowAccount, occurrence: _Occurrence, reason: str, detail: str) -> None:
    for row in occurrence.rows:
        account.report(row.number, reason, detail)


def _report_refusal(account: RowAccount, occurrence: _Occurrence, problem: _NotTakenError, done: set[int]) -> None:
    """The culprit row gets the reason; the rest of its order says that it went with it. Rows reported before keep their own reason."""
    for row in occurrence.rows:
        if row.number in done:
            continue
        if problem.row is None or row.number == problem.row:
            account.report(row.number, problem.reason, str(problem))
        else:
            account.report(row.number, "belongs_to_an_order_not_taken", f"order {occurrence.name}: see row {problem.row}")


def _read_order(occurrence: _Occurrence, channel: str, account: RowAccount) -> tuple[SourceOrder, list[_Item]]:
    first = occurrence.first
    status = first.cell("Financial Status").lower()
    if status != "paid":
        raise _NotTakenError(UNPAID.get(status, "unknown_financial_status"), f"order {occurrence.name}: financial status {status}")
    if first.cell("Cancelled at"):
        raise _NotTakenError("cancelled_in_the_shop", f"order {occurrence.name}: cancelled at {first.cell('Cancelled at')}")
    currency = first.cell("Currency").upper()
    items = list(_read_items(occurrence, currency, account))
    if not items:
        raise _NotTakenError("nothing_to_ship", f"order {occurrence.name}: no line item needs shipping")
    paid_at = _time_of(first.cell("Paid at")) or _time_of(first.cell("Created at"))
    if paid_at is None:
        raise _NotTakenError("no_date", f"order {occurrence.name}: neither 'Paid at' nor 'Created at' is a date")
    lines = _lines(items, _order_discount(occurrence, items, currency, account), _taxes(occurrence, currency, account))
    content = {
        "channel": channel,
        "external_id": occurrence.name,
        "paid_at": paid_at,
        "currency": currency,
        "lines": lines,
        "shipping_paid_cents": minor_units_of(first.cell("Shipping") or "0", currency) or 0,
        "promise": {"service_level": _service_level(first.cell("Shipping Method"))},
        "ship_to": _address(first),
        "customer": _customer(occurrence.name, first, account),
    }
    try:
        order = ChannelOrderReceived.model_validate(content)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        field_name = ".".join(str(part) for part in problem["loc"])
        raise _NotTakenError("order_breaks_the_contract", f"order {occurrence.name}: {field_name}: {problem['msg']}") from error
    return SourceOrder(channel, occurrence.name, paid_at, order_content(order)), items


def _read_items(occurrence: _Occurrence, currency: str, account: RowAccount) -> Iterator[_Item]:
    """The line items to ship; what needs no shipping is reported and left out, what is wrong stops the order."""
    for row in occurrence.rows:
        title = row.cell("Lineitem name")
        if row.cell("Lineitem requires shipping").lower() == "false":
            account.report(row.number, "needs_no_shipping", f"order {occurrence.name}: {title[:100]}")
            continue
        quantity = whole_number_of(row.cell("Lineitem quantity"))
        if quantity is None or quantity <= 0:
            raise _NotTakenError("quantity_is_no_count", f"order {occurrence.name}: quantity {row.cell('Lineitem quantity')!r}", row.number)
        price_cents = minor_units_of(row.cell("Lineitem price"), currency)
        if price_cents is None or price_cents < 0:
            raise _NotTakenError("price_is_no_price", f"order {occurrence.name}: price {row.cell('Lineitem price')!r}", row.number)
        sku = row.cell("Lineitem sku")
        if not sku:
            raise _NotTakenError("no_sku", f"order {occurrence.name}: {title[:100]!r} has no SKU; give it one in the shop", row.number)
        discount_cents = minor_units_of(row.cell("Lineitem discount") or "0", currency) or 0
        if not 0 <= discount_cents <= quantity * price_cents:
            account.notes["line discount that makes no sense ignored"] += 1
            discount_cents = 0
        yield _Item(row.number, sku, title or sku, quantity, price_cents, discount_cents)


def _order_discount(occurrence: _Occurrence, items: Sequence[_Item], currency: str, account: RowAccount) -> int:
    """What the order's subtotal is below the sum of its lines: a discount on the whole order."""
    everything = _sum_of_all_lines(occurrence, currency)
    subtotal_cents = minor_units_of(occurrence.first.cell("Subtotal"), currency)
    if subtotal_cents is None or everything is None:
        return 0
    difference = everything - subtotal_cents
    shipped_cents = sum(item.net_cents for item in items)
    if difference < 0 or difference > shipped_cents:
        account.notes["subtotal does not follow from the lines; line prices were used"] += 1
        return 0
    return difference


def _sum_of_all_lines(occurrence: _Occurrence, currency: str) -> int | None:
    """Net amount of all rows of the order, shipped or not."""
    total = 0
    for row in occurrence.rows:
        quantity = whole_number_of(row.cell("Lineitem quantity"))
        price_cents = minor_units_of(row.cell("Lineitem price"), currency)
        if quantity is None or price_cents is None:
            return None
        total += quantity * price_cents - (minor_units_of(row.cell("Lineitem discount") or "0", currency) or 0)
    return total


def _taxes(occurrence: _Occurrence, currency: str, account: RowAccount) -> int:
    """Tax on top of the prices; none when the shop's prices contain it, which shows in the order's total."""
    first = occurrence.first
    amounts = [minor_units_of(first.cell(column) or "0", currency) or 0 for column in ("Subtotal", "Shipping", "Taxes", "Total")]
    subtotal, shipping, taxes, total = amounts
    if taxes > 0 and subtotal + shipping == total:
        account.notes["order whose prices contain the tax"] += 1
        return 0
    if subtotal + shipping + taxes != total:
        account.notes["order whose total holds more than goods, shipping and tax (tips, duties)"] += 1
    return max(0, taxes)


def _lines(items: Sequence[_Item], discount_cents: int, tax_cents: int) -> list[dict[str, Any]]:
    """Contract lines that add up to exactly what was paid for the goods."""
    nets = [item.net_cents for item in items]
    discounts = share_out(discount_cents, nets)
    paid = [net - discount for net, discount in zip(nets, discounts, strict=True)]
    taxes = share_out(tax_cents, paid)
    lines: list[dict[str, Any]] = []
    for item, cents, tax in zip(items, paid, taxes, strict=True):
        price, dearer = divmod(cents, item.quantity)
        line_id = f"row-{item.row}"
        lines.append(_line(line_id, item.sku, item.quantity - dearer, price, tax))
        if dearer:
            lines.append(_line(f"{line_id}b", item.sku, dearer, price + 1, 0))
    return lines


def _line(line_id: str, sku: str, quantity: int, price_cents: int, tax_cents: int) -> dict[str, Any]:
    return {
        "external_line_id": line_id,
        "sku": sku,
        "quantity": quantity,
        "unit_price_cents": price_cents,
        "tax_cents": tax_cents,
    }


def share_out(amount_cents: int, weights: Sequence[int]) -> list[int]:
    """Splits an amount in proportion to the weights, to the last cent: the largest remainders get the odd cents.

    Equal shares when all weights are zero. No share is larger than its weight as long as the amount is not larger than their sum.
    """
    total = sum(weights)
    parts = [Decimal(amount_cents) * weight / total if total else Decimal(amount_cents) / len(weights) for weight in weights]
    shares = [int(part) for part in parts]
    odd = amount_cents - sum(shares)
    for index in sorted(range(len(parts)), key=lambda index: (shares[index] - parts[index], index))[:odd]:
        shares[index] += 1
    return shares


def _service_level(method: str) -> ServiceLevel:
    """The promise behind the name of a shipping method, as far as its words tell."""
    words = method.lower()
    if any(word in words for word in ("overnight", "next day", "next-day", "1 day", "one day")):
        return "next_day"
    if any(word in words for word in ("2 day", "2-day", "two day", "two-day", "2nd day", "second day", "express")):
        return "two_day"
    return "standard"


def _address(first: Row) -> dict[str, Any]:
    """The shipping address; the billing address where the order has no other."""
    side = "Shipping" if first.cell("Shipping Zip") or first.cell("Shipping City") else "Billing"
    return {
        "name": first.cell(f"{side} Name") or first.cell("Billing Name"),
        "line1": first.cell(f"{side} Address1") or first.cell(f"{side} Street"),
        "line2": first.cell(f"{side} Address2") or None,
        "city": first.cell(f"{side} City"),
        "region": first.cell(f"{side} Province") or None,
        "postal_code": first.cell(f"{side} Zip").removeprefix("'"),
        "country": first.cell(f"{side} Country").upper(),
        "phone": first.cell(f"{side} Phone").removeprefix("'") or None,
    }


def _customer(name: str, first: Row, account: RowAccount) -> dict[str, Any]:
    email = first.cell("Email")
    if not email:
        account.notes["order without an email address"] += 1
        email = f"order-{''.join(character for character in name if character.isalnum())}@invalid.example"
    return {"email": email, "name": first.cell("Billing Name") or None}


def _time_of(text: str) -> datetime | None:
    """An instant; exports carry the offset, and a time that lost it in a spreadsheet is taken for UTC."""
    for candidate in (text, f"{text} +0000"):
        for form in TIME_FORMATS:
            try:
                return datetime.strptime(candidate, form).astimezone(UTC)
            except ValueError:
                continue
    return None


def _most_frequent_currency(orders: Sequence[SourceOrder]) -> str:
    counts = Counter(order.content["currency"] for order in orders)
    return counts.most_common(1)[0][0] if counts else "USD"


def _catalogue(items: Iterable[_Item]) -> list[CatalogueItem]:
    """Every SKU that is shipped, under its first title and price."""
    found: dict[str, CatalogueItem] = {}
    for item in items:
        if item.sku not in found:
            found[item.sku] = CatalogueItem(item.sku, item.title[:500], item.unit_price_cents, ASSUMED_WEIGHT_GRAMS, weight_is_assumed=True)
    return list(found.values())
