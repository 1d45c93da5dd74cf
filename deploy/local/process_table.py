"""The table of Ordermesh's processes on a developer's machine: what runs, with which credentials, ports and settings.

To give a process another setting, add it to its row; to add a process, add a row.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from shared.messaging.topology.names import partner_user_of, service_user_of
from shared.migrate import AUDITOR, role_of

# The partners of the private stack: two sales channels, both played by the process `channels`, and two 3PLs.
CHANNELS = ("webshop", "marketplace")
THIRD_PARTY_LOGISTICS = ("east", "west")

SERVICES = ("sync", "allocation", "routing", "returns", "portal")


class Surroundings(Protocol):
    """What a setting may be made of: addresses and secrets of the stack in which the process will run."""

    @property
    def directory(self) -> Path:
        """The stack's directory."""

    @property
    def partners_file(self) -> Path:
        """Who the partners are, for whoever has to know them."""

    def port(self, name: str) -> int:
        """A port on 127.0.0.1: `sync` is the HTTP port of that process, `mail_smtp` the port `smtp` of the process `mail`."""

    def url(self, name: str) -> str:
        """The HTTP address of a process, without a path."""

    def secret(self, name: str) -> str:
        """A random string that is made once for this stack."""

    def database_url(self, role: str) -> str:
        """The database, for one role."""

    def amqp_url(self, user: str) -> str:
        """The broker, for one user."""


Setting = Callable[[Surroundings], str]


@dataclass(frozen=True)
class ProcessDescription:
    """One process: the module that is run, and the environment variables it is given beside ORDERMESH_HTTP_PORT.

    `more_ports` are ports beside the HTTP one, by name. `pages` are addresses to show a person once it runs: what it is, and its path.
    """

    module: str
    settings: Mapping[str, Setting] = field(default_factory=dict)
    more_ports: tuple[str, ...] = ()
    pages: Mapping[str, str] = field(default_factory=dict)


def _service(name: str, settings: Mapping[str, Setting] | None = None, pages: Mapping[str, str] | None = None) -> ProcessDescription:
    """A service has its own database role, its own broker user, and may act for operators."""
    every_service: dict[str, Setting] = {
        "ORDERMESH_DATABASE_URL": lambda here: here.database_url(role_of(name)),
        "ORDERMESH_AMQP_URL": lambda here: here.amqp_url(service_user_of(name)),
        "ORDERMESH_OPERATOR_TOKEN": lambda here: here.secret("operator_token"),
        "ORDERMESH_PARTNERS_FILE": lambda here: str(here.partners_file),
    }
    return ProcessDescription(f"services.{name}", settings={**every_service, **(settings or {})}, pages=pages or {})


def _third_party_amqp_urls(here: Surroundings) -> str:
    return json.dumps({code: here.amqp_url(partner_user_of("3pl", code)) for code in THIRD_PARTY_LOGISTICS})


PROCESSES: Mapping[str, ProcessDescription] = {
    "mail": ProcessDescription(
        "simulators.mail",
        more_ports=("smtp",),
        settings={"ORDERMESH_SMTP_PORT": lambda here: str(here.port("mail_smtp"))},
    ),
    "channels": ProcessDescription(
        "simulators.channels",
        settings={"ORDERMESH_PARTNERS_FILE": lambda here: str(here.partners_file)},
    ),
    "third_party_logistics": ProcessDescription(
        "simulators.third_party_logistics",
        settings={
            "ORDERMESH_PARTNER_AMQP_URLS": _third_party_amqp_urls,
            "ORDERMESH_PARTNERS_FILE": lambda here: str(here.partners_file),
            "ORDERMESH_STATE_FILE": lambda here: str(here.directory / "third-party-logistics.journal"),
        },
    ),
    "sync": _service("sync", pages={f"Webhook of {code} (POST, signed)": f"/webhooks/{code}" for code in CHANNELS}),
    "allocation": _service("allocation"),
    "routing": _service("routing"),
    "returns": _service("returns"),
    "portal": _service(
        "portal",
        settings={
            "ORDERMESH_SYNC_URL": lambda here: here.url("sync"),
            "ORDERMESH_ALLOCATION_URL": lambda here: here.url("allocation"),
            "ORDERMESH_ROUTING_URL": lambda here: here.url("routing"),
            "ORDERMESH_RETURNS_URL": lambda here: here.url("returns"),
            "ORDERMESH_PUBLIC_BASE_URL": lambda here: here.url("portal"),
            "ORDERMESH_LINK_SECRET": lambda here: here.secret("link_secret"),
            "ORDERMESH_SMTP_HOST": lambda _: "127.0.0.1",
            "ORDERMESH_SMTP_PORT": lambda here: str(here.port("mail_smtp")),
            "ORDERMESH_AUDIT_DATABASE_URL": lambda here: here.database_url(AUDITOR),
        },
        pages={"Portal and console": "/", "API documentation": "/docs"},
    ),
}


def partners_document(here: Surroundings) -> dict[str, object]:
    """The content of the partners file: the channels with their addresses and webhook secrets, and the 3PLs."""
    return {
        "channels": [
            {
                "code": code,
                "base_url": f"{here.url('channels')}/{code}",
                "webhook_secrets": [here.secret(f"webhook_{code}")],
                # The simulated channels are quicker than most real ones: a catalogue is told in seconds.
                "requests_per_second": 200,
            }
            for code in CHANNELS
        ],
        "third_party_logistics": [{"code": code} for code in THIRD_PARTY_LOGISTICS],
    }


def database_roles() -> list[str]:
    """Every role that migrations create, each with a password of its own."""
    return [*(role_of(service) for service in SERVICES), AUDITOR]


def broker_users() -> list[str]:
    """Every user that the topology creates, each with a password of its own."""
    return [
        *(service_user_of(service) for service in SERVICES),
        *(partner_user_of("channel", code) for code in CHANNELS),
        *(partner_user_of("3pl", code) for code in THIRD_PARTY_LOGISTICS),
    ]
