"""Bugs planted in allocation's rules and statements, each of which the state machine must catch. ``python -m tests.allocation`` runs them.

A bug is a change of the source text, made while the module is imported: the files stay as they are, and the rest of the process keeps the
service that it has.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

import services
from tests.allocation.ground import Loaded, Stage
from tests.allocation.machine import Caught, play

PACKAGE = "services.allocation"


@dataclass(frozen=True)
class Mutation:
    """A planted bug: what it does to the business, where it stands, and the text that becomes another. ``seed`` finds it soon."""

    name: str
    module: str
    before: str
    after: str
    seed: int = 1

    def applied_to(self, source: str) -> str:
        """The source with the bug in it."""
        times = source.count(self.before)
        assert times == 1, f"{self.name}: the text to change stands {times} times in {self.module}: adapt tests/allocation/mutations.py"
        return source.replace(self.before, self.after)


class _Mutated(SourceFileLoader):
    """Loads a module with a bug; nothing of it is kept on disk."""

    def __init__(self, name: str, path: str, mutation: Mutation) -> None:
        super().__init__(name, path)
        self._mutation = mutation

    def get_code(self, fullname: str) -> CodeType:
        source = self.get_data(self.path).decode()
        code: CodeType = compile(self._mutation.applied_to(source), self.path, "exec", dont_inherit=True)
        return code


class _Finder(MetaPathFinder):
    def __init__(self, mutation: Mutation) -> None:
        self._mutation = mutation

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != f"{PACKAGE}.{self._mutation.module}":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        assert spec is not None
        assert spec.origin is not None
        spec.loader = _Mutated(fullname, spec.origin, self._mutation)
        return spec


def load(mutation: Mutation | None = None) -> Loaded:
    """The service, freshly imported, as it is or with a bug. What was imported before stays what it was for everybody else."""
    usual = _taken_out()
    finder = [_Finder(mutation)] if mutation else []
    sys.meta_path[:0] = finder
    try:
        contents = import_module(f"{PACKAGE}.__main__")
        return Loaded(contents.SERVICE, _own_modules())
    finally:
        for each in finder:
            sys.meta_path.remove(each)
        _taken_out()
        sys.modules.update(usual)
        if PACKAGE in usual:
            services.allocation = usual[PACKAGE]  # type: ignore[attr-defined]  # a package's submodules are its attributes


def _own_modules() -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name == PACKAGE or name.startswith(f"{PACKAGE}.")}


def _taken_out() -> dict[str, ModuleType]:
    return {name: sys.modules.pop(name) for name in _own_modules()}


def is_caught(stage: Stage, mutation: Mutation, *, examples: int, steps: int) -> str | None:
    """How the state machine tells that something is wrong with a bug; None when it does not."""
    try:
        play(stage.ground(load(mutation)), examples=examples, steps=steps, random_seed=mutation.seed, ends_at_once=True)
    except Caught as caught:
        return str(caught).split("\n", 1)[0]
    return None


MUTATIONS = (
    Mutation(
        "a new order overtakes the queue while a long restock is shared out",
        "decide.placing",
        "sku: 0 if sku in held_back else max(0, units + unheld.get(sku, 0) - kept.get(sku, 0) - queued[sku])",
        "sku: 0 if sku in held_back else max(0, units + unheld.get(sku, 0) - kept.get(sku, 0))",
    ),
    Mutation(
        "a preorder that is on the shelf is sold before its release",
        "decide.placing",
        "sku: 0 if sku in held_back else max(0, units + unheld.get(sku, 0) - kept.get(sku, 0) - queued[sku])",
        "sku: max(0, units + unheld.get(sku, 0) - kept.get(sku, 0) - queued[sku])",
    ),
    Mutation(
        "a plan may tie one unit more than a location has",
        "decide.assigning",
        "if assignable < quantity:",
        "if assignable + 1 < quantity:",
    ),
    Mutation(
        "a parcel that took another fulfillment's units unties one unit too many",
        "decide.assigning",
        "taken = min(missing - loose, other.open)",
        "taken = min(missing - loose + 1, other.open)",
    ),
    Mutation(
        "a cancellation keeps reserved units that it does not list",
        "decide.changing",
        "unassigned = sum(row.queued + row.unassigned for row in books.line(*key))",
        "unassigned = sum(row.queued for row in books.line(*key))",
    ),
    Mutation(
        "an edit takes the oldest waiting units of a line back first",
        "decide.changing",
        "    for row in reversed(rows):\n        taken = min(left, row.queued)",
        "    for row in rows:\n        taken = min(left, row.queued)",
    ),
    Mutation(
        "an older edit that comes late undoes a newer one",
        "decide.changing",
        "stale = event.order_version <= order.order_version",
        "stale = False",
    ),
    Mutation(
        "a message that a count shows is booked once more",
        "decide.stock",
        "return cause.sequence <= self.counted_watermark",
        "return cause.sequence < self.counted_watermark",
    ),
    Mutation(
        "units that a count has missed already are written off when the picker misses them too",
        "decide.stock",
        "return max(0, self.missed - max(0, self.counted_short))",
        "return max(0, self.missed)",
    ),
    Mutation(
        "a count forgets what moved after it",
        "decide.counting",
        "moved_on = counted + since.on_shelf",
        "moved_on = counted",
    ),
    Mutation(
        "an operator's count takes damaged units for sellable ones",
        "decide.counting",
        "sellable = new_on_hand - shelf.damaged - shelf.quality_control",
        "sellable = new_on_hand - shelf.quality_control",
    ),
    Mutation(
        "nobody yields: an incomplete order keeps what a higher rank waits for",
        "decide.yielding",
        "holding[-1].rank > claimant.rank",
        "holding[-1].rank > (9, claimant.order_id)",
    ),
    Mutation(
        "a shortage takes the oldest reservation first",
        "decide.shortage",
        "return sorted(demand, key=key, reverse=True)",
        "return sorted(demand, key=key)",
    ),
    Mutation(
        "a receipt is not taken off what its supply has still to bring",
        "decide.supply",
        "return max(0, self.quantity - self.called_off - self.received)",
        "return max(0, self.quantity - self.called_off)",
    ),
    Mutation(
        "an older date of a supply that comes late undoes a newer one",
        "decide.supply",
        "if supply.said_at is not None and said_at < supply.said_at:",
        "if supply.said_at is not None and said_at < supply.said_at and supply.cancelled:",
    ),
    Mutation(
        "more of a preorder is offered than is on its way and not spoken for",
        "decide.promising",
        "left = max(0, available + sum(supply.quantity for supply in supplies) - queued)",
        "left = max(0, available + sum(supply.quantity for supply in supplies))",
    ),
    Mutation(
        "a kit is offered as often as its most plentiful component allows",
        "decide.kits",
        "available = min((component.kits for component in components), default=0)",
        "available = max((component.kits for component in components), default=0)",
    ),
    Mutation(
        "new orders do not wait for each other at the pool",
        "queries.placing",
        "ORDER BY sku FOR NO KEY UPDATE",
        "ORDER BY sku",
    ),
    Mutation(
        "changes do not wait for each other at the pool",
        "queries.books",
        "        ORDER BY sku FOR NO KEY UPDATE",
        "        ORDER BY sku",
    ),
    Mutation(
        "the head of the queue is who came first, whatever the class",
        "queries.queue",
        "ORDER BY demand.priority, demand.demand_id LIMIT LEAST(free.units, $4::int)",
        "ORDER BY demand.demand_id LIMIT LEAST(free.units, $4::int)",
    ),
    Mutation(
        "the shortage policy is looked at in the rules and not in the statement that finds who loses",
        "queries.queue",
        "WHEN 'lowest_priority_first' THEN demand.priority",
        "WHEN 'lowest_priority_first' THEN 0",
    ),
    Mutation(
        "a count is netted with movements by time even where they are numbered",
        "queries.feeds",
        "AND CASE WHEN entry.sequence IS NULL THEN entry.happened_at > asked.as_of ELSE entry.sequence > asked.watermark END",
        "AND entry.happened_at > asked.as_of",
    ),
    Mutation(
        "returns that came after a count are lost with it",
        "queries.feeds",
        "WHERE entry.kind IN ('received', 'adjusted', 'returned', 'shipped')), 0)::int AS on_shelf",
        "WHERE entry.kind IN ('received', 'adjusted', 'shipped')), 0)::int AS on_shelf",
    ),
    Mutation(
        "a call-off that is told twice is booked twice",
        "queries.fulfillments",
        "FROM fulfillment_cancellations WHERE fulfillment_id = ANY($1::uuid[])",
        "FROM fulfillment_cancellations WHERE fulfillment_id = ANY($1::uuid[]) AND false",
    ),
    Mutation(
        "dates forget that the shelf serves first",
        "queries.promises",
        "sum(queued) OVER (PARTITION BY sku ORDER BY priority, demand_id) - available AS units",
        "sum(queued) OVER (PARTITION BY sku ORDER BY priority, demand_id) AS units",
    ),
    Mutation(
        "goods that have come are still promised",
        "queries.supplies",
        "SELECT line.sku, supply.ships_at, line.quantity - line.called_off - line.received AS quantity",
        "SELECT line.sku, supply.ships_at, line.quantity - line.called_off AS quantity",
    ),
    Mutation(
        "a preorder whose goods are there is not released when its date comes",
        "queries.preorders",
        "WHERE release_at <= $1 AND available + fenced > 0",
        "WHERE release_at <= $1 AND available + fenced > 1000",
    ),
    Mutation(
        "an older registration that comes late closes a location again",
        "queries.registering",
        "WHERE locations.registered_at < excluded.registered_at",
        "WHERE true",
    ),
    Mutation(
        "a gap of a feed is closed too far",
        "queries.gaps",
        "min(sequence) AS first, max(sequence) AS last",
        "min(sequence) AS first, max(sequence) + 1 AS last",
    ),
    Mutation(
        "an order takes more from a hold than it holds",
        "decide.holds",
        "return {sku: min(held, asked.get(sku, 0)) for sku, held in hold.held.items()}",
        "return {sku: asked.get(sku, 0) for sku in hold.held}",
    ),
    Mutation(
        "the oldest hold gives way first",
        "decide.holds",
        "            reverse=True,\n",
        "            reverse=False,\n",
    ),
    Mutation(
        "a hold of all or nothing is held in part",
        "decide.holds",
        "(request.policy == \"all_or_nothing\" and free != asked) or not any(free.values())",
        "not any(free.values())",
    ),
    Mutation(
        "a channel takes what another one has fenced",
        "decide.pools",
        "        left -= filled\n",
        "        left -= filled if rule.channel == channel else 0\n",
    ),
    Mutation(
        "a cap counts only what comes and not what is open",
        "decide.pools",
        "return units if self.cap is None else max(0, min(units, self.cap - self.open))",
        "return units if self.cap is None else max(0, min(units, self.cap))",
    ),
    Mutation(
        "a parcel leaves the fence as wide as it was",
        "decide.pools",
        "            rule.fence = max(0, rule.fence - quantity)\n",
        "            rule.fence = max(0, rule.fence)\n",
    ),
    Mutation(
        "safety stock of a location is kept back even where nothing lies",
        "decide.stock",
        "return min(self.safety, max(0, self.on_shelf)) if self.counts else 0",
        "return self.safety if self.counts else 0",
    ),
    Mutation(
        "what holds hold is for sale",
        "queries.pools",
        "SET held = pool.held + change.held,",
        "SET held = pool.held,",
    ),
    Mutation(
        "a hold lasts for ever",
        "queries.holds",
        "WHERE state = 'held' AND expires_at <= $1 ORDER BY",
        "WHERE state = 'held' AND expires_at <= $1 - interval '1 year' ORDER BY",
    ),
)
"""Each in another rule or statement. Whoever changes one of those lines adapts the text here."""

EXAMPLES, STEPS = 60, 30
"""How many stories of how many steps are looked at before a bug counts as missed."""
