"""The UCI "Online Retail" CSV: one row per invoice line of a British gift wholesaler, with all the dirt of a real ledger.

Every row becomes part of an order, part of a withdrawal (a cancellation invoice whose goods were sold earlier in the same file), or is
reported with its reason. The data has no addresses and no weights: each customer gets a real US ZIP code, drawn from the customer's
number, and every product the same assumed weight; both are named in the replay's assumptions. Source: Chen (2015), UCI Machine
Learning Repository, CC BY 4.0.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from shared.contracts.channels import ChannelOrderLine, ChannelOrderReceived
from shared.contracts.orders import Address, Customer
from simulators.adapter.geography import place_of_customer
from simulators.adapter.replay import (
    CatalogueItem,
    Replay,
    ReturnedUnits,
    RowAccount,
    SourceOrder,
    Withdrawal,
    order_content,
)
from simulators.adapter.table import Row, decimal_of, minor_units_of, read_table, whole_number_of

HEADING = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
CURRENCY = "GBP"
ASSUMED_WEIGHT_GRAMS = 400
WHOLESALE_UNITS_OF_A_LINE = 100
"""An order with a line of at least so many units is taken for a wholesale order."""

POSTAGE_CODES = frozenset({"POST", "DOT", "C2"})
NOT_PRODUCTS = {
    "M": "manual_entry",
    "D": "discount",
    "S": "sample",
    "B": "bad_debt",
    "BANK CHARGES": "bank_charges",
    "AMAZONFEE": "marketplace_fee",
    "CRUK": "donation",
}
VOUCHER = re.compile(r"^GIFT_\d+_\d+$")
TIME_FORMATS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M")
SHOP_TIME = ZoneInfo("Europe/London")

Value = TypeVar("Value", str, int)


@dataclass(frozen=True, slots=True)
class _Sale:
    """A row that sells a product."""

    row: int
    invoice: str
    sku: str
    title: str
    quantity: int
    unit_price_cents: int
    sold_at: datetime
    customer: str

    @property
    def line_id(self) -> str:
        return f"row-{self.row}"


@dataclass(slots=True)
class _Ledger:
    """What has been read so far."""

    account: RowAccount
    sales: dict[str, list[_Sale]] = field(default_factory=lambda: defaultdict(list))
    postage: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    """Per invoice: row and cents."""
    cancellations: list[_Sale] = field(default_factory=list)
    """Rows of cancellation invoices, with positive quantities."""
    seen: set[tuple[str, ...]] = field(default_factory=set)


def reads(heading: Sequence[str]) -> bool:
    """Whether a file with this heading is an Online Retail CSV."""
    return set(HEADING) <= set(heading)


def read_online_retail(text: str, path: Path, channel: str) -> Replay:
    """Reads one file.

    Args:
        text: the whole file.
        path: names the file in messages.
        channel: the code under which its orders are published.

    Raises:
        UnreadableFileError: the text is no CSV.
    """
    _, rows = read_table(text, path)
    ledger = _Ledger(RowAccount())
    for row in rows:
        ledger.account.rows_in += 1
        _sort_row(ledger, row)
    orders = _orders(ledger, channel)
    taken = {order.external_id for order in orders}
    withdrawals = _withdrawals(ledger, taken, channel)
    catalogue = _catalogue(sale for invoice in taken for sale in ledger.sales[invoice])
    return Replay(
        name=path.name,
        currency=CURRENCY,
        orders=orders,
        withdrawals=withdrawals,
        catalogue=catalogue,
        account=ledger.account,
        assumptions=[
            "The file has no addresses: each customer lives at a real US ZIP code drawn from the customer number (simulated).",
            f"The file has no weights: every product weighs {ASSUMED_WEIGHT_GRAMS} g (assumed).",
        ],
    )


def _sort_row(ledger: _Ledger, row: Row) -> None:
    """Decides what one row is."""
    account = ledger.account
    if row.cells is None:
        reason = "wrong_number_of_columns" if row.raw else "blank_row"
        account.report(row.number, reason, ",".join(row.raw)[:200])
        return
    invoice = row.cell("InvoiceNo").upper()
    code = row.cell("StockCode")
    sku = code.upper()
    said = f"invoice {invoice}, {code}, quantity {row.cell('Quantity')}, price {row.cell('UnitPrice')}"
    problem = _unreadable(row)
    sold_at = _time_of(row.cell("InvoiceDate"))
    if problem is not None or sold_at is None:
        account.report(row.number, problem or "date_is_no_date", said)
        return
    if row.raw in ledger.seen:
        account.report(row.number, "exact_duplicate_row", said)
        return
    ledger.seen.add(row.raw)
    quantity = whole_number_of(row.cell("Quantity")) or 0
    cents = minor_units_of(row.cell("UnitPrice"), CURRENCY) or 0
    not_sold = _not_a_sale(invoice, sku, quantity, cents)
    if not_sold == "postage":
        ledger.postage[invoice].append((row.number, cents * quantity))
        return
    if not_sold is not None:
        account.report(row.number, not_sold, said)
        return
    if decimal_of(row.cell("UnitPrice")) != Decimal(cents) / 100:
        account.notes["price rounded to a whole penny"] += 1
    if code != sku:
        account.notes["SKU written in capitals"] += 1
    sale = _Sale(
        row=row.number,
        invoice=invoice,
        sku=sku,
        title=row.cell("Description") or sku,
        quantity=abs(quantity),
        unit_price_cents=cents,
        sold_at=sold_at,
        customer=row.cell("CustomerID").removesuffix(".0"),
    )
    if invoice.startswith("C"):
        ledger.cancellations.append(sale)
    else:
        ledger.sales[invoice].append(sale)


def _unreadable(row: Row) -> str | None:
    """What makes a row impossible to understand, or None."""
    if not row.cell("InvoiceNo"):
        return "no_invoice_number"
    if not row.cell("StockCode"):
        return "no_stock_code"
    if len(row.cell("StockCode")) > 64:
        return "stock_code_too_long"
    if whole_number_of(row.cell("Quantity")) is None:
        return "quantity_is_no_whole_number"
    if minor_units_of(row.cell("UnitPrice"), CURRENCY) is None:
        return "price_is_no_number"
    return None


def _not_a_sale(invoice: str, sku: str, quantity: int, cents: int) -> str | None:
    """Why a readable row sells (or takes back) no product, ``postage`` for money of the parcel, or None when it does."""
    cancels = invoice.startswith("C")
    if sku in POSTAGE_CODES:
        return "postage" if quantity > 0 and cents > 0 and not cancels else "postage_correction"
    if sku in NOT_PRODUCTS:
        return NOT_PRODUCTS[sku]
    if VOUCHER.match(sku):
        return "gift_voucher"
    if not invoice.removeprefix("C").isdigit():
        return "accounting_adjustment"
    if quantity == 0:
        return "zero_quantity"
    if cents < 0:
        return "negative_price"
    if cancels:
        return None if quantity < 0 else "cancellation_with_positive_quantity"
    if quantity < 0:
        return "negative_quantity_without_cancellation"
    return "zero_price" if cents == 0 else None


def _time_of(text: str) -> datetime | None:
    """The shop's local time as an instant."""
    for form in TIME_FORMATS:
        try:
            return datetime.strptime(text, form).replace(tzinfo=SHOP_TIME).astimezone(UTC)
        except ValueError:
            continue
    return None


def _orders(ledger: _Ledger, channel: str) -> list[SourceOrder]:
    """One order per invoice; postage of the invoice becomes what was paid for shipping."""
    account = ledger.account
    orders: list[SourceOrder] = []
    for invoice, sales in ledger.sales.items():
        postage_cents = sum(cents for _, cents in ledger.postage.get(invoice, ()))
        try:
            content = order_content(_order(channel, invoice, sales, postage_cents))
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            detail = f"invoice {invoice}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}"
            for sale in sales:
                account.report(sale.row, "order_breaks_the_contract", detail)
            continue
        account.rows_in_orders += len(sales)
        if not sales[0].customer:
            account.notes["order of a guest (no customer number)"] += 1
        orders.append(SourceOrder(channel, invoice, min(sale.sold_at for sale in sales), content))
    _settle_postage(ledger, {order.external_id for order in orders})
    return sorted(orders, key=lambda order: (order.arrives_at, order.external_id))


def _settle_postage(ledger: _Ledger, taken: set[str]) -> None:
    for invoice, charges in ledger.postage.items():
        for row, cents in charges:
            if invoice in taken:
                ledger.account.report(row, "postage_became_shipping_paid", f"invoice {invoice}: {cents} pence")
            else:
                ledger.account.report(row, "postage_without_goods", f"invoice {invoice}: {cents} pence")


def _order(channel: str, invoice: str, sales: list[_Sale], postage_cents: int) -> ChannelOrderReceived:
    customer = sales[0].customer or f"guest-{invoice}"
    home = place_of_customer(customer)
    bulk = any(sale.quantity >= WHOLESALE_UNITS_OF_A_LINE for sale in sales)
    return ChannelOrderReceived(
        channel=channel,
        external_id=invoice,
        paid_at=min(sale.sold_at for sale in sales),
        currency=CURRENCY,
        segment="wholesale" if bulk else "dtc",
        lines=[
            ChannelOrderLine(external_line_id=sale.line_id, sku=sale.sku, quantity=sale.quantity, unit_price_cents=sale.unit_price_cents)
            for sale in sales
        ],
        shipping_paid_cents=postage_cents,
        ship_to=Address(
            name=f"Customer {customer}",
            line1="1 Simulated Street",
            line2="simulated address",
            city=home.city,
            region=home.state,
            postal_code=home.postal_code,
            country="US",
        ),
        customer=Customer(email=f"customer-{customer.lower()}@example.com"),
    )


def _withdrawals(ledger: _Ledger, taken: set[str], channel: str) -> list[Withdrawal]:
    """Matches cancellation rows with what the same customer had bought before, newest purchase first."""
    account = ledger.account
    open_units = {sale.row: sale.quantity for invoice in taken for sale in ledger.sales[invoice]}
    bought: dict[tuple[str, str], list[_Sale]] = defaultdict(list)
    for invoice in taken:
        for sale in ledger.sales[invoice]:
            bought[(sale.customer, sale.sku)].append(sale)
    asked: dict[tuple[str, str], list[tuple[_Sale, _Sale]]] = defaultdict(list)
    for cancellation in sorted(ledger.cancellations, key=lambda sale: (sale.sold_at, sale.row)):
        original = _original(cancellation, bought, open_units)
        if original is None:
            detail = f"invoice {cancellation.invoice}, {cancellation.sku}: {cancellation.quantity} units not sold before in this file"
            account.report(cancellation.row, "cancellation_without_its_order", detail)
            continue
        open_units[original.row] -= cancellation.quantity
        account.rows_in_withdrawals += 1
        asked[(cancellation.invoice, original.invoice)].append((cancellation, original))
    found = [_withdrawal(channel, reference, invoice, pairs, ledger) for (reference, invoice), pairs in asked.items()]
    return sorted(found, key=lambda withdrawal: (withdrawal.asked_at, withdrawal.reference))


def _original(cancellation: _Sale, bought: dict[tuple[str, str], list[_Sale]], open_units: dict[int, int]) -> _Sale | None:
    if not cancellation.customer:
        return None
    fitting = [
        sale
        for sale in bought.get((cancellation.customer, cancellation.sku), ())
        if sale.sold_at <= cancellation.sold_at and open_units[sale.row] >= cancellation.quantity
    ]
    return max(fitting, key=lambda sale: (sale.sold_at, sale.row), default=None)


def _withdrawal(channel: str, reference: str, invoice: str, pairs: list[tuple[_Sale, _Sale]], ledger: _Ledger) -> Withdrawal:
    units: Counter[str] = Counter()
    for cancellation, original in pairs:
        units[original.line_id] += cancellation.quantity
    originals = {original.line_id: original for _, original in pairs}
    whole = all(units[sale.line_id] == sale.quantity for sale in ledger.sales[invoice])
    return Withdrawal(
        channel=channel,
        external_id=invoice,
        asked_at=min(cancellation.sold_at for cancellation, _ in pairs),
        whole=whole,
        units=tuple(ReturnedUnits(line_id, originals[line_id].sku, quantity) for line_id, quantity in units.items()),
        reference=reference,
    )


def _catalogue(sales: Iterable[_Sale]) -> list[CatalogueItem]:
    """Every SKU that is sold, under its most frequent title and at its most frequent price."""
    titles: dict[str, Counter[str]] = defaultdict(Counter)
    prices: dict[str, Counter[int]] = defaultdict(Counter)
    for sale in sales:
        titles[sale.sku][sale.title] += 1
        prices[sale.sku][sale.unit_price_cents] += 1
    return [
        CatalogueItem(
            sku=sku,
            title=_most_frequent(titles[sku]),
            unit_price_cents=_most_frequent(prices[sku]),
            unit_weight_grams=ASSUMED_WEIGHT_GRAMS,
            weight_is_assumed=True,
        )
        for sku in sorted(titles)
    ]


def _most_frequent(counts: Counter[Value]) -> Value:
    """The most frequent value; among equals the smallest, so that every run says the same."""
    return min(counts, key=lambda value: (-counts[value], value))
