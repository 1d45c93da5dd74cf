"""Ports, passwords and process records of a stack."""

import os
import socket
import stat
from pathlib import Path

import psutil

from deploy.local.ports import HIGHEST_PORT, LOWEST_PORT, choose_ports
from deploy.local.record import password_of, read_record, write_record
from deploy.local.running import find_process, kill_process


def test_a_password_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    secrets_file = tmp_path / "secrets.json"
    first = password_of(secrets_file, "database_roles", "ordermesh_allocation")
    others = {
        password_of(secrets_file, "database_roles", "ordermesh_routing"),
        password_of(secrets_file, "broker_users", "ordermesh_allocation"),
    }
    assert first not in others
    assert password_of(secrets_file, "database_roles", "ordermesh_allocation") == first
    assert stat.S_IMODE(secrets_file.stat().st_mode) == 0o600


def test_a_record_cut_short_counts_as_missing(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    record.write_text('{"pid": 12')
    assert read_record(record) == {}


def test_a_remembered_port_is_kept_while_free_and_replaced_when_taken() -> None:
    free = choose_ports(["postgres"], {})
    assert choose_ports(["postgres"], free) == free
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", free["postgres"]))
        somebody.listen()
        assert choose_ports(["postgres"], free) != free


def test_ports_differ_and_lie_below_those_of_outgoing_connections() -> None:
    ports = choose_ports([f"process {number}" for number in range(50)], {})
    assert len(set(ports.values())) == 50
    assert all(LOWEST_PORT <= port <= HIGHEST_PORT for port in ports.values())


def test_a_process_id_that_was_given_to_another_process_is_not_ours_to_kill(tmp_path: Path) -> None:
    myself = psutil.Process()
    record = tmp_path / "server.json"
    write_record(record, {"pid": os.getpid(), "started_at": myself.create_time()})
    assert find_process(record) == myself
    write_record(record, {"pid": os.getpid(), "started_at": myself.create_time() - 60})
    assert find_process(record) is None
    kill_process(record)
    assert not record.exists()
