"""The label: right size, readable, and the same each time it is printed."""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from services.returns.decide.authorisation import make_label
from services.returns.decide.books import default_policy
from services.returns.label import LabelContent, draw_label
from shared.contracts.envelope import new_id
from tests.returns.messages import NOW


def a_label() -> LabelContent:
    """The label of some return."""
    label = make_label(new_id(), default_policy("dtc"), NOW)
    return LabelContent(label.return_number, "#1001", label.carrier, label.tracking_number, "Returns\n1 Dock St\nReno NV 89501", NOW)


def test_the_label_is_four_by_six_inches_on_one_page() -> None:
    pdf = draw_label(a_label())
    assert pdf.startswith(b"%PDF-1.")
    assert re.findall(rb"/MediaBox \[ ([^\]]+) \]", pdf) == [b"0 0 288 432"]
    assert pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") == 1


def test_printing_again_prints_the_same_label_and_another_return_prints_another() -> None:
    content = a_label()
    assert draw_label(content) == draw_label(content)
    assert draw_label(content) != draw_label(replace(content, tracking_number=a_label().tracking_number))


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=120), st.text(min_size=1, max_size=300))
def test_any_order_number_and_any_address_can_be_printed(order_number: str, address: str) -> None:
    assert draw_label(replace(a_label(), order_number=order_number, return_address=address)).endswith(b"%%EOF\n")
