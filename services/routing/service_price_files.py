"""What service levels cost customers: read from the merchant's own file, once, at start.

A CSV with the columns ``currency``, ``service_level``, ``price_cents``: one row for each level of each currency that has a price.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import get_args

from services.routing.decide.service_prices import ServicePrices
from shared.contracts.orders import ServiceLevel
from shared.errors import OrdermeshError

COLUMNS = ["currency", "service_level", "price_cents"]
CURRENCY = re.compile(r"[A-Z]{3}")
MOST_CENTS = 100_000_000


class ServicePriceError(OrdermeshError):
    """A file of service prices cannot be used. Names file, row and column, and what would be right."""


def load_service_prices(file: Path) -> ServicePrices:
    """Reads a file of service prices.

    Raises:
        ServicePriceError: it is missing or wrong.
    """
    try:
        rows = list(csv.reader(file.read_text(encoding="utf-8-sig").splitlines()))
    except OSError as error:
        raise ServicePriceError(f"{file}: cannot be read ({error.strerror}); give a .csv with the columns {', '.join(COLUMNS)}") from error
    except UnicodeDecodeError as error:
        raise ServicePriceError(f"{file}: is no UTF-8: {error}; save it as UTF-8") from error
    if not rows or rows[0] != COLUMNS:
        raise ServicePriceError(f"{file}: row 1: the columns should be {','.join(COLUMNS)}")
    levels = get_args(ServiceLevel)
    prices: dict[tuple[str, str], int] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        where = f"{file}: row {number}"
        if len(row) != len(COLUMNS):
            raise ServicePriceError(f"{where}: {len(row)} columns; there should be {len(COLUMNS)}: {', '.join(COLUMNS)}")
        currency, level, cents = (cell.strip() for cell in row)
        if not CURRENCY.fullmatch(currency):
            raise ServicePriceError(f"{where}, column currency: {currency!r} should be three capital letters, like USD")
        if level not in levels:
            raise ServicePriceError(f"{where}, column service_level: {level!r} should be one of {', '.join(levels)}")
        if not re.fullmatch(r"[0-9]{1,9}", cents) or int(cents) > MOST_CENTS:
            raise ServicePriceError(f"{where}, column price_cents: {cents!r} should be whole cents from 0 to {MOST_CENTS}")
        if (currency, level) in prices:
            raise ServicePriceError(f"{where}: {level} in {currency} has a price already; keep one row of it")
        prices[currency, level] = int(cents)
    return prices
