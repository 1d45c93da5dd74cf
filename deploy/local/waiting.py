"""Waiting for servers: coroutines from plain code, and polling until something answers."""

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from deploy.local.failure import failed_to_start
from deploy.local.running import find_process

Answer = TypeVar("Answer")


def wait_for(work: Coroutine[Any, Any, Answer]) -> Answer:
    """Runs a coroutine to its end on a thread of its own, so that it works inside a running event loop too."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, work).result()


def nobody_listens(port: int) -> str | None:
    """None when something accepts connections on this loopback port, else why not."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            return None
    except OSError as error:
        return str(error)


def wait_until_answered(question: Callable[[], str | None], *, is_alive: Callable[[], bool], timeout_seconds: float) -> str | None:
    """Asks `question` until it answers None (ready); its answer otherwise says why the server is not ready yet.

    Returns None once ready, or the reason why it will not be: the server ended, or `timeout_seconds` have passed.
    """
    deadline = time.monotonic() + timeout_seconds
    while (reason := question()) is not None:
        if not is_alive():
            return "it ended by itself"
        if time.monotonic() > deadline:
            return f"not ready after {timeout_seconds:.0f} s ({reason})"
        time.sleep(0.05)
    return None


def wait_until_ready(name: str, question: Callable[[], str | None], *, record: Path, log: Path, timeout_seconds: float) -> None:
    """Waits for the process that `record` names to be ready; raises LocalStackError with the end of its log if it will not be."""
    reason = wait_until_answered(question, is_alive=lambda: find_process(record) is not None, timeout_seconds=timeout_seconds)
    if reason is not None:
        raise failed_to_start(name, reason, log)
