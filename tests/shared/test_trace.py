"""``make trace``: which order a person means, and what is said when that cannot be told."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest

from shared import trace
from shared.trace import NoSuchOrderError, find_order, lines_of

FIRST, SECOND, THIRD = (UUID(int=number) for number in (1, 2, 3))
ORDERS = [
    {"order_id": str(FIRST), "channel": "webshop", "external_id": "1001"},
    {"order_id": str(SECOND), "channel": "marketplace", "external_id": "1001"},
    {"order_id": str(THIRD), "channel": "webshop", "external_id": "#1002"},
]


@pytest.fixture(autouse=True)
def _portal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A portal that finds the orders above by their number, and beside them one of a customer of that name."""

    def read(_url: str, _token: str, path: str) -> dict[str, Any]:
        (query,) = parse_qs(urlsplit(path).query)["query"]
        stranger = {"order_id": str(UUID(int=9)), "channel": "webshop", "external_id": "another"}
        return {"orders": [stranger, *(order for order in ORDERS if order["external_id"] == query)]}

    monkeypatch.setattr(trace, "_read", read)


@pytest.mark.parametrize(
    ("name", "order_id"),
    [
        (str(THIRD), THIRD),
        ("marketplace:1001", SECOND),
        ("webshop:1001", FIRST),
        ("#1002", THIRD),
        ("1002", THIRD),
        ("webshop:1002", THIRD),
    ],
)
def test_an_order_is_found_by_its_id_and_by_the_channel_s_number(name: str, order_id: UUID) -> None:
    assert find_order("http://portal", "token", name) == order_id


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("1001", "say webshop:1001 or marketplace:1001"),
        ("shopify:1002", "'shopify:1002': there is webshop:#1002"),
        ("7", "'7': the console"),
    ],
)
def test_a_number_of_no_order_or_of_several_is_answered_with_the_way_out(name: str, words: str) -> None:
    with pytest.raises(NoSuchOrderError, match=words):
        find_order("http://portal", "token", name)


@pytest.mark.parametrize(
    ("partner", "heard_by", "hearer"),
    [
        (None, [], "nobody yet"),
        ("3pl/west", [], "3pl/west"),
        (None, [{"service": "sync", "status": "done", "reason": None, "waited_ms": 4.0}], "sync 4 ms"),
    ],
)
def test_a_line_says_who_heard_a_message_and_to_which_partner_it_went(
    partner: str | None, heard_by: list[dict[str, Any]], hearer: str
) -> None:
    said: dict[str, Any] = {"type": "fulfillment.requested.v1", "source": "ordermesh/routing", "at": None, "sent": True, "caused": []}
    (line,) = lines_of([{**said, "partner": partner, "heard_by": heard_by}], None)
    assert line.strip() == f"fulfillment.requested.v1  ordermesh/routing -> {hearer}"


@pytest.mark.parametrize("arguments", [[], [""]])
def test_without_an_order_one_line_says_how_to_name_one(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert trace.main(arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "ORDER is missing: make trace ORDER=<id>" in said
