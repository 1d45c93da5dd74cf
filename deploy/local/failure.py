"""The one error of the local stack: a line for the person at the keyboard, with the way out in it."""

from pathlib import Path


class LocalStackError(Exception):
    """Something the stack needs is missing, did not start or died. The message says what, and what to do about it."""


def last_lines(log: Path, count: int = 12) -> str:
    """The last `count` lines of a log file, indented, or a note that it is empty. Used to show why a server died."""
    if not log.exists():
        return "  (no log was written)"
    lines = log.read_text(errors="replace").splitlines()[-count:]
    return "\n".join(f"  {line}" for line in lines) or "  (the log is empty)"


def failed_to_start(name: str, reason: str, log: Path) -> LocalStackError:
    """The error for a server or process that did not become ready: what happened, where its log is, and how the log ends."""
    return LocalStackError(f"{name} did not start: {reason}; log: {log}\n{last_lines(log)}")
