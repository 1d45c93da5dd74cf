"""One line per step on standard error: what is being done, then what came of it and how long it took."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_printing = threading.Lock()


@dataclass
class Step:
    """One step under way; `result` may be set to what should be said at its end."""

    result: str = "ready"


class Progress:
    """Tells a person what the stack is doing. `quiet` says nothing, for tests."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet

    def say(self, line: str) -> None:
        """Prints one line."""
        if not self._quiet:
            with _printing:
                print(line, file=sys.stderr, flush=True)

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Prints `name`, what became of it and the seconds it took, once it has succeeded."""
        started = time.monotonic()
        step = Step()
        yield step
        self.say(f"  {name:<34} {step.result}  ({time.monotonic() - started:.1f} s)")
