"""One JSON Schema per message version: whole, described, and saying the same as the models."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from shared.contracts.base import Message
from shared.contracts.envelope import Envelope
from shared.contracts.generate.meanings import field_meanings
from shared.contracts.generate.schemas import envelope_schema
from shared.contracts.registry import MESSAGES
from shared.messaging.reading import PATTERNS_IN_WORDS

EVERY_TYPE = pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES.keys())
SHIPPED = MESSAGES["3pl.shipped.v1"]


FORMATS = FormatChecker()


@FORMATS.checks("date-time", raises=ValueError)
def is_date_time(value: object) -> bool:
    """The library checks this format only with a package that we do not need otherwise."""
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def validator(message: type[Message]) -> Draft202012Validator:
    return Draft202012Validator(envelope_schema(message), format_checker=FORMATS)


def example(message: type[Message]) -> dict[str, Any]:
    envelope: dict[str, Any] = json.loads(json.dumps(envelope_schema(message)["examples"][0]))
    return envelope


@EVERY_TYPE
def test_the_schema_is_a_json_schema(message: type[Message]) -> None:
    Draft202012Validator.check_schema(envelope_schema(message))


@EVERY_TYPE
def test_the_example_is_a_message_by_the_schema_and_by_the_model(message: type[Message]) -> None:
    validator(message).validate(example(message))
    envelope = Envelope[message].model_validate(example(message))  # type: ignore[valid-type]  # the class is chosen at run time
    assert envelope.type == message.type
    fields = message.model_fields
    assert example(message)["data"].keys() == fields.keys(), "the example shows every field"


def patterns_in(schema: Any) -> set[str]:
    """Every regular expression of a schema, at any depth."""
    parts = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    pattern = schema.get("pattern") if isinstance(schema, dict) else None
    return set[str]().union(*map(patterns_in, parts), [pattern] if isinstance(pattern, str) else [])


def test_senders_are_told_in_words_what_a_pattern_asks_for() -> None:
    patterns = set[str]().union(*(patterns_in(envelope_schema(message)) for message in MESSAGES.values()))
    assert patterns == PATTERNS_IN_WORDS.keys()


@EVERY_TYPE
def test_every_message_and_every_part_of_it_says_what_it_is(message: type[Message]) -> None:
    schema = envelope_schema(message)
    assert len(schema["description"]) > 10
    assert [name for name, definition in schema["$defs"].items() if not definition.get("description")] == []


def test_types_end_in_their_major_version() -> None:
    assert [name for name in MESSAGES if not name.rpartition(".v")[2].isdigit()] == []


def test_the_meaning_of_a_type_reaches_the_fields_that_have_it() -> None:
    assert field_meanings()["LineUnits"]["sku"].startswith("A stock keeping unit exactly as the merchant writes it")
    assert field_meanings()["ThirdPartyShipped"]["sequence"].startswith("Counts the stock-moving messages")
    definition = envelope_schema(SHIPPED)["$defs"]["LineUnits"]
    assert definition["properties"]["sku"]["description"] == field_meanings()["LineUnits"]["sku"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", "3pl.shipped.v2"),
        ("id", "not-a-uuid"),
        ("time", "yesterday"),
        ("traceparent", "00-xyz"),
        ("specversion", "0.3"),
        ("data", None),
    ],
)
def test_a_wrong_attribute_is_refused_by_the_schema(field: str, value: object) -> None:
    assert not validator(SHIPPED).is_valid({**example(SHIPPED), field: value})


@pytest.mark.parametrize("quantity", [0, -1, 1.5, "2", 1_000_001, None])
def test_a_wrong_quantity_is_refused_by_schema_and_model_alike(quantity: object) -> None:
    envelope = example(SHIPPED)
    envelope["data"]["lines"][0]["quantity"] = quantity
    assert not validator(SHIPPED).is_valid(envelope)
    with pytest.raises(ValueError, match="quantity"):
        Envelope[SHIPPED].model_validate(envelope)  # type: ignore[valid-type]  # the class is chosen at run time


def test_a_field_that_is_not_known_yet_is_no_error() -> None:
    envelope = example(SHIPPED)
    envelope["data"]["drone"] = "yes"
    envelope["data"]["lines"][0]["lot"] = "L-1"
    envelope["newattribute"] = 1
    validator(SHIPPED).validate(envelope)


def test_what_has_a_default_may_be_left_out() -> None:
    envelope = example(SHIPPED)
    for attribute in ("specversion", "datacontenttype", "dataschema", "traceparent"):
        del envelope[attribute]
    del envelope["data"]["sequence"]
    validator(SHIPPED).validate(envelope)
