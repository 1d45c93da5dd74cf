"""How much is measured: the full run that the documentation quotes, and a quick one that only shows that everything works."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace


@dataclass(frozen=True)
class Sizes:
    """Counts and durations of one run."""

    skus: int = 100_000
    """Products of the allocation measurement; each has stock at every location."""
    orders: int = 40_000
    """Orders waiting in allocation's queue when it starts."""
    pgbench_clients: tuple[int, ...] = (4, 8, 16, 32)
    pgbench_seconds: int = 10
    """Per number of clients, after a warm-up."""
    published_messages: int = 20_000
    listed_skus: int = 20_000
    """Products of the whole-chain measurement; each is listed on both channels."""
    burst_orders: int = 3_000
    trial_seconds: int = 25
    latency_seconds: int = 30
    most_trials: int = 6
    restock_skus: int = 10_000
    """Products beside the one that is restocked, or gets another date."""
    queued_lines: int = 100_000
    """Lines that wait for the one SKU when it is restocked."""
    queued_orders: int = 50_000
    """Orders that wait for it when its date changes."""
    neighbour_rate: float = 200.0
    """Orders a second of other SKUs, before and meanwhile."""
    quiet_seconds: float = 15.0
    hold_seconds: int = 20
    """Of checkout holds, after a warm-up."""
    scaling_skus: tuple[int, ...] = (1_000, 100_000, 1_000_000)
    scaling_processes: tuple[int, ...] = (1, 2, 4)
    historic_lines: tuple[int, ...] = (0, 1_000_000, 10_000_000)
    waiting_lines: tuple[int, ...] = (100, 100_000)
    history_skus: int = 100_000
    """Products where processes, history and queues are compared."""
    scaling_orders: int = 20_000
    """Orders of one run of a comparison."""
    scaling_rounds: int = 2
    """Each comparison is made so often, its candidates in turn."""
    flash_buyers: int = 50_000
    flash_units: int = 1_000
    flash_processes: int = 4

    planner_orders: int = 1_000
    planner_solved: int = 10
    """How many of these HiGHS is asked about."""
    planner_rounds: int = 5

    savings_orders: int = 900
    """Of one period of the savings report."""
    savings_seeds: int = 5
    savings_solve_seconds: float = 8.0
    """Processor time for the optimum of one period."""
    standard_instances: int = 30
    standard_sequences: int = 1
    """Of each standard instance of the literature."""
    standard_arrivals: int = 10_000
    standard_solve_seconds: float = 20.0

    def with_options(self, *, orders: int | None, skus: int | None, most_history: int | None) -> Sizes:
        """The same with what the command line asks for."""
        historic_lines = tuple(lines for lines in self.historic_lines if most_history is None or lines <= most_history)
        return replace(self, orders=orders or self.orders, skus=skus or self.skus, historic_lines=historic_lines)

    def as_json(self) -> dict[str, object]:
        """For the result file."""
        return asdict(self)


FULL = Sizes()
QUICK = Sizes(
    skus=5_000,
    orders=4_000,
    pgbench_clients=(4, 8),
    pgbench_seconds=2,
    published_messages=4_000,
    listed_skus=1_000,
    burst_orders=300,
    trial_seconds=6,
    latency_seconds=6,
    most_trials=2,
    restock_skus=1_000,
    queued_lines=4_000,
    queued_orders=2_000,
    neighbour_rate=100.0,
    quiet_seconds=4.0,
    hold_seconds=4,
    scaling_skus=(1_000, 5_000),
    historic_lines=(0, 30_000),
    waiting_lines=(100, 2_000),
    history_skus=5_000,
    scaling_orders=3_000,
    scaling_rounds=1,
    flash_buyers=2_000,
    flash_units=100,
    planner_orders=50,
    planner_solved=2,
    planner_rounds=1,
    savings_orders=60,
    savings_seeds=2,
    savings_solve_seconds=1.0,
    standard_instances=2,
    standard_sequences=1,
    standard_arrivals=500,
    standard_solve_seconds=2.0,
)
