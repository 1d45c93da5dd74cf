"""Merchants' files: every row becomes part of an order, of a withdrawal, or is reported with its reason."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.contracts.channels import ChannelOrderReceived
from simulators.adapter.online_retail import HEADING, read_online_retail
from simulators.adapter.replay import Replay
from simulators.adapter.shopify_export import read_shopify_export, share_out
from simulators.adapter.sources import move_in_time, open_source
from simulators.adapter.table import UnreadableFileError, minor_units_of, whole_number_of

HERE = Path(__file__).resolve().parent
SHOPIFY_SAMPLE = HERE / "shopify_orders_export.csv"


def retail_csv(*rows: Sequence[str]) -> str:
    """An Online Retail file of these rows."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(HEADING)
    writer.writerows(rows)
    return text.getvalue()


def sale(invoice: str = "536365", code: str = "85123A", quantity: str = "6", price: str = "2.55", **other: str) -> list[str]:
    """One row, good unless told otherwise."""
    return [
        invoice,
        code,
        other.get("description", "WHITE HANGING HEART"),
        quantity,
        other.get("date", "2010-12-01 08:26:00"),
        price,
        other.get("customer", "17850.0"),
        "United Kingdom",
    ]


def read_retail(*rows: Sequence[str]) -> Replay:
    return read_online_retail(retail_csv(*rows), Path("day.csv"), "webshop")


def reasons(replay: Replay) -> dict[int, str]:
    """Row number -> why it is no order."""
    assert replay.account is not None
    return {row.row: row.reason for row in replay.account.reported}


def test_rows_of_one_invoice_are_one_order_with_the_money_to_the_penny() -> None:
    replay = read_retail(sale(), sale(code="71053", quantity="2", price="3.39"), sale("536366", code="22633", price="1.85"))
    first, second = replay.orders
    order = ChannelOrderReceived.model_validate(first.content)
    assert [(line.sku, line.quantity, line.unit_price_cents) for line in order.lines] == [("85123A", 6, 255), ("71053", 2, 339)]
    assert (order.external_id, order.currency, order.ship_to.country) == ("536365", "GBP", "US")
    assert second.external_id == "536366"


def test_a_customer_lives_at_the_same_simulated_zip_in_every_order() -> None:
    replay = read_retail(sale("1"), sale("2", code="71053"), sale("3", customer="13047.0"))
    codes = [order.content["ship_to"]["postal_code"] for order in replay.orders]
    assert codes[0] == codes[1] != codes[2]
    assert "simulated" in replay.orders[0].content["ship_to"]["line2"]


def test_an_order_without_customer_number_is_a_guest_order() -> None:
    replay = read_retail(sale(customer=""))
    assert replay.orders[0].content["customer"]["email"] == "customer-guest-536365@example.com"
    assert replay.account is not None
    assert replay.account.notes["order of a guest (no customer number)"] == 1


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (sale(code="M"), "manual_entry"),
        (sale(code="m"), "manual_entry"),
        (sale(code="D"), "discount"),
        (sale(code="BANK CHARGES"), "bank_charges"),
        (sale(code="AMAZONFEE"), "marketplace_fee"),
        (sale(code="S"), "sample"),
        (sale(code="gift_0001_20"), "gift_voucher"),
        (sale(code="POST"), "postage_without_goods"),
        (sale(code="DOT", quantity="-1"), "postage_correction"),
        (sale(price="0"), "zero_price"),
        (sale(price="0.001"), "zero_price"),
        (sale(price="-11062.06"), "negative_price"),
        (sale("A563185", price="11062.06", code="B"), "bad_debt"),
        (sale("A563185"), "accounting_adjustment"),
        (sale(quantity="0"), "zero_quantity"),
        (sale(quantity="-5"), "negative_quantity_without_cancellation"),
        (sale("C536365", quantity="5"), "cancellation_with_positive_quantity"),
        (sale("C536365", quantity="-5"), "cancellation_without_its_order"),
        (sale(quantity="6.5"), "quantity_is_no_whole_number"),
        (sale(quantity="many"), "quantity_is_no_whole_number"),
        (sale(price="NaN"), "price_is_no_number"),
        (sale(date="yesterday"), "date_is_no_date"),
        (sale(code=""), "no_stock_code"),
        (sale(invoice=""), "no_invoice_number"),
        (sale(code="9" * 65), "stock_code_too_long"),
        (["536365", "85123A"], "wrong_number_of_columns"),
        ([], "blank_row"),
        (sale(quantity="2000000"), "order_breaks_the_contract"),
    ],
)
def test_a_row_that_is_no_order_is_reported_with_its_reason(row: list[str], reason: str) -> None:
    replay = read_retail(row)
    assert reasons(replay) == {2: reason}
    assert replay.orders == []


def test_an_exact_duplicate_row_is_reported_and_a_similar_one_is_kept() -> None:
    replay = read_retail(sale(), sale(), sale(quantity="7"))
    assert reasons(replay) == {3: "exact_duplicate_row"}
    assert [line["quantity"] for line in replay.orders[0].content["lines"]] == [6, 7]


def test_postage_of_an_order_becomes_its_shipping_price() -> None:
    replay = read_retail(sale(), sale(code="POST", quantity="3", price="18.00"))
    assert replay.orders[0].content["shipping_paid_cents"] == 5_400
    assert reasons(replay) == {3: "postage_became_shipping_paid"}


def test_mixed_case_of_a_stock_code_is_one_product() -> None:
    replay = read_retail(sale("1", code="85123A"), sale("2", code="85123a"))
    assert [item.sku for item in replay.catalogue] == ["85123A"]


def test_a_cancellation_of_everything_becomes_a_wish_to_cancel() -> None:
    replay = read_retail(
        sale("541431", code="23166", quantity="74215", price="1.04", date="2011-01-18 10:01:00"),
        sale("C541433", code="23166", quantity="-74215", price="1.04", date="2011-01-18 10:17:00"),
    )
    (withdrawal,) = replay.withdrawals
    assert (withdrawal.external_id, withdrawal.whole) == ("541431", True)
    assert reasons(replay) == {}


def test_a_cancellation_of_some_units_becomes_a_return_of_them() -> None:
    replay = read_retail(sale(), sale(code="71053"), sale("C536500", quantity="-2", date="2010-12-01 12:00:00"))
    (withdrawal,) = replay.withdrawals
    assert not withdrawal.whole
    assert [(unit.external_line_id, unit.quantity) for unit in withdrawal.units] == [("row-2", 2)]


def test_no_more_units_are_taken_back_than_were_sold() -> None:
    replay = read_retail(sale(quantity="3"), *(sale(f"C{number}", quantity="-2", date="2010-12-01 12:00:00") for number in (1, 2)))
    assert reasons(replay) == {4: "cancellation_without_its_order"}


def test_nothing_is_cancelled_before_it_was_sold_or_by_somebody_else() -> None:
    replay = read_retail(
        sale(date="2010-12-01 10:00:00"),
        sale("C1", quantity="-1", date="2010-12-01 09:00:00"),
        sale("C2", quantity="-1", date="2010-12-01 11:00:00", customer="13047.0"),
    )
    assert set(reasons(replay).values()) == {"cancellation_without_its_order"}


cells = st.one_of(
    st.sampled_from(["536365", "C536365", "A1", "", "85123A", "POST", "M", "6", "-6", "0", "2.55", "-1", "1e400", "2010-12-01 08:26:00"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8),
)
plausible_rows = st.builds(
    sale,
    invoice=st.sampled_from(["1", "2", "C3", "C4", "A5"]),
    code=st.sampled_from(["10001", "10002", "10002a", "POST", "M", "D"]),
    quantity=st.sampled_from(["1", "2", "5", "-1", "-2", "0", "x"]),
    price=st.sampled_from(["1.00", "0", "-3", "2.555", ""]),
    date=st.sampled_from(["2010-12-01 08:26:00", "2010-12-01 09:00:00", "?"]),
    customer=st.sampled_from(["", "17850.0", "13047.0"]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(plausible_rows, st.lists(cells, max_size=9)), max_size=25))
def test_no_row_is_ever_lost_whatever_the_file_holds(rows: list[list[str]]) -> None:
    replay = read_retail(*rows)
    account = replay.account
    assert account is not None
    assert account.rows_in == len(rows)
    assert account.rows_in_orders + account.rows_in_withdrawals + len(account.reported) == len(rows)
    assert len({row.row for row in account.reported}) == len(account.reported)
    assert sum(len(order.content["lines"]) for order in replay.orders) == account.rows_in_orders
    for order in replay.orders:
        ChannelOrderReceived.model_validate(order.content)


@pytest.fixture(scope="module")
def shopify() -> Replay:
    return open_source(SHOPIFY_SAMPLE, channels=["webshop"])


def test_an_export_of_shopify_is_recognised_and_its_paid_orders_are_read(shopify: Replay) -> None:
    assert [order.external_id for order in shopify.orders] == ["#1001", "#1002", "#1004"]
    order = ChannelOrderReceived.model_validate(shopify.orders[0].content)
    assert [(line.sku, line.quantity, line.unit_price_cents) for line in order.lines] == [("FERN-1", 2, 1600), ("TOTE-1", 1, 2000)]
    assert (order.ship_to.postal_code, order.ship_to.line2, order.ship_to.phone) == ("07114", "Apt 4", "+15555550101")
    assert order.paid_at.isoformat() == "2026-02-03T15:15:00+00:00"


def test_the_lines_shipping_and_tax_add_up_to_the_total_of_the_export(shopify: Replay) -> None:
    totals = {"#1001": 6_172, "#1002": 2_000}
    for order in shopify.orders:
        if order.external_id in totals:
            lines = order.content["lines"]
            goods = sum(line["quantity"] * line["unit_price_cents"] + line["tax_cents"] for line in lines)
            assert goods + order.content["shipping_paid_cents"] == totals[order.external_id]


def test_a_discount_that_does_not_divide_is_kept_to_the_cent_on_two_lines(shopify: Replay) -> None:
    lines = shopify.orders[1].content["lines"]
    assert [(line["external_line_id"], line["quantity"], line["unit_price_cents"]) for line in lines] == [
        ("row-4", 1, 666),
        ("row-4b", 2, 667),
    ]


def test_an_order_without_shipping_address_goes_to_the_billing_address(shopify: Replay) -> None:
    order = shopify.orders[1].content
    assert (order["ship_to"]["postal_code"], order["promise"]["service_level"]) == ("89506", "two_day")


def test_every_row_of_the_export_that_is_no_order_has_a_reason(shopify: Replay) -> None:
    assert reasons(shopify) == {
        5: "not_paid_yet",
        6: "needs_no_shipping",
        8: "belongs_to_an_order_not_taken",
        9: "no_sku",
        10: "cancelled_in_the_shop",
        11: "order_stands_twice_in_the_file",
        12: "line_item_without_its_order",
        13: "wrong_number_of_columns",
    }
    assert shopify.account is not None
    assert shopify.account.unexplained == 0
    assert shopify.account.rows_in_orders == 4


shopify_cells = {
    "Name": st.sampled_from(["#1", "#2", "#3", ""]),
    "Financial Status": st.sampled_from(["paid", "paid", "", "", "pending", "refunded", "odd"]),
    "Paid at": st.sampled_from(["2026-02-03 10:15:00 -0500", "", "soon"]),
    "Lineitem quantity": st.sampled_from(["1", "3", "0", "-1", "x"]),
    "Lineitem price": st.sampled_from(["10.00", "0.01", "", "-2"]),
    "Lineitem sku": st.sampled_from(["A", "B", ""]),
    "Lineitem requires shipping": st.sampled_from(["true", "true", "false"]),
    "Lineitem discount": st.sampled_from(["0.00", "1.00", "99"]),
    "Subtotal": st.sampled_from(["10.00", "7.77", ""]),
    "Shipping Zip": st.sampled_from(["'07114", "89506", ""]),
}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.fixed_dictionaries(shopify_cells), max_size=20))
def test_no_row_of_an_export_is_ever_lost(rows: list[dict[str, str]]) -> None:
    fixed = {
        "Email": "a@example.com",
        "Currency": "USD",
        "Lineitem name": "Thing",
        "Shipping Name": "A",
        "Shipping Address1": "1 St",
        "Shipping City": "Reno",
        "Shipping Country": "US",
    }
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=[*shopify_cells, *fixed])
    writer.writeheader()
    writer.writerows([{**row, **fixed} for row in rows])
    account = read_shopify_export(text.getvalue(), Path("orders.csv"), "webshop").account
    assert account is not None
    assert account.rows_in == len(rows)
    assert account.rows_in_orders + len(account.reported) == len(rows)
    assert len({row.row for row in account.reported}) == len(account.reported)


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=12).flatmap(lambda nets: st.tuples(st.just(nets), st.integers(0, sum(nets)))))
def test_sharing_out_loses_no_cent_and_takes_no_more_than_there_is(case: tuple[list[int], int]) -> None:
    nets, amount = case
    shares = share_out(amount, nets)
    assert sum(shares) == amount
    assert all(0 <= share <= net for share, net in zip(shares, nets, strict=True))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"a,b,c\n1,2,3\n", "unknown columns"),
        (b"PK\x03\x04\x00\x00", "NUL bytes"),
        (b"\x1f\x8b\x08broken", "cannot be read"),
        (b"Name,Financial Status,Lineitem quantity\n#1,paid,1\n", "for a Shopify orders export the columns Email, Currency, "),
        (
            b"Name,Email,Financial Status,Currency,Lineitem name,Lineitem price,Lineitem sku\n",
            "for a Shopify orders export the columns Lineitem quantity are missing; for Online Retail the columns InvoiceNo, ",
        ),
        (
            b"InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice\n",
            "for Online Retail the columns CustomerID, Country are missing; for a Shopify orders export the columns Name, ",
        ),
    ],
)
def test_a_file_that_is_no_order_file_is_refused_with_the_way_out(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "orders.csv"
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=words):
        open_source(path, channels=["webshop"])


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"nowhere\.csv"):
        open_source(tmp_path / "nowhere.csv", channels=["webshop"])


def test_gzip_a_byte_order_mark_and_windows_text_are_read(tmp_path: Path) -> None:
    text = retail_csv(sale(description="CAFÉ £5"))
    for name, content in {
        "a.csv.gz": gzip.compress(text.encode()),
        "b.csv": b"\xef\xbb\xbf" + text.encode(),
        "c.csv": text.encode("cp1252"),
    }.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert open_source(path, channels=["webshop"]).catalogue[0].title == "CAFÉ £5"


@pytest.mark.parametrize(
    ("text", "currency", "units"), [("54.50", "USD", 5_450), ("1200", "JPY", 1_200), ("1.2345", "KWD", 1_235), ("-0.125", "USD", -13)]
)
def test_amounts_become_minor_units_of_their_currency(text: str, currency: str, units: int) -> None:
    assert minor_units_of(text, currency) == units


def test_what_is_no_number_is_no_number() -> None:
    assert [whole_number_of(text) for text in ("", "x", "1.5", "NaN", "Infinity", "1e999")] == [None] * 6


def test_moving_a_day_keeps_its_order_and_keeps_equal_content_equal() -> None:
    replay = open_source(None, channels=["webshop", "marketplace"], seed=5, orders=400)
    start = replay.orders[0].arrives_at
    moved = move_in_time(replay.orders, start, 60)
    assert [order.external_id for order in moved] == [order.external_id for order in replay.orders]
    assert all(0 <= (order.arrives_at - start).total_seconds() <= 60.001 for order in moved)
    originals = {order.external_id: order.content for order in moved if order.label == "good"}
    duplicates = [order for order in moved if order.label == "duplicate"]
    assert duplicates
    assert all(order.content == originals[order.external_id] for order in duplicates)


@pytest.mark.parametrize("name", ["2010-12-01.csv.gz", "2011-01-18.csv.gz", "2011-06-30.csv.gz"])
def test_real_trading_days_are_accounted_for_to_the_row(real_inputs: Path, name: str) -> None:
    path = real_inputs / "online_retail" / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        rows = sum(1 for _ in csv.reader(lines)) - 1
    account = open_source(path, channels=["webshop"]).account
    assert account is not None
    assert account.rows_in == rows
    assert account.unexplained == 0


def test_the_first_real_day_gives_the_figures_counted_by_hand(real_inputs: Path) -> None:
    replay = open_source(real_inputs / "online_retail" / "2010-12-01.csv.gz", channels=["webshop"])
    account = replay.account
    assert account is not None
    assert (account.rows_in, len(replay.orders)) == (3_108, 127)
    assert account.reported_by_reason["exact_duplicate_row"] == 44
    assert account.reported_by_reason["zero_price"] == 9


def test_the_giant_error_of_january_is_an_order_with_its_cancellation(real_inputs: Path) -> None:
    replay = open_source(real_inputs / "online_retail" / "2011-01-18.csv.gz", channels=["webshop"])
    giants = [order for order in replay.orders if max(line["quantity"] for line in order.content["lines"]) == 74_215]
    assert [order.external_id for order in giants] == ["541431"]
    assert [(wish.external_id, wish.whole) for wish in replay.withdrawals if wish.external_id == "541431"] == [("541431", True)]
