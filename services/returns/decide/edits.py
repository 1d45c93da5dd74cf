"""What an edit does to the books. It moves captured money between lines and shipping; it never adds any (a payment does) and never takes
any away.

Only a refund gives money back, so after an edit that makes the order cheaper the difference waits as ``unapportioned_cents`` for the
refund that routing asks for with the edit. Edit and refund may arrive in either order and end in the same books: a refund that came first
was booked as ``edited_cents`` of its line, and that line then needs that much beside its goods. When refunds of two edits come before both,
the older edit waits for the newer one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.returns.decide.books import LineBooks, OrderBooks, repeated_line
from shared.contracts.orders import OrderEdited, OrderLine


@dataclass(frozen=True, slots=True)
class EditRefused:
    """The edit can not be booked; a person must look."""

    reason: str


def apply_edit(books: OrderBooks, edit: OrderEdited) -> OrderBooks | EditRefused:
    """The books after an edit; the newest version wins.

    Of an older one only the lines count that have come and gone since, because a refund may still name them.
    """
    changes = books.changes | {edit.change_id}
    if edit.order_version <= books.lines_version:
        gone = [replace(_as_edited(None, line), quantity=0, tax_cents=0) for line in edit.lines if line.line_id not in books.lines]
        return replace(books, changes=changes).with_lines(gone)
    repeated = repeated_line(edit.lines)
    if repeated is not None:
        return EditRefused(f"lines: line_id {repeated!r} appears twice; send each line once")
    wanted = {line.line_id: line for line in edit.lines}
    removed = [replace(line, quantity=0, tax_cents=0) for line_id, line in books.lines.items() if line_id not in wanted]
    lines = [*removed, *(_as_edited(books.lines.get(line.line_id), line) for line in edit.lines)]
    needed_cents = sum(line.needed_cents for line in lines)
    shipping_cents = books.shipping_captured_cents if edit.shipping_captured_cents is None else edit.shipping_captured_cents
    captured_cents = books.captured_cents - shipping_cents
    if needed_cents > captured_cents:
        return EditRefused(
            f"lines: version {edit.order_version} needs {needed_cents} cents but {captured_cents} cents were captured for lines; "
            "an edit that costs more must be paid for before it is made (payment_required)"
        )
    edited = replace(
        books,
        lines_version=edit.order_version,
        shipping_captured_cents=shipping_cents,
        unapportioned_cents=captured_cents - needed_cents,
        changes=changes,
    )
    return edited.with_lines(replace(line, captured_cents=line.needed_cents) for line in lines)


def add_payment(books: OrderBooks, amount_cents: int) -> OrderBooks:
    """The books once more was paid for an edit: no line needs the money before the edit comes, unless a refund has drawn on a line for it
    that came first."""
    left = books.unapportioned_cents + amount_cents
    lines = []
    for line in books.lines.values():
        lacking = min(left, max(0, line.needed_cents - line.captured_cents))
        if lacking:
            left -= lacking
            lines.append(replace(line, captured_cents=line.captured_cents + lacking))
    return replace(books, captured_cents=books.captured_cents + amount_cents, unapportioned_cents=left).with_lines(lines)


def _as_edited(known: LineBooks | None, line: OrderLine) -> LineBooks:
    if known is None:
        return LineBooks(
            line_id=line.line_id,
            sku=line.sku,
            title=line.title,
            quantity=line.quantity,
            unit_price_cents=line.unit_price_cents,
            tax_cents=line.tax_cents,
            captured_cents=0,
        )
    return replace(
        known,
        sku=line.sku,
        title=line.title,
        quantity=line.quantity,
        unit_price_cents=line.unit_price_cents,
        tax_cents=line.tax_cents,
    )
