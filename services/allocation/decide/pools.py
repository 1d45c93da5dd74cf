"""Channel pools: what one channel may take of what is free (feature A9).

Three rules, alone or together, per SKU and channel:

- **fence**: units set aside for the channel. Its own reserved and held units fill the fence first; nobody else may take the rest. Units
  that ship leave the fence. When less is free than the fences want, the older rule is filled first.
- **share**: the channel may have at most this percentage of the units that are free for all, those that it has open outside its fence
  counted in, rounded down.
- **cap**: the channel may have at most so many units open, that is reserved or held and not shipped.

A rule decides who may take free units. It takes nothing from anybody who has them: a cap below what is open, or a fence wider than what is
free, holds for what comes. Channels without a rule take what no fence protects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID


@dataclass(slots=True)
class ChannelPool:
    """The rule of one SKU and channel, and the units that the channel has open. ``cap`` and ``share_percent`` are null without one."""

    sku: str
    channel: str
    fence: int
    cap: int | None
    share_percent: int | None
    open: int
    seniority: UUID
    rule_version: int

    @property
    def unfilled(self) -> int:
        """Units that the fence still wants from what is free."""
        return max(0, self.fence - self.open)

    @property
    def says_nothing(self) -> bool:
        """Whether the rule limits and protects nothing."""
        return self.fence == 0 and self.cap is None and self.share_percent is None


def fenced_units(channels: Sequence[ChannelPool]) -> int:
    """Units that the fences of one SKU still want."""
    return sum(channel.unfilled for channel in channels)


def takeable_units(free: int, channels: Sequence[ChannelPool], channel: str) -> int:
    """What one channel may take now.

    Args:
        free: units of the SKU that nobody has, safety stock not among them; below zero in a shortage.
        channels: all rules of the SKU, oldest first.
        channel: who asks; it may have no rule.
    """
    left = max(0, free)
    own: ChannelPool | None = None
    own_fence = 0
    for rule in channels:
        filled = min(left, rule.unfilled)
        left -= filled
        if rule.channel == channel:
            own, own_fence = rule, filled
    if own is None:
        return left
    if own.share_percent is not None:
        outside = max(0, own.open - own.fence)
        left = max(0, min(left, own.share_percent * (left + outside) // 100 - outside))
    units = own_fence + left
    return units if own.cap is None else max(0, min(units, own.cap - own.open))


def open_units(channels: Sequence[ChannelPool], channel: str, quantity: int) -> None:
    """A channel reserved or held units, or gave them back when negative."""
    for rule in channels:
        if rule.channel == channel:
            rule.open += quantity


def ship_units(channels: Sequence[ChannelPool], channel: str, quantity: int) -> None:
    """Units of a channel left the building: they leave its fence, so that nobody may take more or less because of it."""
    for rule in channels:
        if rule.channel == channel:
            rule.open -= quantity
            rule.fence = max(0, rule.fence - quantity)


@dataclass(slots=True)
class SharedPool:
    """The free units of one SKU, as a batch of orders or holds takes them.

    Args:
        free: units that nobody has, safety stock not among them.
        queued: units that wait. Where nobody has a rule they would be served first, so what they wait for is not free. Where channels have
            rules, whoever waits may not take what is free; else it would be theirs already.
        version: of the pool's row.
        channels: all rules of the SKU, oldest first.
    """

    free: int
    queued: int
    version: int
    channels: list[ChannelPool]
    free_was: int = field(init=False)
    queued_was: int = field(init=False)
    channels_were: list[ChannelPool] = field(init=False)

    def __post_init__(self) -> None:
        self.free_was = self.free
        self.queued_was = self.queued
        self.channels_were = [replace(rule) for rule in self.channels]

    def takeable(self, channel: str) -> int:
        """What the channel may take now."""
        if self.channels:
            return takeable_units(self.free, self.channels, channel)
        return max(0, self.free - self.queued)

    def take(self, channel: str, quantity: int) -> None:
        """Units go to the channel, or come back when negative."""
        self.free -= quantity
        open_units(self.channels, channel, quantity)

    @property
    def changed(self) -> bool:
        """Whether somebody took units, or gave some back."""
        return self.free != self.free_was

    @property
    def fenced_change(self) -> int:
        """How many units more the fences want than before."""
        return fenced_units(self.channels) - fenced_units(self.channels_were)
