"""`python -m deploy.local` as a person uses it: a second stack beside the first, a launcher that crashes, Ctrl-C, given servers."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from deploy.local import command_line
from deploy.local.processes import Processes
from deploy.local.record import read_record
from deploy.local.running import find_process, members_of
from deploy.local.stack import Stack
from tests.local.launching import Launcher, command, own_environment

PATIENCE_SECONDS = 30.0


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_down_ends_a_second_stack_whose_launcher_was_killed_and_leaves_the_first_alone(
    private_stack: Stack, second_launcher: Launcher
) -> None:
    assert eventually(second_launcher.marker.exists)
    second = Stack(second_launcher.directory)
    assert second.is_running
    assert private_stack.is_running
    assert set(second.environment().values()).isdisjoint(private_stack.environment().values())

    def sleeping() -> list[psutil.Process]:
        return [child for child in psutil.Process(second_launcher.process.pid).children() if child.name() == "sleep"]

    assert eventually(lambda: bool(sleeping())), "the shell makes the marker a moment before it becomes the command"
    (command_of_launcher,) = sleeping()
    second_launcher.process.kill()
    second_launcher.process.wait()
    command_of_launcher.kill()
    assert second.is_running
    assert len(members_of(second.directory)) >= 3

    stopping = subprocess.run(
        command("down", "--directory", str(second.directory)), env=own_environment(), check=True, stdout=subprocess.PIPE, text=True
    )
    assert stopping.stdout == f"nothing runs any more; the data stays in {second.directory}\n"
    assert members_of(second.directory) == []
    assert list((second.directory / "run").iterdir()) == []
    assert private_stack.is_running


def test_an_interrupt_during_up_leaves_no_process(tmp_path: Path) -> None:
    starting = subprocess.Popen(
        command("up", "--servers-only", "--directory", str(tmp_path)), env=own_environment(), stderr=subprocess.PIPE, text=True
    )
    record = tmp_path / "run" / "rabbitmq.json"
    assert eventually(lambda: find_process(record) is not None)
    starting.send_signal(signal.SIGINT)
    _, complaint = starting.communicate(timeout=PATIENCE_SECONDS)
    assert starting.returncode == 130
    assert "interrupted" in complaint
    assert members_of(tmp_path) == []


def test_commands_that_start_or_stop_a_stack_wait_for_each_other_and_say_so(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    with stack.in_turn():
        starting, stopping = (
            subprocess.Popen(command(name, *depth, "--directory", str(tmp_path)), env=own_environment(), stderr=subprocess.PIPE, text=True)
            for name, *depth in (("up", "--servers-only"), ("down",))
        )
        for waiting in (starting, stopping):
            assert waiting.stderr is not None
            assert waiting.stderr.readline() == "  waiting: another command is starting or stopping this stack\n"
            assert waiting.poll() is None
        starting.send_signal(signal.SIGINT)
        assert starting.communicate(timeout=PATIENCE_SECONDS)[1].startswith("ordermesh: interrupted")
        assert starting.returncode == 130
        assert stopping.poll() is None
    assert stopping.communicate(timeout=PATIENCE_SECONDS)[1] == ""
    assert stopping.returncode == 0


def test_down_where_there_is_no_stack_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = tmp_path / "nowhere"
    assert command_line.main(["down", "--directory", str(nowhere)]) == 0
    assert capsys.readouterr().out == f"there is no stack in {nowhere}: nothing was ever started there\n"
    assert not nowhere.exists()


def test_given_servers_that_do_not_answer_are_told_in_one_line(tmp_path: Path) -> None:
    given = own_environment(DATABASE_URL="postgresql://a:b@127.0.0.1:1/c", AMQP_URL="amqp://a:b@127.0.0.1:1/")
    finished = subprocess.run(
        command("up", "--servers-only", "--directory", str(tmp_path)), env=given, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 1
    (line,) = finished.stderr.splitlines()
    assert "cannot be used: " in line


def test_run_hands_on_given_servers_and_the_exit_status_of_its_command(private_stack: Stack, tmp_path: Path) -> None:
    given = own_environment(DATABASE_URL=private_stack.postgres.url, AMQP_URL=private_stack.rabbitmq.url)
    finished = subprocess.run(
        command(
            "run",
            "--servers-only",
            "--directory",
            str(tmp_path),
            "--",
            "sh",
            "-c",
            'echo "$ADMIN_DATABASE_URL $AMQP_URL"; exit 7',
        ),
        env=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 7
    assert finished.stdout.split() == [private_stack.postgres.url, private_stack.rabbitmq.url]
    assert private_stack.is_running


def test_where_to_turn_to_is_told_and_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack(tmp_path)
    processes = Processes(stack)
    processes.lay_out()
    monkeypatch.setattr(processes, "is_running", lambda _: True)
    told = dict(processes.addresses())
    portal, sync = processes.url("portal"), processes.url("sync")
    assert (told["Portal and console"], told["API documentation"]) == (f"{portal}/", f"{portal}/docs")
    assert told["Webhook of webshop (POST, signed)"] == f"{sync}/webhooks/webshop"
    port = read_record(tmp_path / "stack.json")["ports"]["amqp"]
    assert told["AMQP of partners"].startswith(f"amqp://127.0.0.1:{port}")
    assert told["Operator's token"] == f"{stack.secrets_file}, secrets.operator_token"
    secrets = [password for group in read_record(stack.secrets_file).values() for password in group.values()]
    assert secrets
    assert not any(password in where for password in secrets for where in told.values())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("run", "--servers-only"), "run needs a command"),
        (("run", "--servers-only", "--", "no-such-command-anywhere"), "there is no command 'no-such-command-anywhere'"),
        (("run", "--attach", "--", "true"), "no stack runs in"),
        (("environment",), "no stack runs in"),
    ],
)
def test_a_command_that_cannot_work_says_why_in_one_line(tmp_path: Path, arguments: tuple[str, ...], complaint: str) -> None:
    name, *rest = arguments
    finished = subprocess.run(
        command(name, "--directory", str(tmp_path), *rest), env=own_environment(), capture_output=True, text=True, check=False
    )
    assert finished.returncode == 1
    assert finished.stderr.startswith("ordermesh: ")
    assert complaint in finished.stderr
    assert finished.stderr.count("\n") == 1
