"""The supervisor: starts, watches, kills and restarts processes, each with its own credentials."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import processes as supervisor
from deploy.local.failure import LocalStackError
from deploy.local.process_table import ProcessDescription
from deploy.local.processes import Processes
from deploy.local.running import members_of, wait_until_gone
from deploy.local.stack import Stack
from shared.config import load_partners

READY = ProcessDescription(
    "tests.local.ready_process",
    more_ports=("extra",),
    settings={
        "ORDERMESH_DATABASE_URL": lambda here: here.database_url("ordermesh_ready"),
        "ORDERMESH_AMQP_URL": lambda here: here.amqp_url("ordermesh_ready"),
        "EXTRA_ADDRESS": lambda here: f"127.0.0.1:{here.port('ready_extra')}",
        "NEIGHBOUR_URL": lambda here: here.url("neighbour"),
    },
)
NEIGHBOUR = ProcessDescription("tests.local.ready_process")
DYING = ProcessDescription("tests.local.dying_process")


@pytest.fixture
def processes(private_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    monkeypatch.setattr(supervisor, "PROCESSES", {"ready": READY, "neighbour": NEIGHBOUR, "dying": DYING, "channels": NEIGHBOUR})
    watched = Processes(private_stack)
    yield watched
    watched.stop()


def environment_seen_by(processes: Processes, name: str) -> dict[str, str]:
    with urllib.request.urlopen(f"{processes.url(name)}/environment") as answer:
        seen: dict[str, str] = json.load(answer)
    return seen


def test_a_killed_process_comes_back_on_its_port_and_its_neighbour_never_left(processes: Processes) -> None:
    processes.start(["ready", "neighbour"])
    url, neighbour = processes.url("ready"), processes.process("neighbour")
    processes.kill("ready")
    assert processes.running() == ["neighbour"]
    processes.start(["ready"])
    assert processes.url("ready") == url
    assert processes.process("neighbour") == neighbour
    processes.stop()
    assert processes.running() == []


def test_a_process_that_dies_at_start_is_named_with_its_last_words(processes: Processes) -> None:
    with pytest.raises(LocalStackError, match=r"(?s)dying did not start: it ended by itself.*the warehouse is on fire"):
        processes.start(["neighbour", "dying"])
    assert processes.running() == []


def test_a_process_that_ends_unasked_is_noticed(processes: Processes) -> None:
    processes.start(["ready"])
    process = processes.process("ready")
    assert process is not None
    processes.complain_about_the_dead()
    assert processes.condition("ready") == f"running (pid {process.pid})"
    process.kill()
    assert wait_until_gone([process], timeout_seconds=5) == []
    assert processes.condition("ready") == "ended by itself; `make up` starts it again"
    assert processes.condition("neighbour") == "stopped"
    with pytest.raises(LocalStackError, match="ready ended by itself"):
        processes.complain_about_the_dead()


def test_a_process_gets_its_own_credentials_and_none_of_the_administrators(
    processes: Processes, private_stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in private_stack.environment().items():
        monkeypatch.setenv(name, value)
    processes.start(["ready"])
    seen = environment_seen_by(processes, "ready")

    role_password = private_stack.password("database_roles", "ordermesh_ready")
    user_password = private_stack.password("broker_users", "ordermesh_ready")
    assert seen["ORDERMESH_DATABASE_URL"].startswith(f"postgresql://ordermesh_ready:{role_password}@127.0.0.1:")
    assert seen["ORDERMESH_AMQP_URL"].startswith(f"amqp://ordermesh_ready:{user_password}@127.0.0.1:")
    administrators = {private_stack.password("administrators", name) for name in ("postgres", "rabbitmq")}
    assert not [name for name, value in seen.items() if any(password in value for password in administrators)]
    assert "ORDERMESH_SECRETS_FILE" not in seen


def test_settings_name_the_ports_of_other_processes(processes: Processes) -> None:
    processes.start(["ready", "neighbour"])
    seen = environment_seen_by(processes, "ready")
    assert seen["NEIGHBOUR_URL"] == processes.url("neighbour")
    assert seen["EXTRA_ADDRESS"] not in (seen["NEIGHBOUR_URL"], f"127.0.0.1:{seen['ORDERMESH_HTTP_PORT']}")


def test_an_unknown_process_is_answered_with_the_known_ones(processes: Processes) -> None:
    with pytest.raises(LocalStackError, match="no process 'invoicing'; there are: ready, neighbour, dying, channels"):
        processes.kill("invoicing")


def test_processes_are_members_of_their_stack(processes: Processes, private_stack: Stack, tmp_path: Path) -> None:
    processes.start(["ready"])
    assert processes.process("ready") in members_of(private_stack.directory)
    assert members_of(tmp_path) == []


def test_the_secrets_file_has_a_password_for_every_role_and_user_that_is_going_to_be_created(
    processes: Processes, private_stack: Stack
) -> None:
    processes.lay_out()
    content = json.loads(private_stack.secrets_file.read_text())
    assert {"ordermesh_allocation", "ordermesh_portal", "ordermesh_audit"} <= content["database_roles"].keys()
    assert {"ordermesh_sync", "channel-webshop", "3pl-east"} <= content["broker_users"].keys()
    passwords = [password for group in content.values() for password in group.values()]
    assert len(set(passwords)) == len(passwords)


def test_the_partners_file_is_one_that_services_can_read(processes: Processes) -> None:
    processes.lay_out()
    partners = load_partners(processes.surroundings.partners_file)
    assert [channel.code for channel in partners.channels] == ["webshop", "marketplace"]
    assert all(channel.base_url.startswith(processes.url("channels")) for channel in partners.channels)
    assert [third_party.code for third_party in partners.third_party_logistics] == ["east", "west"]
