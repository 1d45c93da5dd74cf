"""Which version of the routing rules may be put in force, and what changed between two of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from shared.contracts.routing_rules import RoutingRule, RoutingRulesPublished, RoutingRulesPublishRejected, RoutingRulesPublishRequested


def publish(
    wanted: RoutingRulesPublishRequested, in_force: int, newest: int, now: datetime
) -> RoutingRulesPublished | RoutingRulesPublishRejected:
    """A version that exists, when the operator knew what it replaces.

    Args:
        wanted: the command.
        in_force: the version by which orders are routed now.
        newest: the last version that was saved; all before it exist.
        now: the time.
    """
    heading: dict[str, Any] = {"request_id": wanted.request_id, "version": wanted.version}
    if wanted.version > newest:
        detail = f"version: {wanted.version} was never saved; the newest is {newest}: save the draft first"
        return RoutingRulesPublishRejected.model_validate(heading | {"reason": "unknown_version", "in_force": in_force, "detail": detail})
    if wanted.expected_version != in_force:
        detail = f"expected_version: {wanted.expected_version} was expected, {in_force} is in force: look again and publish again"
        return RoutingRulesPublishRejected.model_validate(heading | {"reason": "stale_expectation", "in_force": in_force, "detail": detail})
    change = "rolled_back" if wanted.version < in_force else "published"
    return RoutingRulesPublished.model_validate(heading | {"replaced_version": in_force, "change": change, "published_at": now})


def in_words(rule: RoutingRule) -> str:
    """A rule as a sentence: for whom, when, what."""
    scope = [f"orders of channel {_either(rule.channels)}" if rule.channels else "orders of every channel"]
    if rule.segments:
        scope.append(f"segment {_either(rule.segments)}")
    whom = ", ".join(scope) + (f", when {rule.when}" if rule.when else "")
    items = f" items with {rule.items}" if rule.items else " all items"
    places = " then ".join(rule.ranking) if rule.ranking else f"locations with {rule.locations}"
    what = {
        "require": f"ship{items} only from {places}",
        "forbid": f"never ship{items} from {places}",
        "prefer": f"prefer {places}",
        "pin": f"ship{items} from {places} while it has them in full",
        "drain": f"take{items} from {places}, as much as each has, then from the nearest",
        "weight": f"count a parcel from {places} {rule.cents} cents dearer",
        "hold": "hold the order until a person lets it go on",
        "split": "ship everything as one parcel" + (" or not at all" if rule.split == "never" else " where one location has it all"),
        "objective": f"choose the {(rule.objective or '').replace('_', '-')} plan",
        "pack": f"tell the packer: {'; '.join(rule.instructions)}",
    }[rule.action]
    only_with = f", if they have{items}" if rule.items and rule.action in ("prefer", "weight", "hold", "split", "objective", "pack") else ""
    return f"For {whom}{only_with}: {what}. Why: {rule.why}."


def _either(names: Sequence[str]) -> str:
    return " or ".join(names)


def differences(old: Sequence[RoutingRule], new: Sequence[RoutingRule]) -> list[dict[str, str]]:
    """What changed from one set to another, rule by rule: ``added``, ``removed``, ``changed``, ``moved``."""
    before = {rule.name: rule for rule in old}
    after = {rule.name: rule for rule in new}
    kept_old = [rule.name for rule in old if rule.name in after]
    kept_new = [rule.name for rule in new if rule.name in before]
    changes = [{"change": "removed", "rule": rule.name, "old": in_words(rule)} for rule in old if rule.name not in after]
    for rule in new:
        if rule.name not in before:
            changes.append({"change": "added", "rule": rule.name, "new": in_words(rule)})
        elif rule != before[rule.name]:
            changes.append({"change": "changed", "rule": rule.name, "old": in_words(before[rule.name]), "new": in_words(rule)})
        elif kept_old.index(rule.name) != kept_new.index(rule.name):
            was, now = kept_old.index(rule.name) + 1, kept_new.index(rule.name) + 1
            changes.append({"change": "moved", "rule": rule.name, "old": f"was number {was}", "new": f"is number {now}"})
    return changes
