"""Finds out what an input is and reads it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from simulators.adapter import online_retail, shopify_export
from simulators.adapter.generated_day import DEFAULT_ORDERS, generate_day
from simulators.adapter.replay import Replay, SourceOrder
from simulators.adapter.table import UnreadableFileError, read_table, read_text

FORMATS = "a Shopify orders export (columns Name, Financial Status, Lineitem quantity ...) or Online Retail (InvoiceNo, StockCode ...)"

NEEDED_COLUMNS = {"a Shopify orders export": shopify_export.NEEDED_COLUMNS, "Online Retail": online_retail.HEADING}
"""Each format that is read, with the columns that it cannot do without."""


def open_source(path: Path | None, *, channels: Sequence[str], seed: int = 1, orders: int = DEFAULT_ORDERS) -> Replay:
    """A file's orders, or a generated day when there is no path.

    Args:
        path: a CSV, gzip or not; its heading says which format it is.
        channels: the codes that sell; a file's orders all come from the first.
        seed: what a generated day is drawn from.
        orders: how many good orders a generated day has.

    Raises:
        UnreadableFileError: the file cannot be read, or is in no known format; the text says which there are.
    """
    if path is None:
        return generate_day(seed=seed, channels=channels, orders=orders)
    text = read_text(path)
    heading, _ = read_table(text, path)
    if online_retail.reads(heading):
        return online_retail.read_online_retail(text, path, channels[0])
    if shopify_export.reads(heading):
        return shopify_export.read_shopify_export(text, path, channels[0])
    raise UnreadableFileError(f"{path}: {_what_is_missing(heading)}")


def _what_is_missing(heading: Sequence[str]) -> str:
    """Which columns a file lacks, by format, in one line; of the format that it is most like first."""
    missing = {name: [column for column in needed if column not in heading] for name, needed in NEEDED_COLUMNS.items()}
    told = [f"for {name} the columns {', '.join(absent)} are missing" for name, absent in sorted(missing.items(), key=_share_missing)]
    return f"unknown columns ({', '.join(heading[:6])[:100]}{' ...' if len(heading) > 6 else ''}): {'; '.join(told)}"


def _share_missing(found: tuple[str, Sequence[str]]) -> float:
    name, absent = found
    return len(absent) / len(NEEDED_COLUMNS[name])


def move_in_time(orders: Sequence[SourceOrder], start: datetime, duration_seconds: float) -> list[SourceOrder]:
    """The same orders squeezed into ``duration_seconds`` from ``start`` on, in the same order and with the same rhythm.

    The content's ``paid_at`` moves along, so that promised dates are reckoned from the replay and not from a day long past. Deliveries
    with equal content stay equal.
    """
    if not orders:
        return []
    first = min(min(order.arrives_at, _paid_at(order)) for order in orders)
    span = max((max(order.arrives_at for order in orders) - first).total_seconds(), 1.0)
    scale = duration_seconds / span

    def moved(moment: datetime) -> datetime:
        return start + (moment - first) * scale

    return [
        SourceOrder(
            channel=order.channel,
            external_id=order.external_id,
            arrives_at=moved(order.arrives_at),
            content={**order.content, "paid_at": moved(_paid_at(order)).isoformat()},
            label=order.label,
        )
        for order in orders
    ]


def _paid_at(order: SourceOrder) -> datetime:
    return datetime.fromisoformat(order.content["paid_at"])
