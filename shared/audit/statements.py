"""What each service states about itself, found by name so that nothing in ``shared`` depends on a service."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.audit_model import Fact, Invariant
from shared.messaging.topology import ServiceMessages
from shared.messaging.topology.tables import ROOT, load_services


@dataclass(frozen=True)
class Statements:
    """One service: its rules, its facts, and what it hears and says."""

    service: str
    invariants: Sequence[Invariant]
    facts: Sequence[Fact]
    messages: ServiceMessages

    @property
    def source(self) -> str:
        """How the service signs its messages."""
        return f"ordermesh/{self.service}"

    def hears(self) -> set[str]:
        """Message types it must have in its inbox."""
        return {message.type for message in self.messages.consumes}


def load_statements(root: Path = ROOT) -> list[Statements]:
    """Every service with a table of contents and an ``audit.py``."""
    tables = load_services(root)
    statements = []
    for service in sorted(file.parent.name for file in root.glob("services/*/audit.py")):
        if service in tables:
            module = importlib.import_module(f"services.{service}.audit")
            statements.append(Statements(service, tuple(module.INVARIANTS), tuple(module.FACTS), tables[service]))
    return statements
