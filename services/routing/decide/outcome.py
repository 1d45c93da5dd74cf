"""What a rule makes of an order: the order as it then is, what is to be said, or why the message can not be handled (now)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.routing.decide.order import Order
from shared.contracts.base import Message


@dataclass(frozen=True, slots=True)
class Say:
    """A message to publish, and the partner it goes to, if it goes to one."""

    data: Message
    partner: str | None = None


@dataclass(frozen=True, slots=True)
class Park:
    """The message can never be handled as it is; a person must look."""

    reason: str


@dataclass(frozen=True, slots=True)
class Defer:
    """The message came before what it builds on."""

    reason: str


@dataclass(frozen=True)
class Outcome:
    """What a rule made of an order. A message that is parked or deferred changes nothing."""

    order: Order
    says: tuple[Say, ...] = ()
    problem: Park | Defer | None = None

    def then(self, rule: Callable[[Order], Outcome]) -> Outcome:
        """This outcome, carried on by another rule."""
        if self.problem is not None:
            return self
        following = rule(self.order)
        return Outcome(following.order, self.says + following.says, following.problem)
