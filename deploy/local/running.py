"""Starting, finding and ending operating-system processes that outlive the command that started them.

Each has a record (process id and start time), so that a later command, or one that comes after a crash, ends exactly the processes of its
own stack: a process id that was given to somebody else in the meantime has another start time.
"""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from deploy.local.record import read_record, write_record

# Set in the environment of every process of a stack to the stack's directory: the last resort for finding what no record names.
MEMBER_VARIABLE = "ORDERMESH_STACK_MEMBER"

START_TIME_TOLERANCE_SECONDS = 2.0

_children: dict[int, subprocess.Popen[bytes]] = {}


def start_process(
    record: Path,
    command: Sequence[str | Path],
    *,
    log: Path,
    environment: Mapping[str, str],
    working_directory: Path,
    user: int | None = None,
    group: int | None = None,
) -> int:
    """Starts `command` in a session of its own (a terminal's Ctrl-C does not reach it) with its output appended to `log`.

    Returns the process id, which is also written to `record`. `user` and `group` need root.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environment),
            cwd=working_directory,
            start_new_session=True,
            user=user,
            group=group,
            extra_groups=None if user is None else [],
        )
    _children[child.pid] = child
    with suppress(psutil.NoSuchProcess):
        write_record(record, {"pid": child.pid, "started_at": psutil.Process(child.pid).create_time()})
    return child.pid


def is_alive(process: psutil.Process) -> bool:
    """Whether the process still runs; a zombie that nobody has reaped yet does not."""
    child = _children.get(process.pid)
    if child is not None:
        return child.poll() is None
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def find_process(record: Path) -> psutil.Process | None:
    """The live process that `record` names, or None when it ended (also when its id now belongs to another process)."""
    content = read_record(record)
    if not content:
        return None
    try:
        process = psutil.Process(int(content["pid"]))
        is_the_same = abs(process.create_time() - float(content["started_at"])) < START_TIME_TOLERANCE_SECONDS
    except psutil.NoSuchProcess:
        return None
    return process if is_the_same and is_alive(process) else None


def condition_of(record: Path) -> str:
    """For a person: whether what `record` names runs. Who stops a process removes its record: one that is left tells of a death."""
    process = find_process(record)
    if process is not None:
        return f"running (pid {process.pid})"
    return "ended by itself; `make up` starts it again" if record.exists() else "stopped"


def wait_until_gone(processes: Sequence[psutil.Process], timeout_seconds: float) -> list[psutil.Process]:
    """Waits until the processes have ended; returns those that still live after `timeout_seconds`."""
    deadline = time.monotonic() + timeout_seconds
    alive = [process for process in processes if is_alive(process)]
    while alive and time.monotonic() < deadline:
        time.sleep(0.02)
        alive = [process for process in alive if is_alive(process)]
    return alive


def _with_descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return [process]


def kill_process(record: Path) -> None:
    """SIGKILL for the process and everything it started, without a chance to tidy up; returns when all are gone."""
    process = find_process(record)
    if process is not None:
        with suppress(psutil.NoSuchProcess):
            process.suspend()  # a stopped process starts no more children
        kill_all(_with_descendants(process))
    record.unlink(missing_ok=True)


def kill_all(processes: Sequence[psutil.Process]) -> None:
    """SIGKILL for each of these processes; returns when they are gone."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_until_gone(processes, timeout_seconds=10)


def stop_process(record: Path, *, polite_signal: signal.Signals, grace_seconds: float) -> bool:
    """Asks the process to stop and waits `grace_seconds`; whatever of it still lives then is killed.

    Returns whether it ended by itself.
    """
    process = find_process(record)
    if process is None:
        record.unlink(missing_ok=True)
        return True
    family = _with_descendants(process)
    with suppress(psutil.NoSuchProcess):
        process.send_signal(polite_signal)
    ended_by_itself = not wait_until_gone([process], grace_seconds)
    if ended_by_itself:
        family = wait_until_gone(family, timeout_seconds=1)
    kill_all(family)
    record.unlink(missing_ok=True)
    return ended_by_itself


def members_of(directory: Path) -> list[psutil.Process]:
    """All processes that carry the mark of the stack in `directory`, whether or not a record names them."""
    found = []
    for process in psutil.process_iter():
        try:
            is_member = process.pid != os.getpid() and process.environ().get(MEMBER_VARIABLE) == str(directory)
        except (psutil.Error, OSError):
            continue
        if is_member and is_alive(process):
            found.append(process)
    return found
