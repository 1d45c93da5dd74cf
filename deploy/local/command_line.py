"""The commands of `python -m deploy.local`: up, down, status, run, environment, clean."""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from deploy.local.failure import LocalStackError
from deploy.local.lifecycle import Depth, bring_up, running, take_down
from deploy.local.process_table import PROCESSES
from deploy.local.processes import CHECKOUT, Processes
from deploy.local.progress import Progress
from deploy.local.rabbitmq import hide_connection_attempts
from deploy.local.stack import Stack

DESCRIPTION = """\
A private Postgres and RabbitMQ on free ports of this machine, and Ordermesh's processes on top of them.
DATABASE_URL and AMQP_URL (with RABBITMQ_MANAGEMENT_URL) in the environment name servers to use instead.
"""


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options; each has its own --help."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.local", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    everywhere = argparse.ArgumentParser(add_help=False)
    everywhere.add_argument(
        "--directory",
        type=Path,
        default=Path(os.environ.get("ORDERMESH_LOCAL_DIRECTORY", CHECKOUT / ".local")),
        help="where the stack keeps its files, ports and passwords (default: .local of this checkout)",
    )
    how_far = argparse.ArgumentParser(add_help=False)
    how_far.set_defaults(depth=Depth.PROCESSES)
    choices = how_far.add_mutually_exclusive_group()
    choices.add_argument(
        "--servers-only", dest="depth", action="store_const", const=Depth.SERVERS, help="start Postgres and RabbitMQ and nothing else"
    )
    choices.add_argument(
        "--without-processes",
        dest="depth",
        action="store_const",
        const=Depth.PREPARED,
        help="also apply migrations and topology, but start no process",
    )

    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("up", parents=[everywhere, how_far], help="start the stack and leave it running")
    commands.add_parser("down", parents=[everywhere], help="stop everything of the stack; its data stays")
    commands.add_parser("status", parents=[everywhere], help="show what runs (exit 1 unless everything that was started runs)")
    commands.add_parser("environment", parents=[everywhere], help="print the running stack's addresses as KEY=VALUE lines")
    commands.add_parser("clean", parents=[everywhere], help="stop everything of the stack and delete its files")
    run = commands.add_parser(
        "run",
        parents=[everywhere, how_far],
        help="run a command in the stack's environment, starting what is missing and stopping it after",
    )
    run.add_argument("--attach", action="store_true", help="use the stack that runs; start and stop nothing")
    run.add_argument("--of", choices=sorted(PROCESSES), metavar="PROCESS", help="also with what this process of the stack is told")
    run.add_argument("arguments", nargs=argparse.REMAINDER, metavar="-- COMMAND ...", help="the command to run and its arguments")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status. An error of the stack is one clear line on standard error and exit status 1."""
    options = build_parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _leave)
    hide_connection_attempts()
    commands = {"up": up, "down": down, "status": status, "environment": environment, "clean": clean, "run": run}
    try:
        return commands[options.command](options)
    except LocalStackError as error:
        print(f"ordermesh: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read our output (`| head`) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("ordermesh: interrupted; everything this command started was stopped", file=sys.stderr)
        return 130


def _leave(signal_number: int, _frame: FrameType | None) -> NoReturn:
    """SIGTERM ends a command like Ctrl-C does, so that it stops what it started."""
    raise SystemExit(128 + signal_number)


def _stack_of(options: argparse.Namespace, *, starting: bool = False) -> Stack:
    """The stack in the chosen directory. Servers given by the environment count only for a command that starts the stack.

    Inside `run` the environment names the stack's own servers, which are not servers that somebody else gave.
    """
    if starting and "ORDERMESH_LOCAL_DIRECTORY" not in os.environ:
        stack = Stack(
            options.directory,
            database_url=os.environ.get("DATABASE_URL"),
            amqp_url=os.environ.get("AMQP_URL"),
            management_url=os.environ.get("RABBITMQ_MANAGEMENT_URL"),
            progress=Progress(),
        )
    else:
        stack = Stack(options.directory, progress=Progress())
    return stack


def _running_stack_of(options: argparse.Namespace) -> Stack:
    if not _exists(options) or not (stack := _stack_of(options)).is_running:
        raise LocalStackError(f"no stack runs in {options.directory}; start it with `make up`")
    return stack


def _exists(options: argparse.Namespace) -> bool:
    record: Path = options.directory / "stack.json"
    return record.exists()


def _nothing_in(options: argparse.Namespace) -> str:
    return f"there is no stack in {options.directory}: nothing was ever started there"


def up(options: argparse.Namespace) -> int:
    """Starts the stack, shows where to turn to and leaves it running."""
    stack = _stack_of(options, starting=True)
    bring_up(stack, options.depth)
    for what, where in Processes(stack).addresses():
        stack.progress.say(f"  {what:<34} {where}")
    return 0


def down(options: argparse.Namespace) -> int:
    """Stops everything of the stack, also what a crashed launcher left behind."""
    if _exists(options):
        take_down(_stack_of(options))
        print(f"nothing runs any more; the data stays in {options.directory}")
    else:
        print(_nothing_in(options))
    return 0


def clean(options: argparse.Namespace) -> int:
    """Stops everything of the stack and deletes its files, passwords included."""
    if _exists(options):
        stack = _stack_of(options)
        Processes(stack).stop()
        stack.discard()
    return 0


def status(options: argparse.Namespace) -> int:
    """Prints a line per server and process, and where to turn to while they run."""
    if not _exists(options):
        print(_nothing_in(options))
        return 1
    stack = _stack_of(options)
    processes = Processes(stack)
    for server in (stack.postgres, stack.rabbitmq):
        print(f"{server.name:<24} {server.condition}")
    for name in PROCESSES:
        where = f"  {processes.url(name)}  {processes.log(name)}" if processes.is_running(name) else ""
        print(f"{name:<24} {processes.condition(name)}{where}")
    if processes.running():
        print()
        for what, where in processes.addresses():
            print(f"{what:<34} {where}")
    processes.complain_about_the_dead()
    return 0 if stack.is_running else 1


def environment(options: argparse.Namespace) -> int:
    """Prints the stack's addresses, quoted for a shell."""
    stack = _running_stack_of(options)
    for name, value in {**stack.environment(), **Processes(stack).environment()}.items():
        print(f"{name}={shlex.quote(value)}")
    return 0


def run(options: argparse.Namespace) -> int:
    """Runs a command in the stack's environment; returns the command's exit status."""
    command = options.arguments[1:] if options.arguments[:1] == ["--"] else options.arguments
    if not command:
        raise LocalStackError("run needs a command: python -m deploy.local run -- pytest")
    if not shutil.which(command[0]):
        raise LocalStackError(f"there is no command {command[0]!r}")
    if options.attach:
        return _run_in(_running_stack_of(options), command, options.of)
    stack = _stack_of(options, starting=True)
    with running(stack, options.depth):
        return _run_in(stack, command, options.of)


def _run_in(stack: Stack, command: list[str], process: str | None) -> int:
    processes = Processes(stack)
    own = {} if process is None else processes.environment_of(process)
    variables = {**os.environ, **stack.environment(), **processes.environment(), **own}
    with subprocess.Popen(command, env=variables) as child:
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                continue  # the terminal has told the child as well: it decides when to end
            except SystemExit:
                child.terminate()
