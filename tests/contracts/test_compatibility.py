"""Within a major version, producers only add: what breaks a reader or a writer is found, what does not is let through."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.contracts.generate.__main__ import broken_promises, documents
from shared.contracts.generate.compatibility import breaking_changes
from shared.contracts.generate.schemas import envelope_schema
from shared.contracts.registry import MESSAGES

ROOT = Path(__file__).resolve().parents[2]
Schema = dict[str, Any]
PLACED = envelope_schema(MESSAGES["order.placed.v1"])


def changed(change: Callable[[Schema], object]) -> Schema:
    schema = copy.deepcopy(PLACED)
    change(schema)
    return schema


def placed(schema: Schema) -> Schema:
    found: Schema = schema["$defs"]["OrderPlaced"]
    return found


def line(schema: Schema) -> Schema:
    found: Schema = schema["$defs"]["OrderLine"]
    return found


BREAKING: list[tuple[str, Callable[[Schema], object]]] = [
    ("data.channel was removed", lambda schema: placed(schema)["properties"].pop("channel")),
    ("data.lines[].sku was removed", lambda schema: line(schema)["properties"].pop("sku")),
    ("data.shipping_paid_cents became required", lambda schema: placed(schema)["required"].append("shipping_paid_cents")),
    (
        "data.colour is new and required",
        lambda schema: (placed(schema)["properties"].update(colour={"type": "string"}), placed(schema)["required"].append("colour")),
    ),
    ("data.order_id was string (uuid) and is now string", lambda schema: placed(schema)["properties"]["order_id"].pop("format")),
    (
        "data.lines[].quantity was integer and is now string",
        lambda schema: line(schema)["properties"].update(quantity={"type": "string"}),
    ),
    (
        "data.deliver_by may no longer be null",
        lambda schema: placed(schema)["properties"].update(deliver_by={"type": "string", "format": "date-time"}),
    ),
    ("data.segment no longer allows retail", lambda schema: placed(schema)["properties"]["segment"]["enum"].remove("retail")),
    ("data.lines: maxItems fell to 10", lambda schema: placed(schema)["properties"]["lines"].update(maxItems=10)),
    ("data.lines[].sku: minLength rose to 2", lambda schema: line(schema)["properties"]["sku"].update(minLength=2)),
    ("data.external_id must now match ^W", lambda schema: placed(schema)["properties"]["external_id"].update(pattern="^W")),
    (
        "data.ship_to.country was removed",
        lambda schema: schema["$defs"]["Address"]["properties"].pop("country"),
    ),
    (
        "type was always order.placed.v1 and is now always order.placed.v2",
        lambda schema: schema["properties"].update(type={"const": "order.placed.v2"}),
    ),
]

HARMLESS: list[tuple[str, Callable[[Schema], object]]] = [
    ("a new optional field", lambda schema: placed(schema)["properties"].update(gift={"type": "boolean", "default": False})),
    ("a field that may now be left out", lambda schema: placed(schema)["required"].remove("segment")),
    ("another value", lambda schema: placed(schema)["properties"]["segment"]["enum"].append("marketplace")),
    ("more lines", lambda schema: placed(schema)["properties"]["lines"].update(maxItems=5_000)),
    ("other words", lambda schema: placed(schema).update(description="Better said.")),
    ("another example", lambda schema: schema.update(examples=[])),
    (
        "a value that may now be null",
        lambda schema: placed(schema)["properties"].update(
            segment={"anyOf": [placed(schema)["properties"]["segment"], {"type": "null"}]},
        ),
    ),
    (
        "a part under another name",
        lambda schema: (
            schema["$defs"].update(Consignee=schema["$defs"].pop("Address")),
            placed(schema)["properties"].update(ship_to={"$ref": "#/$defs/Consignee"}),
        ),
    ),
]


@pytest.mark.parametrize(("sentence", "change"), BREAKING, ids=[sentence for sentence, _ in BREAKING])
def test_a_breaking_change_is_named(sentence: str, change: Callable[[Schema], object]) -> None:
    assert sentence in breaking_changes(PLACED, changed(change))


@pytest.mark.parametrize(("_", "change"), HARMLESS, ids=[name for name, _ in HARMLESS])
def test_a_harmless_change_is_let_through(_: str, change: Callable[[Schema], object]) -> None:
    assert breaking_changes(PLACED, changed(change)) == []


def git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout if done.returncode == 0 else ""


def test_no_message_type_has_broken_since_the_last_release() -> None:
    """Compared with the newest release tag; before the first release contracts may still change between commits, but not within one."""
    if shutil.which("git") is None or not git("rev-parse", "HEAD"):
        pytest.skip("no git history here: nothing to compare with")
    base = git("describe", "--tags", "--abbrev=0", "--match", "v*").strip() or "HEAD"
    listed = git("ls-tree", "-r", "--name-only", base, "contracts/schemas").split()
    present = {path.removeprefix("contracts/"): git("show", f"{base}:{path}") for path in listed}
    assert all(json.loads(content)["$id"] for content in present.values())
    assert broken_promises(present, documents()) == []
