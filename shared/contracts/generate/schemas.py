"""One JSON Schema (2020-12) per message version: the whole envelope with its data."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from shared.contracts.base import Message
from shared.contracts.envelope import Envelope
from shared.contracts.generate.examples import example_envelope
from shared.contracts.generate.meanings import as_markdown, field_meanings

DIALECT = "https://json-schema.org/draft/2020-12/schema"

ATTRIBUTES = {
    "specversion": "Version of CloudEvents.",
    "id": "Unique for this source; a message that comes again keeps its id, and so is handled once.",
    "source": "Who says it: a service, or the partner's code.",
    "type": "What it says, with its major version.",
    "subject": "What it is about, mostly the order's id.",
    "time": "When it was said.",
    "datacontenttype": "How `data` is written.",
    "dataschema": "The `$id` of this schema.",
    "traceparent": "W3C trace context; send it on to keep one trace per order.",
    "data": "The message itself.",
}


class _WithoutFieldTitles(GenerateJsonSchema):
    """Titles such as "Line Id" for ``line_id`` say nothing."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


def envelope_schema(message: type[Message]) -> dict[str, Any]:
    """The JSON Schema of a message type in its envelope, with descriptions and one example.

    Fields with a default may be left out; fields that are not listed are ignored by readers, so newer producers may add some (slips of the
    pen in what partners send are refused, see ``shared/contracts/unknown_fields.py``).
    """
    envelope = Envelope[message]  # type: ignore[valid-type]  # the class is chosen at run time
    schema = envelope.model_json_schema(schema_generator=_WithoutFieldTitles)
    definitions: dict[str, Any] = schema.pop("$defs")
    for name, definition in definitions.items():
        if "description" in definition:
            definition["description"] = as_markdown(definition["description"])
        for field, meaning in field_meanings().get(name, {}).items():
            _describe(definition["properties"][field], meaning)
    properties = schema["properties"]
    properties["type"] = {"const": message.type}
    for attribute, text in ATTRIBUTES.items():
        properties[attribute]["description"] = text
    document = {
        "$schema": DIALECT,
        "$id": f"ordermesh:{message.type}",
        "title": message.type,
        "description": as_markdown(message.__doc__),
        "type": "object",
        "properties": properties,
        "required": schema["required"],
        "$defs": definitions,
    }
    return {**document, "examples": [example_envelope(message, document)]}


def _describe(schema: dict[str, Any], meaning: str) -> None:
    schema.setdefault("description", meaning)
