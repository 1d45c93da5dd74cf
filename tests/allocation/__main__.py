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
from tests.allocation.mutations import EXAMPLES, MUTATIONS, STEPS, is_caught


def main(wanted: Sequence[str]) -> int:
    """Plants all bugs, or those whose names contain an argument, and prints which are caught, how, and after how long."""
    if "ADMIN_DATABASE_URL" not in os.environ:
        print(__doc__)
        return 2
    chosen = [mutation for mutation in MUTATIONS if not wanted or any(part in mutation.name for part in wanted)]
    missed = 0
    with own_stage(os.environ["ADMIN_DATABASE_URL"]) as stage:
        for mutation in chosen:
            began = time.monotonic()
            sign = is_caught(stage, mutation, examples=EXAMPLES, steps=STEPS)
            missed += sign is None
            print(f"{'missed' if sign is None else 'caught'}  {time.monotonic() - began:5.1f} s  {mutation.module:22} {mutation.name}")
            print(f"{'':17}{(sign or '')[:160]}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} planted bugs caught")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
