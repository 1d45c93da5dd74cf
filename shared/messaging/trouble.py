"""The ways in which aio-pika and aiormq tell that the broker is lost, said in one way; why a task that should run for ever has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from aio_pika.exceptions import AMQPError

BROKER_TROUBLE = (AMQPError, OSError, TimeoutError)
"""What a call to the broker raises when the broker is away, refuses or is silent, inside :func:`losses_named`."""


@contextmanager
def losses_named() -> Iterator[None]:
    """Says every loss of a connection as ConnectionError.

    A channel that is opened on a connection which has just died raises RuntimeError, and a channel that dies cancels whoever waits for it
    although nobody wants the task to end: the first would look like a mistake of ours, the second would end a worker in silence.
    """
    try:
        yield
    except RuntimeError as error:
        raise ConnectionError(str(error)) from error
    except asyncio.CancelledError as error:
        if is_being_cancelled():
            raise
        raise ConnectionError("the connection was lost") from error


def is_being_cancelled() -> bool:
    """Whether somebody wants this task to end. A dying channel raises CancelledError too, and then nobody does."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def first_ended(tasks: Iterable[asyncio.Task[None]]) -> BaseException | None:
    """Why the first of these tasks, all of which should run for ever, has ended; None while all run."""
    for task in tasks:
        if task.done():
            failure = asyncio.CancelledError() if task.cancelled() else task.exception()
            return failure or RuntimeError(f"{task.get_name()} has ended")
    return None
