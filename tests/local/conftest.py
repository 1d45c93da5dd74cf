"""Two throw-away stacks for the tests of this folder, started once and at the same time, as in two clones."""

import subprocess

import pytest

from deploy.local.stack import Stack
from tests.conftest import until_folder_ends
from tests.local.launching import Launcher, command, own_environment


@pytest.fixture(scope="session")
def second_launcher(tmp_path_factory: pytest.TempPathFactory) -> Launcher:
    """A second stack, started from the command line with a command that only waits."""
    directory = tmp_path_factory.mktemp("second")
    marker = tmp_path_factory.mktemp("marker") / "command-runs"
    waiting = ("sh", "-c", f"touch {marker}; exec sleep 300")
    process = subprocess.Popen(
        command("run", "--servers-only", "--directory", str(directory), "--", *waiting), env=own_environment(), stderr=subprocess.DEVNULL
    )

    def end() -> None:
        process.kill()
        process.wait()
        Stack(directory).discard()

    until_folder_ends("local").callback(end)
    return Launcher(process, directory, marker)


@pytest.fixture(scope="session")
def private_stack(tmp_path_factory: pytest.TempPathFactory, second_launcher: Launcher) -> Stack:
    """The stack that the tests use, break and restart; it starts beside the second one."""
    assert second_launcher.process.poll() is None
    stack = Stack(tmp_path_factory.mktemp("stack"))
    until_folder_ends("local").callback(stack.discard)
    stack.start()
    return stack
