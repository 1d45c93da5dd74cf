"""What a freshly started stack needs before a service may connect: schemas and roles in Postgres, users and queues in RabbitMQ."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from deploy.local.failure import LocalStackError, last_lines
from deploy.local.processes import CHECKOUT, Processes
from deploy.local.stack import Stack

# Each is a module of ours that is told the administrator's addresses by Stack.environment() and is safe to run again.
STEPS = {
    "Migrations": ("shared.migrate",),
    "Topology": ("shared.messaging.topology", "apply"),
}


def prepare(stack: Stack) -> None:
    """Applies migrations and topology, at the same time; raises LocalStackError with the end of the step's log when one fails.

    What still runs when one fails, or at Ctrl-C, is ended: each step is safe to be cut off and run again.
    """
    processes = Processes(stack)
    processes.lay_out()
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), **stack.environment(), **processes.environment()}
    logs = {name: stack.directory / "logs" / f"{name.lower()}.log" for name in STEPS}
    with ExitStack() as exits:
        under_way = {name: exits.enter_context(_running(STEPS[name], logs[name], environment)) for name in STEPS}
        for name, process in under_way.items():
            with stack.progress.step(name) as step:
                if process.wait() != 0:
                    raise LocalStackError(f"{name} failed (python -m {STEPS[name][0]}); log: {logs[name]}\n{last_lines(logs[name])}")
                step.result = "applied"


@contextmanager
def _running(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A step from its start; it has ended at the end of the block."""
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environment),
            cwd=CHECKOUT,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()
