"""Channel pools: what one channel may take of what is free, and what it takes of what comes (feature A9).

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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

NO_RULE = ""
"""Stands for all channels without a rule of their own."""


@dataclass(slots=True)
class ChannelPool:
    """The rule of one SKU and channel, and the units that the channel has open and that wait for it. ``cap`` and ``share_percent`` are null
    without one."""

    sku: str
    channel: str
    fence: int
    cap: int | None
    share_percent: int | None
    open: int
    queued: int
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

    def within_cap(self, units: int) -> int:
        """How many of some units the channel may still open."""
        return units if self.cap is None else max(0, min(units, self.cap - self.open))

    def share_of(self, common: int, more_open: int = 0) -> int:
        """How many of some units that are free for all the channel may take, ``more_open`` units being open beside those that are."""
        if self.share_percent is None:
            return common
        outside = max(0, self.open + more_open - self.fence)
        return max(0, min(common, self.share_percent * (common + outside) // 100 - outside))

    def wish(self, waiting: int) -> int:
        """How many of some waiting units of the channel need units that no fence protects: not those for which its own fence is there, nor
        those beyond its cap."""
        return max(0, self.within_cap(waiting) - self.unfilled)


def fenced_units(channels: Sequence[ChannelPool]) -> int:
    """Units that the fences of one SKU still want."""
    return sum(channel.unfilled for channel in channels)


def rule_of(channels: Sequence[ChannelPool], channel: str) -> ChannelPool | None:
    """The rule of a channel, if it has one."""
    return next((rule for rule in channels if rule.channel == channel), None)


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
    return left if own is None else own.within_cap(own_fence + own.share_of(left))


def waiting_units(queued: int, channels: Sequence[ChannelPool]) -> dict[str, int]:
    """Units that wait, by channel; those of channels without a rule together."""
    waiting = {rule.channel: rule.queued for rule in channels}
    return {**waiting, NO_RULE: queued - sum(waiting.values())}


def common_wish(channels: Sequence[ChannelPool], waiting: Mapping[str, int]) -> int:
    """Waiting units that need units that no fence protects.

    Args:
        channels: all rules of the SKU, oldest first.
        waiting: units that wait, by channel; channels without a rule may stand by their own names or together.
    """
    rules = {rule.channel: rule for rule in channels}
    return sum(rules[channel].wish(units) if channel in rules else units for channel, units in waiting.items())


def units_to_come(free: int, channels: Sequence[ChannelPool], ahead: Mapping[str, int], channel: str) -> int | None:
    """How many units must come in until one channel has the last of its waiting units, if nobody gets others meanwhile.

    What comes fills the fences first, the oldest before the others; what no fence protects goes to the queue in its order, and whoever is
    at his cap lets the next one pass. So all that matters is how many units each channel waits for up to the place in question.

    Args:
        free: units of the SKU that nobody has; below zero in a shortage.
        channels: all rules of the SKU, oldest first.
        ahead: waiting units up to and including the place, by channel.
        channel: whose place it is; it may have no rule.

    Returns:
        None when no number of units that come is enough to say so: the channel would be beyond its cap, which only its own parcels and
        cancellations change, or it has a share, and what it gets of that depends on what others take.
    """
    own = rule_of(channels, channel)
    if own is not None:
        units = ahead[channel]
        if units > own.within_cap(units):
            return None
        if units <= own.unfilled:
            return fenced_units(channels[: channels.index(own)]) + units - free
        if own.share_percent is not None:
            return None
    return fenced_units(channels) + common_wish(channels, ahead) - free


def units_for_sale(total: int, channels: Sequence[ChannelPool], waiting: Mapping[str, int], channel: str) -> int:
    """What one channel may still sell of units that are there or on their way, once everybody who waits has got his of them.

    Args:
        total: units that nobody has, and units that are expected.
        channels: all rules of the SKU, oldest first.
        waiting: units that wait, by channel.
        channel: who asks; it may have no rule.
    """
    common = max(0, total - fenced_units(channels) - common_wish(channels, waiting))
    own = rule_of(channels, channel)
    if own is None:
        return common
    fenced = min(own.unfilled, total - fenced_units(channels[: channels.index(own)]))
    units = max(0, fenced - own.queued) + own.share_of(common, own.queued)
    return own.within_cap(own.queued + units) - own.within_cap(own.queued)


def open_units(channels: Sequence[ChannelPool], channel: str, quantity: int) -> None:
    """A channel reserved or held units, or gave them back when negative."""
    for rule in channels:
        if rule.channel == channel:
            rule.open += quantity


def queue_units(channels: Sequence[ChannelPool], channel: str, quantity: int) -> None:
    """Units of a channel began to wait, or wait no more when negative."""
    for rule in channels:
        if rule.channel == channel:
            rule.queued += quantity


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
        held_back: whether everybody waits for the release of a preorder, so that nobody may take anything.
    """

    free: int
    queued: int
    version: int
    channels: list[ChannelPool]
    held_back: bool = False
    free_was: int = field(init=False)
    queued_was: int = field(init=False)
    channels_were: list[ChannelPool] = field(init=False)

    def __post_init__(self) -> None:
        self.free_was = self.free
        self.queued_was = self.queued
        self.channels_were = [replace(rule) for rule in self.channels]

    def takeable(self, channel: str) -> int:
        """What the channel may take now."""
        if self.held_back:
            return 0
        if self.channels:
            return takeable_units(self.free, self.channels, channel)
        return max(0, self.free - self.queued)

    def take(self, channel: str, quantity: int) -> None:
        """Units go to the channel, or come back when negative."""
        self.free -= quantity
        open_units(self.channels, channel, quantity)

    def wait(self, channel: str, quantity: int) -> None:
        """Units of the channel begin to wait."""
        self.queued += quantity
        queue_units(self.channels, channel, quantity)

    @property
    def changed(self) -> bool:
        """Whether somebody took units, or gave some back."""
        return self.free != self.free_was

    @property
    def fenced_change(self) -> int:
        """How many units more the fences want than before."""
        return fenced_units(self.channels) - fenced_units(self.channels_were)
