"""Writes the folder contracts/: ``python -m shared.contracts.generate [--check]``.

contracts/schemas/<type>.json        JSON Schema of every message version, in its envelope
contracts/<service>.asyncapi.json    what a service reads and sends
contracts/partner-<kind>.asyncapi.json   what a 3PL or a channel adapter reads and sends

--check writes nothing, names each file that is out of date with its differing lines, and exits 1.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shared.contracts.generate.asyncapi import partner_document, service_document
from shared.contracts.generate.compatibility import breaking_changes
from shared.contracts.generate.schemas import envelope_schema
from shared.contracts.registry import MESSAGES
from shared.messaging.topology.tables import ROOT, load_services

FOLDER = ROOT / "contracts"
LINES_SHOWN_PER_FILE = 12


def documents() -> dict[str, str]:
    """Every generated file by its path inside ``contracts/``."""
    services = load_services()
    generated: dict[str, dict[str, Any]] = {f"schemas/{name}.json": envelope_schema(MESSAGES[name]) for name in sorted(MESSAGES)}
    for name, messages in services.items():
        summary = importlib.import_module(f"services.{name}.__main__").__doc__ or f"The {name} service."
        generated[f"{name}.asyncapi.json"] = service_document(name, summary, messages)
    generated["partner-3pl.asyncapi.json"] = partner_document("3pl", services)
    generated["partner-channel.asyncapi.json"] = partner_document("channel", services)
    return {path: json.dumps(content, indent=2, ensure_ascii=False) + "\n" for path, content in generated.items()}


def checked_in(folder: Path = FOLDER) -> dict[str, str]:
    """What is in the folder now, by path."""
    return {str(file.relative_to(folder)): file.read_text() for file in sorted(folder.rglob("*.json"))}


def outdated(present: Mapping[str, str], wanted: Mapping[str, str]) -> Iterator[str]:
    """One paragraph per file that is missing, superfluous or different."""
    for path in sorted(present.keys() | wanted.keys()):
        if path not in wanted:
            yield f"contracts/{path}: nothing generates it any more"
        elif path not in present:
            yield f"contracts/{path}: missing"
        elif present[path] != wanted[path]:
            lines = difflib.unified_diff(present[path].splitlines(), wanted[path].splitlines(), "checked in", "generated", lineterm="", n=0)
            changed = [line for line in lines if not line.startswith(("---", "+++", "@@"))]
            shown = "\n".join(f"    {line}" for line in changed[:LINES_SHOWN_PER_FILE])
            more = f"\n    ... {len(changed) - LINES_SHOWN_PER_FILE} more lines" if len(changed) > LINES_SHOWN_PER_FILE else ""
            yield f"contracts/{path}: {len(changed)} lines differ\n{shown}{more}"


def broken_promises(present: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """Changes of message types within their major version that would break whoever speaks or listens to them."""
    found = []
    for path in sorted(present):
        if path.startswith("schemas/"):
            name = path.removeprefix("schemas/").removesuffix(".json")
            if path not in wanted:
                found.append(f"{name}: the message type was removed")
            else:
                changes = breaking_changes(json.loads(present[path]), json.loads(wanted[path]))
                found.extend(f"{name}: {change}" for change in changes)
    return found


def _write(wanted: Mapping[str, str], present: Mapping[str, str], folder: Path) -> None:
    for path in present.keys() - wanted.keys():
        (folder / path).unlink()
    for path, content in wanted.items():
        if present.get(path) != content:
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)


def main() -> int:
    """Command line entry."""
    parser = argparse.ArgumentParser(
        prog="python -m shared.contracts.generate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when something is out of date")
    parser.add_argument(
        "--before-release", action="store_true", help="write changes that break a message type within its version: nobody uses it yet"
    )
    arguments = parser.parse_args()
    present, wanted = checked_in(), documents()
    broken = broken_promises(present, wanted)
    for promise in broken:
        print(f"breaks within its major version: {promise}", file=sys.stderr)
    if arguments.check:
        paragraphs = list(outdated(present, wanted))
        print("\n".join(paragraphs) or f"{len(wanted)} contract files are up to date")
        if paragraphs:
            print("run: python -m shared.contracts.generate", file=sys.stderr)
        return 1 if paragraphs else 0
    if broken and not arguments.before_release:
        print("nothing written: make a new major version of the type, or pass --before-release while nobody uses it", file=sys.stderr)
        return 1
    _write(wanted, present, FOLDER)
    print(f"{len(wanted)} contract files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
