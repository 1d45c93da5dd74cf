"""Fields that no contract knows: what is a slip of the pen, what is ignored, and where it lies."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from shared.contracts.base import Kind, Message
from shared.contracts.channels import ChannelOrderReceived
from shared.contracts.envelope import new_id
from shared.contracts.orders import OrderPlaced
from shared.contracts.registry import MESSAGES
from shared.contracts.unknown_fields import SLIP, ignored, likeness, slips, unknown_fields
from shared.messaging.message import Received
from shared.messaging.reading import Delivery, Reader, Unreadable
from tests.shared.conftest import an_order, delivery_of
from tests.sync.messages import a_line, an_order_document

LINE_WITHOUT_TAX = {"external_line_id": "b", "sku": "MUG", "quantity": 1, "unit_price_cents": 5}


def unknown_in(**changes: Any) -> tuple[list[str], list[str]]:
    """The slips and the ignored fields of an order."""
    document = an_order_document(**changes)
    unknown = unknown_fields(ChannelOrderReceived.model_validate(document), document)
    return [problem.field for problem in slips(unknown)], ignored(unknown)


@pytest.mark.parametrize(
    ("changes", "misspelt", "left_alone"),
    [
        ({}, [], []),
        ({"split_polisy": "hold_all"}, ["split_polisy"], []),
        ({"splitPolicy": "hold_all"}, ["splitPolicy"], []),
        ({"gift_note": "Happy birthday"}, [], ["gift_note"]),
        # Both are said: the second is no slip of the first.
        ({"split_policy": "hold_all", "split_policies": []}, [], ["split_policies"]),
        ({"lines": [a_line(), LINE_WITHOUT_TAX | {"tax_cent": 5, "colour": "blue"}]}, ["lines.1.tax_cent"], ["lines.1.colour"]),
        ({"promise": {"servicelevel": "two_day"}}, ["promise.servicelevel"], []),
        ({"": 1, "\x00": 2, "\ud800": 3}, [], ["''", "''", "?"]),
    ],
)
def test_a_slip_of_a_field_that_was_left_out_is_told_from_what_is_merely_unknown(
    changes: dict[str, Any], misspelt: list[str], left_alone: list[str]
) -> None:
    assert unknown_in(**changes) == (misspelt, left_alone)


def test_a_problem_names_the_field_that_was_probably_meant() -> None:
    document = an_order_document(split_polisy="hold_all", costumer="?")
    found = {field.path: field.problem.remedy for field in unknown_fields(ChannelOrderReceived.model_validate(document), document)}
    assert "did you mean 'split_policy'" in found["split_polisy"]
    assert "did you mean 'customer'" in found["costumer"]


def test_a_thousand_unknown_fields_are_told_in_fifty() -> None:
    assert len(unknown_in(**{f"unheard_of_{number}": 1 for number in range(1_000)})[1]) == 50


def _parts(model: type[BaseModel], found: set[type[BaseModel]]) -> set[type[BaseModel]]:
    if model not in found:
        found.add(model)
        waiting = [field.annotation for field in model.model_fields.values()]
        while waiting:
            kind = waiting.pop()
            waiting += get_args(kind)
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                _parts(kind, found)
    return found


@pytest.mark.parametrize(
    "message", [message for message in MESSAGES.values() if message.kind is Kind.INBOUND], ids=lambda item: str(item.type)
)
def test_no_field_of_a_partners_message_could_be_taken_for_a_slip_of_another(message: type[Message]) -> None:
    """Else an older reader would refuse a newer sender that uses the younger of the two."""
    for part in _parts(message, set()):
        alike = [pair for pair in combinations(part.model_fields, 2) if likeness(*pair) >= SLIP]
        assert not alike, part


def read_order(**changes: Any) -> Unreadable | Received[ChannelOrderReceived]:
    envelope = {
        "specversion": "1.0",
        "id": "01990000-0000-7000-8000-000000000001",
        "source": "adapter",
        "type": ChannelOrderReceived.type,
        "time": "2026-03-02T12:00:00Z",
        "data": an_order_document(),
    } | changes
    return Reader(ChannelOrderReceived).read(Delivery(json.dumps(envelope).encode(), "channel.shop.order_received.v1")).content


def test_a_partner_is_refused_a_slip_and_nothing_else_that_is_unknown() -> None:
    refused = read_order(data=an_order_document(split_polisy="hold_all"))
    assert isinstance(refused, Unreadable)
    assert [problem.field for problem in refused.problems] == ["data.split_polisy"]
    assert isinstance(read_order(data=an_order_document(gift_note="Hi"), tracestate="an extension of CloudEvents"), Received)


def test_a_misspelt_field_that_is_needed_is_named_with_what_was_sent_instead() -> None:
    document = an_order_document()
    document["curency"] = document.pop("currency")
    refused = read_order(data=document)
    assert isinstance(refused, Unreadable)
    assert [(problem.field, "'curency'" in problem.remedy) for problem in refused.problems] == [("data.currency", True)]


def test_our_own_messages_ignore_whatever_they_do_not_know_unless_they_may_be_written_by_hand() -> None:
    good = delivery_of(an_order())
    newer = good.body.replace(b'"segment":"dtc"', b'"segment":"dtc","deliver_bye":"soon"')
    assert newer != good.body
    assert isinstance(Reader(OrderPlaced).read(Delivery(newer, OrderPlaced.type)).content, Received)
    by_hand = json.loads(newer)
    del by_hand["data"]["deliver_by"]
    assert isinstance(Reader(OrderPlaced).read(Delivery(json.dumps(by_hand).encode(), OrderPlaced.type)).content, Received)
    refused = Reader(OrderPlaced).read(Delivery(json.dumps(by_hand).encode(), OrderPlaced.type, from_outside=True)).content
    assert isinstance(refused, Unreadable)
    assert refused.problems[0].field == "data.deliver_bye"


@pytest.mark.parametrize(
    ("delivery", "stated"),
    [
        ({"id": "01990000-0000-7000-8000-000000000001"}, "01990000-0000-7000-8000-000000000001"),
        ({"id": "order 7"}, "01990000-0000-7000-8000-00000000000a"),
        (None, "01990000-0000-7000-8000-00000000000a"),
    ],
    ids=["an envelope's id", "no usable id", "no JSON"],
)
def test_what_cannot_be_read_keeps_the_id_by_which_its_sender_knows_it(delivery: Any, stated: str) -> None:
    body = b"no JSON" if delivery is None else json.dumps({"type": ChannelOrderReceived.type, **delivery}).encode()
    read = Reader(ChannelOrderReceived).read(
        Delivery(body, "channel.shop.order_received.v1", message_id="01990000-0000-7000-8000-00000000000a")
    )
    assert isinstance(read.content, Unreadable)
    assert str(read.content.stated_id) == stated
    assert read.content.event_id != read.content.stated_id


def test_what_has_no_id_at_all_is_given_none_that_its_sender_would_look_for_in_vain() -> None:
    read = Reader(ChannelOrderReceived).read(Delivery(b"no JSON", "channel.shop.order_received.v1", message_id=f"amqp-{new_id()}"))
    assert isinstance(read.content, Unreadable)
    assert read.content.stated_id is None
