"""The prepaid return label as a PDF of 4 by 6 inches, the size of thermal label printers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from io import BytesIO

from reportlab.graphics.barcode.code128 import Code128
from reportlab.lib.units import inch
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas

WIDTH, HEIGHT = 4 * inch, 6 * inch
MARGIN = 0.25 * inch
BARCODE_HEIGHT = 1.0 * inch


@dataclass(frozen=True, slots=True)
class LabelContent:
    """What stands on a label. It names no customer: the order number tells the warehouse whose parcel it is."""

    return_number: str
    order_number: str
    carrier: str
    tracking_number: str
    return_address: str
    expires_at: datetime


def draw_label(content: LabelContent) -> bytes:
    """The label; the same content gives the same bytes, so it can be printed again."""
    target = BytesIO()
    canvas = Canvas(target, pagesize=(WIDTH, HEIGHT), invariant=1)
    canvas.setTitle(f"Return label {content.return_number}")
    canvas.setFont("Helvetica-Bold", 14)
    canvas.drawString(MARGIN, HEIGHT - 0.45 * inch, _fitted(content.carrier, "Helvetica-Bold", 14))
    canvas.setFont("Helvetica", 9)
    canvas.drawString(MARGIN, HEIGHT - 0.65 * inch, "RETURN - POSTAGE PREPAID")
    _rule(canvas, HEIGHT - 0.8 * inch)
    canvas.drawString(MARGIN, HEIGHT - 1.0 * inch, "SHIP TO")
    canvas.setFont("Helvetica-Bold", 12)
    for index, line in enumerate(content.return_address.splitlines()[:4]):
        canvas.drawString(MARGIN, HEIGHT - 1.25 * inch - index * 0.2 * inch, _fitted(line, "Helvetica-Bold", 12))
    _rule(canvas, HEIGHT - 2.2 * inch)
    _draw_barcode(canvas, content.tracking_number)
    _rule(canvas, 1.5 * inch)
    canvas.setFont("Helvetica-Bold", 16)
    canvas.drawString(MARGIN, 1.15 * inch, content.return_number)
    canvas.setFont("Helvetica", 9)
    canvas.drawString(MARGIN, 0.85 * inch, _fitted(f"Order {content.order_number}", "Helvetica", 9))
    canvas.drawString(MARGIN, 0.65 * inch, f"Post by {content.expires_at:%Y-%m-%d}")
    canvas.showPage()
    canvas.save()
    return target.getvalue()


def _draw_barcode(canvas: Canvas, number: str) -> None:
    barcode = Code128(number, barHeight=BARCODE_HEIGHT, barWidth=1.0, quiet=1)
    # A scanner needs whole bars and the quiet zones beside them, so the bars are made as wide as the label allows.
    bar_width = (WIDTH - 2 * MARGIN) / barcode.width
    barcode = Code128(number, barHeight=BARCODE_HEIGHT, barWidth=bar_width, quiet=1)
    barcode.drawOn(canvas, (WIDTH - barcode.width) / 2, 2.2 * inch)
    canvas.setFont("Courier", 11)
    canvas.drawCentredString(WIDTH / 2, 1.95 * inch, number)
    canvas.setFont("Helvetica-Bold", 9)
    canvas.drawCentredString(WIDTH / 2, 3.35 * inch, "TRACKING NUMBER")


def _rule(canvas: Canvas, height: float) -> None:
    canvas.line(MARGIN, height, WIDTH - MARGIN, height)


def _fitted(text: str, font: str, size: float) -> str:
    """The text, shortened at its end until it fits on the label."""
    fitted = text
    while stringWidth(fitted, font, size) > WIDTH - 2 * MARGIN:
        fitted = fitted[:-2] + "…"
    return fitted
