"""One believable example per message type, built from its schema; the tests check that each is a valid message."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

from shared.contracts.base import Kind, Message
from shared.contracts.registry import partner_kind_of

NOW = "2026-03-02T15:04:05Z"
LATER = "2026-03-05T20:00:00Z"

LATER_FIELDS = frozenset(
    {
        "agreed_ship_at",
        "answer_by",
        "answer_due_at",
        "deliver_by",
        "due_at",
        "expected_at",
        "expires_at",
        "new_ship_at",
        "next_ship_at",
        "promised_ship_at",
        "ship_by",
    }
)

TEXTS = {
    "cancellation_id": "cancellation-1",
    "capabilities": "bulk",
    "carrier": "UPS",
    "carriers": "UPS",
    "channel": "web-shop",
    "channels": "web-shop",
    "city": "Reno",
    "country": "US",
    "currency": "USD",
    "detail": "ordered 2, on the shelf 1",
    "edit_id": "edit-1",
    "email": "ada@example.com",
    "external_id": "WEB-100042",
    "external_line_id": "1",
    "external_listing_id": "LST-8841",
    "field": "lines.0.sku",
    "holidays": "2026-12-25",
    "idempotency_key": "refund-0199f3c8",
    "instructions": "carton label on two sides",
    "items": "item.hazmat",
    "label_carrier": "UPS",
    "label_tracking_number": "1Z999AA10123456784",
    "line1": "1 Main Street",
    "line2": "Apartment 5",
    "line_id": "1",
    "locale": "en-US",
    "location": "reno-1",
    "locations": "location.zone <= 4",
    "name": "Ada Example",
    "note": "sleeves too long",
    "operator": "maria",
    "order_cutoff": "15:00",
    "order_number": "WEB-100042",
    "partner": "acme",
    "phone": "+1 775 555 0100",
    "pool": "default",
    "postal_code": "89501",
    "problem": "there is no product MUG-BLEU",
    "provider_reference": "rf_31Y8",
    "purchase_order": "PO-4711",
    "ranking": "reno-1",
    "reason": "changed my mind",
    "region": "NV",
    "remedy": "register the product, or correct the SKU and send the order again",
    "service": "UPS Ground",
    "sku": "MUG-BLUE",
    "time_zone": "America/Los_Angeles",
    "title": "Mug, blue",
    "tracking_number": "1Z999AA10123456784",
    "when": "order.units > 500",
    "why": "bulk orders ship from the bulk centre",
    "work_starts": "08:00",
}

NUMBERS = {
    "attempt": 1,
    "first_sequence": 1038,
    "last_sequence": 1039,
    "available": 41,
    "money_delta_cents": -2450,
    "new_on_hand": 48,
    "old_on_hand": 50,
    "on_hand": 48,
    "order_version": 1,
    "patience_seconds": 3600,
    "quantity": 2,
    "quantity_delta": -2,
    "stale_after_seconds": 86400,
    "tax_cents": 404,
    "unit_price_cents": 2450,
    "unit_weight_grams": 380,
    "up_to_sequence": 1039,
    "wanted": 2,
    "watermark": 1041,
}

ITEMS = {"packing_requirements": "gift wrap", "withdrawn_fulfillment_ids": "fulfillment_id"}
"""Lists of plain values: the value, or the field whose value it is."""

SHOPPER = {"kind": "shopper", "name": "Ada Example"}


def example_id(name: str) -> str:
    """A UUIDv7 of that second that is always the same for the same field name, so that ids of one story agree between messages."""
    digest = int.from_bytes(hashlib.sha256(name.encode()).digest()[:10])
    milliseconds = 1_772_463_845_000
    return str(UUID(int=(milliseconds << 80) | (0x7 << 76) | ((digest >> 62) & 0xFFF) << 64 | (0b10 << 62) | (digest & (2**62 - 1))))


def example_envelope(message: type[Message], schema: dict[str, Any]) -> dict[str, Any]:
    """A whole example message.

    Args:
        message: the type.
        schema: its envelope's JSON Schema.

    Raises:
        LookupError: a field needs a value that cannot be guessed; give it one in ``TEXTS`` or ``ITEMS``.
    """
    source = "ordermesh"
    if message.kind is Kind.INBOUND:
        source = "acme" if partner_kind_of(message) == "3pl" else "web-shop"
    return {
        "specversion": "1.0",
        "id": example_id(message.type),
        "source": source,
        "type": message.type,
        "time": NOW,
        "datacontenttype": "application/json",
        "dataschema": f"ordermesh:{message.type}",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "data": _value("data", schema["properties"]["data"], schema["$defs"]),
    }


def _value(name: str, schema: dict[str, Any], definitions: dict[str, Any]) -> Any:
    if "$ref" in schema:
        return _value(name, definitions[schema["$ref"].removeprefix("#/$defs/")], definitions)
    if "anyOf" in schema:
        return _value(name, next(option for option in schema["anyOf"] if option.get("type") != "null"), definitions)
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    match schema["type"]:
        case "object":
            return {field: _value(field, part, definitions) for field, part in schema["properties"].items()}
        case "array":
            return [_value(ITEMS.get(name, name), schema["items"], definitions)]
        case "boolean":
            return schema.get("default", True)
        case "integer":
            return NUMBERS.get(name, 4900 if name.endswith("_cents") else schema.get("minimum", 1))
        case "number":
            return schema.get("minimum", 1)
    return _text(name, schema)


def _text(name: str, schema: dict[str, Any]) -> str:
    if schema.get("format") == "uuid":
        return example_id(name)
    if schema.get("format") == "date-time":
        return LATER if name in LATER_FIELDS else NOW
    if name in ITEMS.values():
        return name
    if name not in TEXTS:
        raise LookupError(f'the field "{name}" has no example: add one to TEXTS in shared/contracts/generate/examples.py')
    return TEXTS[name]
