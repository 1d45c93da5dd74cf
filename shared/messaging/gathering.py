"""Gathers questions that come one by one and answers them together: what has come while the last ones were answered is the next batch.

The same idea as :class:`~shared.messaging.batching.Batcher`, for senders who wait for an answer. No sleeps: a lone question is answered
alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

QuestionT = TypeVar("QuestionT")
AnswerT = TypeVar("AnswerT")


class Gatherer(Generic[QuestionT, AnswerT]):
    """Asks ``work`` for the answers of up to ``limit`` questions at a time, one batch after the other.

    ``work`` answers in the order of its questions. When it fails, everybody of the batch hears of it. Who stops waiting changes nothing for
    the others, nor for what was begun.
    """

    def __init__(self, work: Callable[[Sequence[QuestionT]], Awaitable[Sequence[AnswerT]]], limit: int) -> None:
        self._work = work
        self._limit = limit
        self._waiting: list[tuple[QuestionT, asyncio.Future[AnswerT]]] = []
        self._running: asyncio.Task[None] | None = None

    async def ask(self, question: QuestionT) -> AnswerT:
        """The answer to one question."""
        answer: asyncio.Future[AnswerT] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
            try:
                answers = await self._work([question for question, _ in batch])
            except BaseException as error:
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)
                if not isinstance(error, Exception):
                    raise
            else:
                for (_, answer), said in zip(batch, answers, strict=True):
                    if not answer.done():
                        answer.set_result(said)
