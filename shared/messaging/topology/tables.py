"""What the services and partners of this installation say about themselves, read at run time."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

from shared.config import Partners, load_partners
from shared.messaging.topology.plan import ServiceMessages

ROOT = Path(__file__).resolve().parents[3]


def service_names(root: Path = ROOT) -> list[str]:
    """Every service that has a table of contents, ``services/<name>/__main__.py``."""
    return sorted(file.parent.name for file in root.glob("services/*/__main__.py"))


def load_services(root: Path = ROOT) -> dict[str, ServiceMessages]:
    """What each service reads and publishes. Loaded by name, so that nothing in ``shared`` depends on a service."""
    tables = {name: importlib.import_module(f"services.{name}.__main__").SERVICE for name in service_names(root)}
    return {
        name: ServiceMessages(consumes=[consumed.message for consumed in table.consumes], publishes=list(table.publishes))
        for name, table in tables.items()
    }


def configured_partners() -> Partners:
    """The partners named by ``ORDERMESH_PARTNERS_FILE``.

    Raises:
        BadConfiguration: the file is missing or names a wrong field.
    """
    file = os.environ.get("ORDERMESH_PARTNERS_FILE")
    return load_partners(Path(file) if file else None)
