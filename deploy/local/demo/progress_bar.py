"""A line that keeps telling how far the day is: redrawn on a terminal, printed now and then in a log."""

from __future__ import annotations

import sys
import time

WIDTH = 28
LOG_SECONDS = 5.0


class ProgressBar:
    """Writes to standard error, so that the report alone stands on standard output."""

    def __init__(self, total: int) -> None:
        self._total = max(1, total)
        self._terminal = sys.stderr.isatty()
        self._last_printed = 0.0
        self._drawn = False

    def show(self, done: int, words: str, *, last: bool = False) -> None:
        """Draws ``done`` of the total with some words behind it."""
        share = min(1.0, done / self._total)
        bar = "#" * round(WIDTH * share)
        line = f"  [{bar:<{WIDTH}}] {100 * share:3.0f}%  {words}"
        if self._terminal:
            print(f"\r\x1b[2K{line}", end="", file=sys.stderr, flush=True)
            self._drawn = True
        elif last or time.monotonic() - self._last_printed >= LOG_SECONDS:
            print(line, file=sys.stderr, flush=True)
            self._last_printed = time.monotonic()

    def end(self) -> None:
        """Leaves the last line standing."""
        if self._drawn:
            print(file=sys.stderr, flush=True)
            self._drawn = False
