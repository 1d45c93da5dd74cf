"""A process for the supervisor's tests: explains why it cannot start, and ends."""

raise SystemExit("the warehouse is on fire")
