"""How well or badly a simulated channel answers. Chance is seeded: the same calls in the same order meet the same fate."""

from __future__ import annotations

from random import Random
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Call = Literal["stock", "refunds", "fulfillments"]


class Behaviour(BaseModel):
    """What an admin can set; what is left out goes back to its default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    latency_seconds: Annotated[float, Field(ge=0, le=600)] = 0.0
    """Wait before anything is done."""
    error_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of calls that are answered with ``status`` and have no effect."""
    status: Annotated[int, Field(ge=400, le=599)] = 500
    retry_after_seconds: Annotated[float, Field(ge=0, le=3_600)] = 1.0
    """Stands in the Retry-After header of a 429 or 503."""
    timeout_after_success_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of calls that take effect and are not answered until ``hold_seconds`` later, when the connection is cut."""
    hold_seconds: Annotated[float, Field(ge=0, le=600)] = 30.0
    calls: frozenset[Call] = frozenset(("stock", "refunds", "fulfillments"))
    """Which calls behave like this; the others are answered well and at once."""
    first_calls: Annotated[int, Field(ge=1)] | None = None
    """How many of them; after that the channel is well again. Without it they all do."""


class Fate:
    """Draws what happens to one call after the other."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self.behaviour = Behaviour()
        self.reset()

    def reset(self) -> None:
        """As it was at the start."""
        self.behaviour = Behaviour()
        self._random = Random(self._seed)
        self._drawn = 0

    def behave(self, behaviour: Behaviour) -> None:
        """From the next call on."""
        self.behaviour = behaviour
        self._drawn = 0

    def draw(self, call: Call) -> tuple[Behaviour, bool, bool]:
        """The behaviour that holds for a call, whether it fails, and whether its answer is lost."""
        if call not in self.behaviour.calls:
            return Behaviour(), False, False
        self._drawn += 1
        if self.behaviour.first_calls is not None and self._drawn > self.behaviour.first_calls:
            return Behaviour(), False, False
        fails = self._random.random() < self.behaviour.error_rate
        loses_answer = self._random.random() < self.behaviour.timeout_after_success_rate
        return self.behaviour, fails, loses_answer
