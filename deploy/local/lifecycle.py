"""Bringing a whole stack up and taking it down again: servers, migrations and topology, processes.

with running(stack) as processes:
    ...    # everything that did not run before is stopped at the end, also after an error, Ctrl-C or SIGTERM
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from deploy.local.preparation import prepare
from deploy.local.process_table import PROCESSES
from deploy.local.processes import Processes
from deploy.local.stack import Stack


class Depth(Enum):
    """How much of a stack is wanted; each includes the one before."""

    SERVERS = "servers"
    PREPARED = "prepared"
    PROCESSES = "processes"


@dataclass(frozen=True)
class Before:
    """What ran before a command began: it is left alone when the command takes back what it did."""

    servers: bool = False
    processes: tuple[str, ...] = ()


def bring_up(stack: Stack, depth: Depth = Depth.PROCESSES) -> Before:
    """Starts whatever is missing and returns what ran before.

    Raises LocalStackError when something does not come up; what this call has started is stopped again then, and after Ctrl-C too.
    """
    with stack.in_turn():
        before = Before(servers=stack.is_running, processes=tuple(Processes(stack).running()))
        try:
            stack.start()
            if depth is not Depth.SERVERS:
                prepare(stack)
            if depth is Depth.PROCESSES:
                Processes(stack).start()
        except BaseException:
            _stop(stack, before)
            raise
    return before


def take_down(stack: Stack, before: Before = Before()) -> None:
    """Stops everything that did not run before; by default everything. A further Ctrl-C does not stop it half-way.

    Waits for a command that is bringing the stack up to come to its end: pulling servers from under it would make it fail at random.
    """
    with stack.in_turn():
        _stop(stack, before)


def _stop(stack: Stack, before: Before) -> None:
    with _undisturbed():
        Processes(stack).stop([name for name in PROCESSES if name not in before.processes])
        if not before.servers:
            stack.stop()
            stack.forget_given_servers()


@contextmanager
def running(stack: Stack, depth: Depth = Depth.PROCESSES) -> Iterator[Processes]:
    """The stack for the length of a block: what is missing is started before, and stopped after."""
    before = bring_up(stack, depth)
    try:
        yield Processes(stack)
    finally:
        with _undisturbed():
            take_down(stack, before)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignores Ctrl-C and SIGTERM for the length of a block (signals can be told what to do in the main thread only)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
