"""``python -m tests.allocation``: plants bugs in allocation, one after the other, and prints which of them the state machine catches.

Needs servers: ``python -m deploy.local run --directory .local/test --servers-only -- python -m tests.allocation``. Arguments choose bugs by
parts of their names.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from tests.allocation.ground import own_stage
from tests.allocation.mutations import EXAMPLES, MUTATIONS, STEPS, check_all_can_be_planted, try_out


def main(wanted: Sequence[str]) -> int:
    """Plants all bugs, or those whose names contain an argument, and prints which are caught, how, and after how long."""
    if "ADMIN_DATABASE_URL" not in os.environ:
        print(__doc__)
        return 2
    chosen = [mutation for mutation in MUTATIONS if not wanted or any(part in mutation.name for part in wanted)]
    check_all_can_be_planted()
    missed = 0
    print(f"{'':6} {'stories':>7} {'steps':>6} {'seconds':>7}  planted bug")
    with own_stage(os.environ["ADMIN_DATABASE_URL"]) as stage:
        for mutation in chosen:
            began = time.monotonic()
            outcome = try_out(stage, mutation, examples=EXAMPLES, steps=STEPS)
            seconds, word = time.monotonic() - began, "missed" if outcome.sign is None else "caught"
            missed += outcome.sign is None
            print(f"{word} {outcome.stories:7} {outcome.steps:6} {seconds:7.1f}  {mutation.function:36} {mutation.name}")
            print(f"{'':31}{(outcome.sign or '')[:160]}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} planted bugs caught, each with at most {EXAMPLES} stories of {STEPS} steps")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
