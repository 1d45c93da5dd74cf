"""The demo's report: what became of the day, for machines and for people."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from deploy.local.demo.books import SupplyBooks
from deploy.local.demo.scenes import SceneOutcome
from simulators.adapter.replay import Replay

BASELINE = "first location in a fixed list that has everything"


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Milliseconds that half, and 99 of 100, did not exceed; None without measurements."""

    p50: int | None
    p99: int | None
    measured: int


@dataclass(frozen=True, slots=True)
class ShippingCost:
    """What routing's choices cost against a person with a list, on the same rate card and the same stock. Simulated.

    Only decisions count in which some location had everything and could keep the promise; in the others a person would have to split too.
    """

    baseline: str
    baseline_order: tuple[str, ...]
    decisions: int
    decisions_compared: int
    our_cents: int
    baseline_cents: int

    @property
    def saving_percent(self) -> float | None:
        """How much less ours is than the baseline."""
        return round(100 * (1 - self.our_cents / self.baseline_cents), 1) if self.baseline_cents else None


@dataclass(frozen=True, slots=True)
class DemoReport:
    """Everything that is written to the report file, under these names."""

    source: str
    seed: int
    inputs_digest: str
    """Names everything the run was given: where two runs have the same one, whatever differs between them is a matter of timing."""
    currency: str
    orders_in: int
    orders_taken: int
    orders_rejected: int
    orders_rejected_expected: int
    orders_shipped: int
    orders_waiting: Mapping[str, int]
    orders_cancelled: int
    orders_unaccounted: int
    units_oversold: int
    units_shipped: int
    shelf_differences: Sequence[str]
    """SKUs and locations where allocation's books and the 3PL's shelf disagree when all is quiet."""
    messages_published: int
    messages_parked: int
    messages_parked_by_type: Mapping[str, int]
    duplicates_stopped: int
    duplicates_stopped_by_kind: Mapping[str, int]
    audit_violations: int
    audit_violated: Sequence[str]
    decisions_recorded: int
    decisions_different: int
    """Routing's decisions that did not come out as recorded when they were made again."""
    supply: SupplyBooks
    scenes: Sequence[SceneOutcome]
    returns_closed: int
    refunds: int
    refunds_failed: int
    refunds_cents_by_currency: Mapping[str, int]
    channel_push_latency_ms: Percentiles
    placed_to_fulfillment_request_ms: Percentiles
    orders_per_second: float
    replay_seconds: float
    wall_seconds: float
    shipping_cost: ShippingCost
    wishes: Mapping[str, int]
    """How often each wish was answered in each way."""
    wishes_simulated: int
    wishes_of_input: int
    input_rows: Mapping[str, Any] | None
    assumptions: Sequence[str]
    not_at_rest: str = ""
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def passed(self) -> bool:
        """Whether the demo may end well: nothing oversold, the books balance and agree with the shelves, no order and no row is lost,
        nobody is told of a delay twice, every routing decision follows from its record, and every scene ended as it must."""
        rows_lost = bool(self.input_rows and self.input_rows["unexplained"])
        books_wrong = self.units_oversold or self.audit_violations or self.shelf_differences
        told_twice = self.supply.delay_mails != self.supply.orders_told_of_delay
        scenes_wrong = not all(scene.passed for scene in self.scenes)
        unexplained = self.decisions_different
        return not (books_wrong or told_twice or scenes_wrong or unexplained or self.orders_unaccounted or self.not_at_rest or rows_lost)

    @property
    def refunds_cents(self) -> int | None:
        """All refunds in one sum; None where they are of several currencies, of which there is no sum."""
        if len(self.refunds_cents_by_currency) > 1:
            return None
        return sum(self.refunds_cents_by_currency.values())

    def as_json(self) -> dict[str, Any]:
        """For the report file."""
        content = asdict(self)
        content["shipping_cost"]["saving_percent"] = self.shipping_cost.saving_percent
        return {**content, "refunds_cents": self.refunds_cents, "passed": self.passed}


def percentiles_of(milliseconds: Sequence[float]) -> Percentiles:
    """Exact p50 and p99 (nearest rank)."""
    if not milliseconds:
        return Percentiles(None, None, 0)
    ranked = sorted(milliseconds)
    return Percentiles(_rank(ranked, 0.5), _rank(ranked, 0.99), len(ranked))


def _rank(ranked: Sequence[float], share: float) -> int:
    return round(ranked[max(0, math.ceil(share * len(ranked)) - 1)])


def compare_cost(records: Sequence[Mapping[str, Any]], order: Sequence[str]) -> ShippingCost:
    """Adds up routing's decision records against the baseline.

    Args:
        records: decision records; ``candidates`` names what each location would cost for everything, or why it cannot.
        order: the baseline's list of locations.
    """
    our_cents = baseline_cents = compared = 0
    for record in records:
        whole = {code: said for code, _zone, _miles, said in record["candidates"] if isinstance(said, int)}
        first = next((code for code in order if code in whole), None)
        if first is not None:
            compared += 1
            our_cents += record["cost_cents"]
            baseline_cents += whole[first]
    return ShippingCost(BASELINE, tuple(order), len(records), compared, our_cents, baseline_cents)


def input_rows_of(replay: Replay) -> dict[str, Any] | None:
    """The account of a file's rows; None for a generated day."""
    account = replay.account
    if account is None:
        return None
    return {
        "rows_in": account.rows_in,
        "rows_in_orders": account.rows_in_orders,
        "rows_in_withdrawals": account.rows_in_withdrawals,
        "rows_reported": len(account.reported),
        "reported_by_reason": account.reported_by_reason,
        "unexplained": account.unexplained,
        "notes": dict(account.notes),
        "reported": [asdict(row) for row in sorted(account.reported, key=lambda row: row.row)],
    }


def lines_of(report: DemoReport) -> Iterator[str]:
    """The report for a person."""
    yield ""
    yield f"Ordermesh demo: {report.source}"
    yield from _section("Orders", _orders(report))
    yield from _section("A preorder, and a purchase order that is delayed", _supply(report.supply))
    if report.scenes:
        yield ""
        yield "  Scenes, played after the day on products of their own and not counted in its figures"
        for scene in report.scenes:
            yield f"    {'as it must' if scene.passed else 'WRONG':<12} {scene.name}: {scene.told}"
    yield from _section("Stock, money and messages", _books(report))
    yield from _section("Speed", _speed(report))
    yield from _section("Shipping cost (simulated stock and rate card)", _cost(report))
    asked = f"Asked for during the day ({report.wishes_simulated:,} wishes are simulated, {report.wishes_of_input:,} from the input)"
    yield from _section(asked, [(what, str(count)) for what, count in sorted(report.wishes.items())])
    if report.input_rows is not None:
        yield from _section("Rows of the input file", _rows(report.input_rows))
    yield ""
    yield f"  note: inputs are seeded (seed {report.seed}, inputs {report.inputs_digest}); outcomes depend on timing."
    for sentence in (*report.assumptions, *report.notes):
        yield f"  note: {sentence}"
    yield ""
    yield from _verdict(report)


def _section(title: str, rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    if rows:
        yield ""
        yield f"  {title}"
        for name, value in rows:
            yield f"    {name:<58} {value:>14}"


def _orders(report: DemoReport) -> list[tuple[str, str]]:
    return [
        ("deliveries by channels (orders_in)", f"{report.orders_in:,}"),
        ("taken", f"{report.orders_taken:,}"),
        (f"rejected with a reason (expected {report.orders_rejected_expected:,})", f"{report.orders_rejected:,}"),
        ("delivered twice and stopped", f"{report.duplicates_stopped_by_kind.get('orders delivered again', 0):,}"),
        ("shipped", f"{report.orders_shipped:,}"),
        ("cancelled", f"{report.orders_cancelled:,}"),
        *[(f"waiting for: {reason}", f"{count:,}") for reason, count in sorted(report.orders_waiting.items())],
        ("unaccounted for", f"{report.orders_unaccounted:,}"),
    ]


def _supply(supply: SupplyBooks) -> list[tuple[str, str]]:
    if supply.preorder_sku is None:
        return []
    return [
        (f"orders that waited for the release of {supply.preorder_sku}"[:58], f"{supply.preorder_orders:,}"),
        ("of these not released", f"{supply.preorder_orders_waiting:,}"),
        ("orders told that a purchase order is delayed", f"{supply.orders_told_of_delay:,}"),
        ("mails about that", f"{supply.delay_mails:,}"),
    ]


def _books(report: DemoReport) -> list[tuple[str, str]]:
    return [
        ("units shipped (3PLs' count)", f"{report.units_shipped:,}"),
        ("units oversold (3PLs' count: shipped beyond what was there)", f"{report.units_oversold:,}"),
        ("shelves on which allocation and the 3PL disagree", f"{len(report.shelf_differences):,}"),
        ("returns closed", f"{report.returns_closed:,}"),
        ("refunds", f"{report.refunds:,}"),
        *[(f"refunded, {currency}", f"{cents / 100:,.2f}") for currency, cents in report.refunds_cents_by_currency.items()],
        ("messages published", f"{report.messages_published:,}"),
        *[(f"parked for a person: {kind}", f"{count:,}") for kind, count in report.messages_parked_by_type.items()],
        *[(f"stopped: {kind}", f"{count:,}") for kind, count in report.duplicates_stopped_by_kind.items()],
        ("audit violations", f"{report.audit_violations:,}"),
        (f"of {report.decisions_recorded:,} routing decisions, made again: come out differently", f"{report.decisions_different:,}"),
    ]


def _speed(report: DemoReport) -> list[tuple[str, str]]:
    push, request = report.channel_push_latency_ms, report.placed_to_fulfillment_request_ms
    return [
        (f"stock change -> shown by the channel, p50 / p99 ({push.measured:,} pushes)", f"{push.p50} / {push.p99} ms"),
        (f"order published -> 3PL has the pick list, p50 / p99 ({request.measured:,})", f"{request.p50} / {request.p99} ms"),
        ("orders per second (paced by the replay)", f"{report.orders_per_second:.1f}"),
        ("replayed in / whole demo", f"{report.replay_seconds:.0f} / {report.wall_seconds:.0f} s"),
    ]


def _cost(report: DemoReport) -> list[tuple[str, str]]:
    cost = report.shipping_cost
    rows = [
        (f"{cost.decisions_compared:,} of {cost.decisions:,} decisions: ours", f"{cost.our_cents / 100:,.2f}"),
        (f"by hand: {cost.baseline}", f"{cost.baseline_cents / 100:,.2f}"),
    ]
    if cost.saving_percent is not None:
        rows.append(("saved", f"{cost.saving_percent:.1f} %"))
    return rows


def _rows(rows: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("rows in", f"{rows['rows_in']:,}"),
        ("in orders", f"{rows['rows_in_orders']:,}"),
        ("in cancellations and returns of these orders", f"{rows['rows_in_withdrawals']:,}"),
        *[(f"reported: {reason}", f"{count:,}") for reason, count in rows["reported_by_reason"].items()],
        ("unexplained", f"{rows['unexplained']:,}"),
    ]


def _verdict(report: DemoReport) -> Iterator[str]:
    for check in report.audit_violated:
        yield f"  AUDIT: {check}"
    for difference in report.shelf_differences[:5]:
        yield f"  SHELF: {difference}"
    for scene in report.scenes:
        if not scene.passed:
            yield f"  SCENE: {scene.name}: {scene.told}"
    if report.not_at_rest:
        yield f"  NOT AT REST: {report.not_at_rest}"
    if report.passed:
        yield "  PASSED: nothing oversold, the books balance, every order and every row is accounted for."
    else:
        yield "  FAILED: see above."
