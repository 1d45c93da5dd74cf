"""docker-compose.yml: its defaults, its example settings and the passwords it hands to the administrator's steps agree."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.compose.with_secrets import secrets_document, variable_of_partner
from shared.config import load_partners
from shared.errors import BadConfiguration
from shared.messaging.topology import topology
from shared.messaging.topology.definitions import user_definitions
from tests.topology.conftest import PARTNERS, SERVICES

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
FIVE = ["allocation", "portal", "returns", "routing", "sync"]


def passwords_in_compose() -> dict[str, str]:
    """The variables that the administrator's steps are given, with their defaults."""
    return dict(re.findall(r"^  (ORDERMESH_PASSWORD_\w+): \$\{\w+:-([^}]+)\}$", COMPOSE, re.MULTILINE))


def test_the_example_settings_are_the_defaults() -> None:
    examples = dict(re.findall(r"^([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    used = set(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", COMPOSE))
    assert {name for name, _ in used} == examples.keys()
    assert {(name, default) for name, default in used if examples[name] != default} == set()


def test_every_service_and_partner_of_compose_gets_a_password() -> None:
    partners = load_partners(ROOT / "deploy/compose/partners.json")
    document = secrets_document(FIVE, partners, passwords_in_compose())
    assert document["database_roles"].keys() == {*(f"ordermesh_{service}" for service in FIVE), "ordermesh_audit"}
    users = {f"ordermesh_{service}" for service in FIVE}
    assert document["broker_users"].keys() == users | {"channel-webshop", "channel-marketplace", "3pl-east", "3pl-west"}


def test_the_passwords_are_those_in_the_addresses_that_the_services_are_given() -> None:
    document = secrets_document(FIVE, load_partners(ROOT / "deploy/compose/partners.json"), passwords_in_compose())
    addresses = re.findall(r"(postgresql|amqp)://([a-z0-9_-]+):\$\{\w+:-([^}]+)\}@", COMPOSE)
    ours = [(scheme, user, password) for scheme, user, password in addresses if user not in ("postgres", "admin")]
    assert len(ours) == 2 * len(FIVE) + 1 + 2
    for scheme, user, password in ours:
        assert document["database_roles" if scheme == "postgresql" else "broker_users"][user] == password


def test_what_the_step_writes_is_what_the_topology_reads() -> None:
    names = [f"ORDERMESH_PASSWORD_{service.upper()}" for service in SERVICES]
    names += [variable_of_partner("channel", "rehearsal-shop"), variable_of_partner("3pl", "rehearsal-acme")]
    names += ["ORDERMESH_PASSWORD_3PL_REHEARSAL_ZETA", "ORDERMESH_PASSWORD_AUDIT"]
    document = secrets_document(SERVICES, PARTNERS, dict.fromkeys(names, "secret"))
    assert len(user_definitions(topology(SERVICES, PARTNERS), document["broker_users"])["users"]) == 5


def test_a_password_that_is_missing_is_named() -> None:
    with pytest.raises(BadConfiguration, match="ORDERMESH_PASSWORD_3PL_REHEARSAL_ZETA"):
        secrets_document(SERVICES, PARTNERS, {"ORDERMESH_PASSWORD_AUDIT": "secret"})


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose is not installed")
def test_docker_compose_understands_the_file() -> None:
    done = subprocess.run(["docker-compose", "config", "--services"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert {*FIVE, "postgres", "rabbitmq", "migrate", "topology"} <= set(done.stdout.split())


def test_nothing_is_published_beyond_the_loopback_interface() -> None:
    published = re.findall(r'"([^"\s]*\$\{\w+_PORT:-\d+\}:\d+)"', COMPOSE)
    assert len(published) >= 6
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_image_runs_as_nobody_in_particular() -> None:
    dockerfile = (ROOT / "deploy/Dockerfile").read_text()
    assert re.findall(r"^USER (.+)$", dockerfile, re.MULTILINE)[-1] == "10001:10001"
    assert "--require-hashes" in dockerfile


def test_the_partners_file_is_what_the_services_read() -> None:
    partners = json.loads((ROOT / "deploy/compose/partners.json").read_text())
    assert {channel["base_url"] for channel in partners["channels"]} == {
        "http://channels:8000/webshop",
        "http://channels:8000/marketplace",
    }
