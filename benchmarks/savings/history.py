"""What people buy together: the invoices of a real shop, or drawn by a stated rule where that history is not there.

The history is the UCI "Online Retail" set (Chen, 2015, CC BY 4.0), one file per trading day. It lies beside the project and not in it.
"""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from deploy.local.processes import CHECKOUT

HISTORY = CHECKOUT.parent / "shared" / "data" / "online_retail"
PRODUCTS = 40
MOST_LINES = 6
SIZES = ((1, 40), (2, 25), (3, 15), (4, 10), (5, 6), (6, 4))
"""Where there is no history: lines of an order, and how many of a hundred orders have so many."""

Basket = tuple[str, ...]
"""The products of one order, one unit of each."""


@dataclass(frozen=True, slots=True)
class Baskets:
    """Orders in the order in which they came, and where they are from, in words."""

    baskets: Sequence[Basket]
    source: str


def baskets_of_history(folder: Path = HISTORY) -> Baskets | None:
    """The invoices, cut down to the products that most invoices have: those that have one to six left. None where there is no history."""
    files = sorted(folder.glob("*.csv.gz"))
    if not files:
        return None
    invoices = [tuple(products) for file in files for products in _invoices(file)]
    sold = Counter(product for invoice in invoices for product in invoice)
    kept = {product for product, _ in sorted(sold.items(), key=lambda entry: (-entry[1], entry[0]))[:PRODUCTS]}
    cut = [tuple(product for product in invoice if product in kept) for invoice in invoices]
    baskets = [basket for basket in cut if 1 <= len(basket) <= MOST_LINES]
    source = (
        f"{len(baskets):,} invoices of Online Retail, {files[0].name[:10]} to {files[-1].name[:10]}, in their order: "
        f"their lines among the {PRODUCTS} most bought products, where that is 1 to {MOST_LINES} lines"
    )
    return Baskets(baskets, source)


def _invoices(file: Path) -> Iterator[Sequence[str]]:
    """The products of each invoice of one day. Cancellations, corrections and codes that are no products are left out."""
    invoices: dict[str, dict[str, None]] = {}
    with gzip.open(file, "rt", encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            product = row["StockCode"].strip().upper()
            if row["InvoiceNo"].isdigit() and product[:5].isdigit() and int(row["Quantity"]) > 0 and float(row["UnitPrice"]) > 0:
                invoices.setdefault(row["InvoiceNo"], {})[product] = None
    return (tuple(products) for products in invoices.values())


def drawn_baskets(count: int) -> Baskets:
    """Sizes as in :data:`SIZES`, products by Zipf's law with exponent 0.8."""
    random = Random("baskets")
    products = [f"product-{number:02d}" for number in range(PRODUCTS)]
    weights = [1 / (rank + 1) ** 0.8 for rank in range(PRODUCTS)]
    sizes, shares = zip(*SIZES, strict=True)
    baskets = []
    for size in random.choices(sizes, shares, k=count):
        basket: dict[str, None] = {}
        while len(basket) < size:
            basket[random.choices(products, weights)[0]] = None
        baskets.append(tuple(basket))
    shares_told = ", ".join(f"{size}: {share}%" for size, share in SIZES)
    source = f"drawn, as {HISTORY} is not there: lines per order {shares_told}; {PRODUCTS} products by Zipf's law, exponent 0.8"
    return Baskets(baskets, source)
