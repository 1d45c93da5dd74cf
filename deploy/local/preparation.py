"""What a freshly started stack needs before a service may connect: schemas and roles in Postgres, users and queues in RabbitMQ."""

import os
import subprocess
import sys

from deploy.local.failure import LocalStackError, last_lines
from deploy.local.processes import CHECKOUT, Processes
from deploy.local.stack import Stack

# Each is a module of ours that is told the administrator's addresses by Stack.environment() and is safe to run again.
STEPS = {
    "Migrations": ("shared.migrate",),
    "Topology": ("shared.messaging.topology", "apply"),
}


def prepare(stack: Stack) -> None:
    """Applies migrations and topology; raises LocalStackError with the end of the step's log when one fails."""
    processes = Processes(stack)
    processes.lay_out()
    for name, (module, *arguments) in STEPS.items():
        log = stack.directory / "logs" / f"{name.lower()}.log"
        with stack.progress.step(name) as step, log.open("wb") as output:
            finished = subprocess.run(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONPATH": str(CHECKOUT), **stack.environment(), **processes.environment()},
                cwd=CHECKOUT,
                check=False,
            )
            if finished.returncode != 0:
                raise LocalStackError(f"{name} failed (python -m {module}); log: {log}\n{last_lines(log)}")
            step.result = "applied"
