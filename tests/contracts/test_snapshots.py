"""contracts/ is what the code says, and the tool that keeps it so tells what differs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from shared.contracts.generate.__main__ import broken_promises, checked_in, documents, outdated
from shared.contracts.registry import MESSAGES
from shared.messaging.topology.tables import service_names

ROOT = Path(__file__).resolve().parents[2]


def test_the_checked_in_contracts_are_up_to_date() -> None:
    assert list(outdated(checked_in(), documents())) == [], "run: python -m shared.contracts.generate"


def test_generating_twice_gives_the_same_bytes() -> None:
    """In another process as well, where sets and hashes come in another order."""
    script = "import json, sys; from shared.contracts.generate.__main__ import documents; json.dump(documents(), sys.stdout)"
    other = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(other.stdout) == documents()


def test_there_is_one_schema_per_message_version_and_one_document_per_service_and_kind_of_partner() -> None:
    paths = documents().keys()
    assert {path for path in paths if path.startswith("schemas/")} == {f"schemas/{name}.json" for name in MESSAGES}
    applications = {*service_names(), "partner-3pl", "partner-channel"}
    assert {path for path in paths if path.endswith(".asyncapi.json")} == {f"{name}.asyncapi.json" for name in applications}


def test_a_difference_is_named_with_its_lines() -> None:
    present = {"schemas/a.json": "{\n  1\n}\n", "gone.json": "{}", "same.json": "{}"}
    wanted = {"schemas/a.json": "{\n  2\n}\n", "new.json": "{}", "same.json": "{}"}
    assert list(outdated(present, wanted)) == [
        "contracts/gone.json: nothing generates it any more",
        "contracts/new.json: missing",
        "contracts/schemas/a.json: 2 lines differ\n    -  1\n    +  2",
    ]


def test_a_removed_message_type_is_a_broken_promise() -> None:
    present = documents()
    wanted = {path: content for path, content in present.items() if path != "schemas/order.placed.v1.json"}
    assert broken_promises(present, wanted) == ["order.placed.v1: the message type was removed"]


def test_a_new_message_type_breaks_nothing() -> None:
    wanted = documents()
    present = {path: content for path, content in wanted.items() if path != "schemas/order.placed.v1.json"}
    assert broken_promises(present, wanted) == []
