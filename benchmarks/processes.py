"""The stack's processes, run on a database of the benchmark's own and with the settings of one measurement."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.databases import PREFIX, with_database
from deploy.local.ports import choose_ports
from deploy.local.process_table import partners_document
from deploy.local.processes import Processes
from deploy.local.record import write_record
from deploy.local.stack import Stack

REQUESTS_PER_SECOND = 5_000
"""What a channel says it can take. The default of 50 would make the channel's patience the only thing that is measured."""

DATABASE_VARIABLES = ("ORDERMESH_DATABASE_URL", "ORDERMESH_AUDIT_DATABASE_URL")


class MeasuredProcesses(Processes):
    """Processes as ``make up`` runs them, except for what this class says.

    Args:
        stack: where they run.
        database: which of the benchmark's databases they use.
        changes: environment variables that differ.
    """

    def __init__(self, stack: Stack, database: str, changes: Mapping[str, str] | None = None) -> None:
        super().__init__(stack)
        self._database = database
        self._changes = dict(changes or {})
        self._partners_file = stack.directory / "benchmark-partners.json"

    def lay_out(self) -> None:
        """As always, and the partners file with channels that are not slow."""
        super().lay_out()
        document = json.loads(json.dumps(partners_document(self.surroundings)))
        for channel in document["channels"]:
            channel["requests_per_second"] = REQUESTS_PER_SECOND
        write_record(self._partners_file, document)

    def environment_of(self, name: str) -> dict[str, str]:
        """As always, with the benchmark's database and partners, and simulators that keep nothing on disk."""
        environment = super().environment_of(name)
        for variable in DATABASE_VARIABLES:
            if variable in environment:
                environment[variable] = with_database(environment[variable], PREFIX + self._database)
        if "ORDERMESH_PARTNERS_FILE" in environment:
            environment["ORDERMESH_PARTNERS_FILE"] = str(self._partners_file)
        environment.pop("ORDERMESH_STATE_FILE", None)
        return {**environment, "ORDERMESH_LOG_LEVEL": "WARNING", **self._changes}

    def database_url(self, role: str) -> str:
        """The benchmark's database for one role."""
        return with_database(self.surroundings.database_url(role), PREFIX + self._database)


class Sibling(MeasuredProcesses):
    """One more process of a service beside the first, on a port of its own, for whoever measures several at once.

    Args:
        stack: where it runs.
        database: which of the benchmark's databases it uses.
        changes: environment variables that differ.
        number: 2 for the second process, and so on.
    """

    def __init__(self, stack: Stack, database: str, changes: Mapping[str, str] | None = None, *, number: int) -> None:
        super().__init__(stack, database, changes)
        self._number = number
        self._port = 0

    def lay_out(self) -> None:
        """Chooses its own port and leaves everything else to the first process, which must have been started."""
        self._port = next(iter(choose_ports([f"sibling_{self._number}"], {}).values()))

    def environment_of(self, name: str) -> dict[str, str]:
        """As the first one's, with its own port."""
        return {**super().environment_of(name), "ORDERMESH_HTTP_PORT": str(self._port)}

    def url(self, name: str) -> str:
        """Its own address."""
        return f"http://127.0.0.1:{self._port}"

    def log(self, name: str) -> Path:
        """Its own log."""
        return self._stack.directory / "logs" / f"{name}-{self._number}.log"

    def _record(self, name: str) -> Path:
        return self._stack.directory / "run" / f"{name}-{self._number}.json"


def read_counter(url: str, name: str, labels: Mapping[str, str]) -> float:
    """One number of a service's ``/metrics``; zero while it has never been counted."""
    assert urlsplit(url).scheme == "http"
    with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:  # noqa: S310 - an address of this stack
        text = answer.read().decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return float(sample.value)
    return 0.0
