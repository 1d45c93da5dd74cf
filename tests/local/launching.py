"""Commands of the local stack as a shell would run them."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

OF_A_SURROUNDING_STACK = frozenset({"ORDERMESH_LOCAL_DIRECTORY", "AMQP_URL", "DATABASE_URL", "RABBITMQ_MANAGEMENT_URL"})


def own_environment(**given: str) -> dict[str, str]:
    """This process's environment without what a surrounding stack put into it."""
    return {**{name: value for name, value in os.environ.items() if name not in OF_A_SURROUNDING_STACK}, **given}


def command(*arguments: str) -> list[str]:
    """The command line of one command of the local stack."""
    return [sys.executable, "-m", "deploy.local", *arguments]


@dataclass(frozen=True)
class Launcher:
    """`deploy.local run` under way: its process, its stack's directory, and a file that its command makes once it runs."""

    process: subprocess.Popen[bytes]
    directory: Path
    marker: Path
