"""Bugs planted in allocation's rules and statements, each of which the state machine must catch. ``python -m tests.allocation`` runs them.

A bug replaces an expression of a function in ``decide``, or a piece of the SQL of a function in ``queries``, while the module is
imported: the files stay as they are, and the rest of the process keeps the service that it has. How the code is laid out makes no
difference, but what is to be replaced must be there: a bug that can not be planted any more is an error, not a bug that nobody caught.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

import services
from tests.allocation.ground import Loaded, Stage
from tests.allocation.machine import Caught, play

PACKAGE = "services.allocation"


class CannotPlant(Exception):
    """What a planted bug replaces is not there: the code has changed, and the bug has to be written anew."""


@dataclass(frozen=True)
class Mutation:
    """A planted bug: what it does to the business, in which function, and what becomes what, so many times.

    In ``decide`` both are Python expressions, in ``queries`` pieces of SQL. ``about`` is the theme of the stories in which it shows, and
    ``seed`` begins with those that find it soon. ``soon`` are the few that every run of the suite plants.
    """

    name: str
    function: str
    before: str
    after: str
    about: str | None = None
    seed: int = 1
    times: int = 1
    soon: bool = False

    @property
    def module(self) -> str:
        return self.function.split(":")[0]

    def applied_to(self, source: str) -> ast.Module:
        """The module with the bug in it.

        Raises:
            CannotPlant: the function does not hold what is to be replaced, or holds it more often than is said.
        """
        tree = ast.parse(source)
        inside: list[ast.AST] = [tree]
        for name in self.function.split(":")[1].split("."):
            inside = [each for outer in inside for each in ast.iter_child_nodes(outer) if getattr(each, "name", None) == name]
        plant = _InSql(self.before, self.after) if self.module.startswith("queries.") else _InRules(self.before, self.after)
        for function in inside:
            plant.visit(function)
        if plant.found != self.times:
            raise CannotPlant(f"{self.name}: {self.function} holds {plant.found} times, not {self.times}: {self.before}")
        return ast.fix_missing_locations(tree)


class _InRules(ast.NodeTransformer):
    """Replaces an expression by another."""

    def __init__(self, before: str, after: str) -> None:
        self._before = ast.dump(ast.parse(before, mode="eval").body)
        self._after = after
        self.found = 0

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.expr) and ast.dump(node) == self._before:
            self.found += 1
            return ast.copy_location(ast.parse(self._after, mode="eval").body, node)
        return self.generic_visit(node)


class _InSql(ast.NodeTransformer):
    """Replaces a piece of a statement by another, wherever its lines break."""

    def __init__(self, before: str, after: str) -> None:
        self._before = re.compile(r"\s+".join(re.escape(word) for word in before.split()))
        self._after = after
        self.found = 0

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, str):
            changed, times = self._before.subn(lambda _: self._after, node.value)
            self.found += times
            return ast.copy_location(ast.Constant(changed), node)
        return node


class _Mutated(SourceFileLoader):
    """Loads a module with a bug; nothing of it is kept on disk."""

    def __init__(self, name: str, path: str, mutation: Mutation) -> None:
        super().__init__(name, path)
        self._mutation = mutation

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._mutation.applied_to(self.get_data(self.path).decode()), self.path, "exec", dont_inherit=True)


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


@dataclass(frozen=True)
class Outcome:
    """How many stories and steps were played with a bug, and how the state machine told that something is wrong: None when it did not."""

    sign: str | None
    stories: int
    steps: int


def try_out(stage: Stage, mutation: Mutation, *, examples: int, steps: int) -> Outcome:
    """Plays with a bug until the state machine catches it, or so many stories are told."""
    ground = stage.ground(load(mutation))
    sign = None
    try:
        play(ground, examples=examples, steps=steps, random_seed=mutation.seed, ends_at_once=True, only_about=mutation.about)
    except Caught as caught:
        sign = str(caught).split("\n", 1)[0]
    return Outcome(sign, ground.done["stories"], ground.done["steps"])


def check_all_can_be_planted() -> None:
    """Plants every bug, on paper.

    Raises:
        CannotPlant: the code that one of them changes is not there any more.
    """
    for mutation in MUTATIONS:
        path = Path(services.__path__[0], "allocation", *mutation.module.split(".")).with_suffix(".py")
        mutation.applied_to(path.read_text())


MUTATIONS = (
    Mutation(
        "a new order overtakes the queue while a long restock is shared out",
        "decide.placing:place_orders",
        "units + unheld.get(sku, 0) - kept.get(sku, 0) - queued[sku]",
        "units + unheld.get(sku, 0) - kept.get(sku, 0)",
        about="restocks",
    ),
    Mutation(
        "a preorder that is on the shelf is sold before its release",
        "decide.placing:place_orders",
        "sku in held_back",
        "False",
        about="supply",
    ),
    Mutation(
        "a plan may tie one unit more than a location has",
        "decide.assigning:_judge",
        "assignable < quantity",
        "assignable + 1 < quantity",
        about="orders",
    ),
    Mutation(
        "a cancellation keeps reserved units that it does not list",
        "decide.changing:cancel_order",
        "row.queued + row.unassigned",
        "row.queued",
        about="orders",
    ),
    Mutation(
        "an edit takes the oldest waiting units of a line back first",
        "decide.changing:_take_back",
        "reversed(rows)",
        "rows",
        times=2,
        about="orders",
    ),
    Mutation(
        "an older edit that comes late undoes a newer one",
        "decide.changing:edit_order",
        "event.order_version <= order.order_version",
        "False",
        about="orders",
    ),
    Mutation(
        "a count forgets what moved after it",
        "decide.counting:apply_count",
        "counted + since.on_shelf",
        "counted",
        about="shelves",
    ),
    Mutation(
        "an operator's count takes damaged units for sellable ones",
        "decide.counting:set_on_hand",
        "new_on_hand - shelf.damaged - shelf.quality_control",
        "new_on_hand - shelf.quality_control",
        about="shelves",
    ),
    Mutation(
        "nobody yields: an incomplete order keeps what a higher rank waits for",
        "decide.yielding:yield_units",
        "holding[-1].rank > claimant.rank",
        "holding[-1].rank > (9, claimant.order_id)",
        about="orders",
        seed=2,
    ),
    Mutation(
        "a shortage takes the oldest reservation first",
        "decide.shortage:first_to_lose",
        "sorted(demand, key=key, reverse=True)",
        "sorted(demand, key=key)",
        about="shortage",
    ),
    Mutation(
        "a receipt is not taken off what its supply has still to bring",
        "decide.supply:ExpectedLine.expected",
        "self.quantity - self.called_off - self.received",
        "self.quantity - self.called_off",
        about="supply",
        soon=True,
    ),
    Mutation(
        "an older date of a supply that comes late undoes a newer one",
        "decide.supply:reschedule",
        "supply.said_at is not None and said_at < supply.said_at",
        "False",
        about="supply",
        seed=2,
    ),
    Mutation(
        "more of a preorder is offered than is on its way and not spoken for",
        "decide.promising:sellable_of",
        "available + sum(supply.quantity for supply in supplies) - queued",
        "available + sum(supply.quantity for supply in supplies)",
        about="supply",
    ),
    Mutation(
        "a kit is offered as often as its most plentiful component allows",
        "decide.kits:sellable_kit",
        "min((component.kits for component in components), default=0)",
        "max((component.kits for component in components), default=0)",
        about="orders",
        soon=True,
    ),
    Mutation(
        "new orders do not wait for each other at the pool",
        "queries.placing:lock_pools_for_orders",
        "ORDER BY sku FOR NO KEY UPDATE",
        "ORDER BY sku",
        about="orders",
    ),
    Mutation(
        "changes do not wait for each other at the pool",
        "queries.books:lock_pools",
        "ORDER BY sku FOR NO KEY UPDATE",
        "ORDER BY sku",
        about="shortage",
    ),
    Mutation(
        "the head of the queue is who came first, whatever the class",
        "queries.queue:read_queue_heads",
        "ORDER BY demand.priority, demand.demand_id LIMIT LEAST(free.units, $4::int)",
        "ORDER BY demand.demand_id LIMIT LEAST(free.units, $4::int)",
        about="orders",
    ),
    Mutation(
        "the shortage policy is looked at in the rules and not in the statement that finds who loses",
        "queries.queue:read_first_to_lose",
        "WHEN 'lowest_priority_first' THEN demand.priority",
        "WHEN 'lowest_priority_first' THEN 0",
        about="shortage",
    ),
    Mutation(
        "a count is netted with movements by time even where they are numbered",
        "queries.feeds:read_moved_since",
        "AND CASE WHEN entry.sequence IS NULL THEN entry.happened_at > asked.as_of ELSE entry.sequence > asked.watermark END",
        "AND entry.happened_at > asked.as_of",
        about="shelves",
    ),
    Mutation(
        "a call-off that is told twice is booked twice",
        "queries.fulfillments:read_cancellations",
        "FROM fulfillment_cancellations WHERE fulfillment_id = ANY($1::uuid[])",
        "FROM fulfillment_cancellations WHERE fulfillment_id = ANY($1::uuid[]) AND false",
        about="shelves",
    ),
    Mutation(
        "dates forget that the shelf serves first",
        "queries.promises:move_promises",
        "sum(queued) OVER (PARTITION BY sku ORDER BY priority, demand_id) - available AS units",
        "sum(queued) OVER (PARTITION BY sku ORDER BY priority, demand_id) AS units",
        about="supply",
    ),
    Mutation(
        "goods that have come are still promised",
        "queries.supplies:read_open_supplies",
        "line.quantity - line.called_off - line.received AS expected",
        "line.quantity - line.called_off AS expected",
        about="supply",
        soon=True,
    ),
    Mutation(
        "a preorder whose goods are there is not released when its date comes",
        "queries.preorders:find_due_preorders",
        "WHERE release_at <= $1 AND available + fenced > 0",
        "WHERE release_at <= $1 AND available + fenced > 1000",
        about="supply",
        seed=2,
    ),
    Mutation(
        "a gap of a feed is closed too far",
        "queries.gaps:read_arrived",
        "min(sequence) AS first, max(sequence) AS last",
        "min(sequence) AS first, max(sequence) + 1 AS last",
        about="shelves",
    ),
    Mutation(
        "an order takes more from a hold than it holds",
        "decide.holds:used_units",
        "min(held, asked.get(sku, 0))",
        "asked.get(sku, 0)",
        about="keeping",
    ),
    Mutation(
        "the oldest hold gives way first",
        "decide.holds:shrink_holds",
        "(units.opened_at, units.hold_id)",
        "(-units.opened_at.timestamp(), -units.hold_id.int)",
        about="shortage",
    ),
    Mutation(
        "a hold of all or nothing is held in part",
        "decide.holds:grant",
        'request.policy == "all_or_nothing" and free != asked',
        "False",
        about="keeping",
    ),
    Mutation(
        "a channel takes what another one has fenced",
        "decide.pools:takeable_units",
        "min(left, rule.unfilled)",
        "min(left, rule.unfilled) if rule.channel == channel else 0",
        about="keeping",
    ),
    Mutation(
        "a cap counts only what comes and not what is open",
        "decide.pools:ChannelPool.within_cap",
        "self.cap - self.open",
        "self.cap",
        about="keeping",
    ),
    Mutation(
        "safety stock of a location is kept back even where nothing lies",
        "decide.stock:Shelf.withheld",
        "min(self.safety, max(0, self.on_shelf))",
        "self.safety",
        about="keeping",
    ),
    Mutation(
        "what holds hold is for sale",
        "queries.pools:update_pool_keepings",
        "SET held = pool.held + change.held,",
        "SET held = pool.held,",
        about="keeping",
    ),
    Mutation(
        "a hold lasts for ever",
        "queries.holds:claim_expired_holds",
        "WHERE state = 'held' AND expires_at <= $1 ORDER BY",
        "WHERE state = 'held' AND expires_at <= $1::timestamptz - interval '1 year' ORDER BY",
        about="keeping",
    ),
    Mutation(
        "what fills up the safety stock of a location is sold ahead",
        "queries.supplies:read_open_supplies",
        "expected - LEAST(expected, GREATEST(0, lacking - earlier))",
        "expected",
        about="supply",
        seed=3,
    ),
)
"""Each in another rule or statement. Whoever changes one of those places writes the bug anew here."""

EXAMPLES = int(os.environ.get("STATE_MACHINE_EXAMPLES", "40"))
STEPS = int(os.environ.get("STATE_MACHINE_STEPS", "30"))
"""How many stories of how many steps are looked at before a bug counts as missed."""
