"""Two throw-away stacks for the tests of this folder, started once and at the same time, as in two clones."""

import subprocess
from collections.abc import Iterator

import pytest

from deploy.local.stack import Stack
from tests.local.launching import Launcher, command, own_environment


@pytest.fixture(scope="session")
def second_launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """A second stack, started from the command line with a command that only waits."""
    directory = tmp_path_factory.mktemp("second")
    marker = tmp_path_factory.mktemp("marker") / "command-runs"
    waiting = ("sh", "-c", f"touch {marker}; exec sleep 300")
    process = subprocess.Popen(
        command("run", "--servers-only", "--directory", str(directory), "--", *waiting), env=own_environment(), stderr=subprocess.DEVNULL
    )
    yield Launcher(process, directory, marker)
    process.kill()
    process.wait()
    Stack(directory).discard()


@pytest.fixture(scope="session")
def private_stack(tmp_path_factory: pytest.TempPathFactory, second_launcher: Launcher) -> Iterator[Stack]:
    """The stack that the tests use, break and restart; it starts beside the second one."""
    assert second_launcher.process.poll() is None
    stack = Stack(tmp_path_factory.mktemp("stack"))
    try:
        stack.start()
        yield stack
    finally:
        stack.discard()
