"""What allocation is compared with: pgbench, running one order per transaction with the same writes into the same tables.

It is the strongest opponent that a transaction per order can be: a C client on a warm connection with prepared statements, no queue to
read, no message to check or publish, no outbox row to mark as sent. Two shapes are tried and the faster one counts: allocation's own
statements, and one plain statement per table.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from benchmarks.allocation import FILLED
from benchmarks.catalogue import FIRST_SKU
from benchmarks.databases import Databases
from benchmarks.failure import BenchmarkError
from benchmarks.processes import MeasuredProcesses
from benchmarks.sizes import Sizes
from deploy.local.failure import LocalStackError
from deploy.local.installation import find_postgres_programs
from deploy.local.progress import Progress
from deploy.local.stack import Stack
from shared.contracts.registry import exchange_of
from shared.contracts.stock import StockReserved
from shared.migrate import role_of

Shape = Literal["set-wise", "plain"]

COPY = "pgbench"
WARM_UP_SECONDS = 2

# A UUIDv7 as cheap as SQL can make one, so that indexes grow at their right edge as ours do.
PREPARE = """
CREATE FUNCTION allocation.time_ordered_id() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(
        overlay(uuid_send(gen_random_uuid())
                PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 'hex')::uuid
$$;
GRANT EXECUTE ON FUNCTION allocation.time_ordered_id() TO PUBLIC;
"""

# Three different SKUs in ascending order, because locks taken in any other order end in deadlocks.
DRAW_UNIFORM = """
\\set first random({first}, {last})
\\set second random({first}, {last})
\\set third random({first}, {last})
\\set low least(:first, :second, :third)
\\set high greatest(:first, :second, :third)
\\set middle :first + :second + :third - :low - :high
"""
DRAW_HOT = """
\\set second random({first} + 1, {last})
\\set third random({first} + 1, {last})
\\set low {first}
\\set middle least(:second, :third)
\\set high greatest(:second, :third)
"""

BEGIN = """
BEGIN;
INSERT INTO inbox (event_id, source, type, subject, status, received_at, handled_at)
VALUES (time_ordered_id(), 'ordermesh/sync', 'order.placed.v1', '0199c0de-0000-7000-8000-000000000000', 'done', now(), now())
ON CONFLICT (event_id, source) DO NOTHING RETURNING event_id AS id \\gset
"""
OUTBOX = """
INSERT INTO outbox (event_id, type, subject, exchange, routing_key, body, created_at)
VALUES (time_ordered_id(), '{type}', :id, '{exchange}', '{type}', :body, now());
"""

SET_WISE = """
SELECT sku, available, queued, version, locations, assignable FROM stock_pools
WHERE sku = ANY(ARRAY[:low, :middle, :high]::text[]) AND pool = 'default' ORDER BY sku FOR NO KEY UPDATE;
WITH lines AS MATERIALIZED (
    SELECT line_id, sku, time_ordered_id() AS demand_id FROM (VALUES ('1', :low), ('2', :middle), ('3', :high)) AS line (line_id, sku)
), pooled AS (
    UPDATE stock_pools SET reserved = reserved + claim.units, version = version + 1
    FROM (SELECT sku, count(*)::int AS units FROM lines GROUP BY sku) AS claim
    WHERE stock_pools.sku = claim.sku AND pool = 'default' AND available >= claim.units
), placed AS (
    INSERT INTO orders (order_id, order_version, split_policy, placed_at) VALUES (:id, 1, 'ship_available', now())
), demanded AS (
    INSERT INTO demand (order_id, line_id, demand_id, sku, units, queued, reserved)
    SELECT :id, line_id, demand_id, sku, 1, 0, 1 FROM lines
), moved AS (
    INSERT INTO movements (movement_id, kind, quantity, sku, order_id, line_id, event_id)
    SELECT demand_id, 'reserved', 1, sku, :id, line_id, :id FROM lines
)
"""

PLAIN = """
UPDATE stock_pools SET reserved = reserved + 1, version = version + 1 WHERE sku = :low AND pool = 'default' AND available >= 1;
UPDATE stock_pools SET reserved = reserved + 1, version = version + 1 WHERE sku = :middle AND pool = 'default' AND available >= 1;
UPDATE stock_pools SET reserved = reserved + 1, version = version + 1 WHERE sku = :high AND pool = 'default' AND available >= 1;
INSERT INTO orders (order_id, order_version, split_policy, placed_at) VALUES (:id, 1, 'ship_available', now());
WITH demanded AS (
    INSERT INTO demand (order_id, line_id, demand_id, sku, units, queued, reserved)
    VALUES (:id, '1', time_ordered_id(), :low, 1, 0, 1), (:id, '2', time_ordered_id(), :middle, 1, 0, 1),
           (:id, '3', time_ordered_id(), :high, 1, 0, 1)
    RETURNING demand_id, sku, line_id
)
INSERT INTO movements (movement_id, kind, quantity, sku, order_id, line_id, event_id)
SELECT demand_id, 'reserved', 1, sku, :id, line_id, :id FROM demanded;
"""


@dataclass(frozen=True)
class PgbenchRun:
    """One run of pgbench."""

    shape: Shape
    hot: bool
    clients: int
    orders_per_second: float
    latency_ms: float

    def as_json(self) -> dict[str, object]:
        """For the result file."""
        return asdict(self)


def best_of(runs: Sequence[PgbenchRun], *, hot: bool) -> PgbenchRun:
    """The fastest of all shapes and numbers of clients."""
    return max((run for run in runs if run.hot is hot), key=lambda run: run.orders_per_second)


def script_of(shape: Shape, *, hot: bool, skus: int) -> str:
    """The pgbench script of one transaction."""
    draw = (DRAW_HOT if hot else DRAW_UNIFORM).format(first=FIRST_SKU, last=FIRST_SKU + skus - 1)
    outbox = OUTBOX.format(type=StockReserved.type, exchange=exchange_of(StockReserved))
    return draw + BEGIN + (SET_WISE + outbox if shape == "set-wise" else PLAIN + outbox) + "COMMIT;\n"


class PgbenchBench:
    """Runs pgbench on copies of allocation's filled database."""

    def __init__(self, stack: Stack, databases: Databases, sizes: Sizes, progress: Progress) -> None:
        self._stack = stack
        self._databases = databases
        self._sizes = sizes
        self._progress = progress

    async def measure(self, *, hot: bool, body: bytes) -> list[PgbenchRun]:
        """All numbers of clients with both shapes.

        Raises:
            BenchmarkError: there is no pgbench, or it failed.
        """
        program = find_pgbench()
        runs = []
        for shape in ("set-wise", "plain"):
            await self._databases.copy(FILLED, COPY)
            connection = await self._databases.connect(COPY)
            try:
                await connection.execute(PREPARE)
            finally:
                await connection.close()
            script = self._stack.directory / f"pgbench-{shape}.sql"
            script.write_text(script_of(shape, hot=hot, skus=self._sizes.skus))
            self._run(program, script, body, clients=self._sizes.pgbench_clients[0], seconds=WARM_UP_SECONDS)
            for clients in self._sizes.pgbench_clients:
                name = f"pgbench, {shape}, {clients} clients, {'one hot SKU' if hot else 'uniform'}"
                with self._progress.step(name) as step:
                    output = self._run(program, script, body, clients=clients, seconds=self._sizes.pgbench_seconds)
                    run = PgbenchRun(
                        shape, hot, clients, _number(r"tps = ([\d.]+)", output), _number(r"latency average = ([\d.]+)", output)
                    )
                    runs.append(run)
                    step.result = f"{run.orders_per_second:,.0f} orders/s"
            script.unlink()
            await self._databases.drop(COPY)
        return runs

    def _run(self, program: Path, script: Path, body: bytes, *, clients: int, seconds: int) -> str:
        # The role of allocation, so that its rights and settings hold here too.
        url = MeasuredProcesses(self._stack, COPY).database_url(role_of("allocation"))
        command = [
            *(str(program), "--no-vacuum", "--protocol=prepared", f"--client={clients}", f"--jobs={min(clients, os.cpu_count() or 1)}"),
            *(f"--time={seconds}", f"--file={script}", f"--define=body=\\x{body.hex()}", url),
        ]
        finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 120)
        failed = re.search(r"number of failed transactions: (\d+)", finished.stdout)
        if finished.returncode != 0 or (failed and failed.group(1) != "0"):
            raise BenchmarkError(f"pgbench failed ({finished.returncode}): {finished.stderr[-1_500:] or finished.stdout[-1_500:]}")
        return finished.stdout


def find_pgbench() -> Path:
    """The pgbench that belongs to the server's programs.

    Raises:
        BenchmarkError: there is none.
    """
    try:
        program = find_postgres_programs() / "pgbench"
    except LocalStackError as error:
        raise BenchmarkError(str(error)) from error
    if not program.exists():
        raise BenchmarkError(f"{program} is missing: install Postgres's own programs (Debian/Ubuntu: apt-get install postgresql)")
    return program


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise BenchmarkError(f"pgbench said nothing like {pattern}: {text[-500:]}")
    return float(found.group(1))
