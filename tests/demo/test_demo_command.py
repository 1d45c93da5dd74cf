"""The demo as a person runs it: one command, a report, nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.demo import command_line
from deploy.local.demo.report import DemoReport
from deploy.local.failure import LocalStackError
from deploy.local.progress import Progress
from deploy.local.running import members_of
from deploy.local.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
SCENES = ["preorder", "delay", "restock", "feed in flight", "shortage", "checkout hold"]
SCENES += ["rule", "split", "edit", "interception", "interception too late", "short pick"]
SAMPLE = ROOT / "tests" / "simulators" / "shopify_orders_export.csv"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory for one demo; whatever a failing test leaves running there is killed."""
    directory = tmp_path / "demo"
    yield directory
    if (directory / "stack.json").exists():
        Stack(directory).discard()


def command(place: Path, *arguments: str) -> list[str]:
    """The demo's command line in that place."""
    report = place.with_name("report.json")
    return [sys.executable, "-m", "deploy.local.demo", *arguments, "--directory", str(place), "--report", str(report)]


def surroundings() -> dict[str, str]:
    """The environment of a shell in which nothing of ours is set."""
    hidden = ("ORDERMESH_", "DATABASE_URL", "AMQP_URL", "ADMIN_", "RABBITMQ_")
    return {**{name: value for name, value in os.environ.items() if not name.startswith(hidden)}, "PYTHONPATH": str(ROOT)}


def test_a_shop_s_export_goes_through_the_whole_system(place: Path) -> None:
    finished = subprocess.run(
        command(place, str(SAMPLE), "--seconds", "5", "--wishes", "none"),
        cwd=ROOT,
        env=surroundings(),
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert finished.returncode == 0, finished.stdout[-4_000:] + finished.stderr[-4_000:]
    report = json.loads(place.with_name("report.json").read_text())
    assert (report["orders_in"], report["orders_taken"], report["orders_unaccounted"]) == (3, 3, 0)
    assert (report["units_oversold"], report["audit_violations"]) == (0, 0)
    assert report["decisions_recorded"] >= report["orders_taken"]
    assert report["decisions_different"] == 0
    assert report["input_rows"]["unexplained"] == 0
    assert len(report["input_rows"]["reported"]) == 8
    assert [scene["name"] for scene in report["scenes"] if scene["passed"]] == SCENES
    assert (report["wishes_simulated"], report["wishes_of_input"], report["wishes"]) == (0, 0, {})
    assert "PASSED" in finished.stdout
    assert members_of(place) == []
    assert not place.exists()


def test_ctrl_c_in_the_middle_leaves_no_process_behind_and_no_report_of_another_day(place: Path) -> None:
    report = place.with_name("report.json")
    report.write_text('{"source": "yesterday"}')
    with subprocess.Popen(
        command(place, "--orders", "300", "--seconds", "60"),
        cwd=ROOT,
        env=surroundings(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stderr is not None
        deadline = time.monotonic() + 200
        heard = []
        for line in demo.stderr:
            heard.append(line)
            if "%" in line or time.monotonic() > deadline:
                break
        demo.send_signal(signal.SIGINT)
        _, rest = demo.communicate(timeout=90)
    assert demo.returncode == 130, "".join(heard) + rest
    assert members_of(place) == []
    assert not report.exists()
    assert "yesterday" in place.with_name("report.previous.json").read_text()


class StoppedServers:
    """A stack and its processes that only have files."""

    def __init__(self, directory: Path, **_: object) -> None:
        self.directory = directory
        self.progress = Progress()
        self.is_running = False
        directory.mkdir(exist_ok=True)
        (directory / "stack.json").touch()

    def start(self) -> None:
        (self.directory / "books").write_text("of this run")

    def stop(self) -> None:
        """Nothing runs."""

    def discard(self) -> None:
        shutil.rmtree(self.directory)


def test_a_demo_that_fails_keeps_its_data_says_how_to_look_and_the_next_one_clears_it(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fails(*_: object) -> DemoReport:
        raise LocalStackError("the audit could not run")

    monkeypatch.setattr(command_line, "Stack", StoppedServers)
    monkeypatch.setattr(command_line, "Processes", lambda stack: stack)
    monkeypatch.setattr(command_line, "prepare", lambda _: None)
    monkeypatch.setattr(command_line, "run_demo", fails)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    arguments = ["--orders", "50", "--directory", str(place), "--report", str(place.with_name("report.json"))]
    assert command_line.main(arguments) == 1
    assert (place / "books").exists()
    assert f"make up STACK={place}" in capsys.readouterr().err

    def is_cleared(_: object) -> None:
        assert not (place / command_line.FAILED).exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "prepare", is_cleared)
    assert command_line.main(arguments) == 130
    assert not place.exists()


def test_wishes_that_do_not_exist_are_refused_in_one_line_that_names_those_that_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["--wishes", "some"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "ordermesh: WISHES (--wishes) cannot be 'some': say simulated, which is the default, or none"


@pytest.mark.parametrize(
    ("content", "words"), [("a,b\n1,2\n", "unknown columns"), ("", "is empty")], ids=["another table", "an empty file"]
)
def test_a_file_that_is_no_order_file_ends_at_once_with_one_line(place: Path, tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(content)
    finished = subprocess.run(
        command(place, str(path)), cwd=ROOT, env=surroundings(), capture_output=True, text=True, check=False, timeout=60
    )
    assert finished.returncode == 1
    (line,) = finished.stderr.splitlines()
    assert words in line
    assert not place.exists()
