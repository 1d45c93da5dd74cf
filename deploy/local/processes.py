"""The supervisor of Ordermesh's own processes: services and simulators, each with its own credentials, port and log file.

processes = Processes(stack)
processes.start()
processes.kill("allocation")      # SIGKILL
processes.start(["allocation"])   # on the same port
processes.stop()
"""

import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from deploy.local.failure import LocalStackError, last_lines
from deploy.local.process_table import PROCESSES
from deploy.local.running import MEMBER_VARIABLE, condition_of, find_process, kill_process, start_process, stop_process
from deploy.local.stack import Stack
from deploy.local.surroundings import StackSurroundings
from deploy.local.waiting import wait_until_ready

CHECKOUT = Path(__file__).resolve().parents[2]
START_TIMEOUT_SECONDS = 60.0
STOP_GRACE_SECONDS = 25.0

# The administrator's variables: a process that is handed only its own credentials cannot do by mistake what it must not do.
NOT_FOR_PROCESSES = frozenset(
    {"ADMIN_DATABASE_URL", "DATABASE_URL", "AMQP_URL", "RABBITMQ_MANAGEMENT_URL", "RABBITMQ_PROMETHEUS_URL", "ORDERMESH_SECRETS_FILE"}
)


class Processes:
    """The processes of one running stack. Any number of these may look at the same stack, also from different commands."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.surroundings = StackSurroundings(stack)

    def lay_out(self) -> None:
        """Chooses the ports of all processes and writes the files that they and the administrator's steps read."""
        self.surroundings.choose_ports(PROCESSES, running=self.running())
        self.surroundings.write_files()

    def start(self, names: Iterable[str] | None = None) -> None:
        """Starts these processes (all of the table by default) unless they run, at once, and waits until each says it is ready.

        Raises LocalStackError with the end of its log as soon as one ends by itself or is not ready after 60 seconds. What this call
        has started is killed then.
        """
        chosen = list(PROCESSES if names is None else names)
        self.lay_out()
        idle = [name for name in chosen if not self.is_running(name)]
        for name in idle:
            self._start_one(name)
        with ThreadPoolExecutor(max_workers=max(1, len(chosen))) as threads:
            waits = [threads.submit(self._wait_for, name) for name in chosen]
            try:
                for waiting in as_completed(waits):
                    waiting.result()
            except BaseException:
                self._kill_all(idle, waits)
                raise

    def stop(self, names: Iterable[str] | None = None) -> None:
        """Stops these processes (all by default): SIGTERM, so that they drain, and SIGKILL for those still there after 25 seconds."""
        chosen = list(PROCESSES if names is None else names)
        with ThreadPoolExecutor(max_workers=max(1, len(chosen))) as threads:
            for name, ended_by_itself in zip(chosen, threads.map(self._stop_one, chosen), strict=True):
                if not ended_by_itself:
                    self._stack.progress.say(f"  {name} did not stop within {STOP_GRACE_SECONDS:.0f} s and was killed")

    def kill(self, name: str) -> None:
        """SIGKILL for one process, without a chance to tidy up."""
        kill_process(self._record(name))

    def restart(self, name: str) -> None:
        """Stops one process politely and starts it again on the same port."""
        self.stop([name])
        self.start([name])

    def process(self, name: str) -> psutil.Process | None:
        """The live process of that name, for whoever wants to pause or measure it."""
        return find_process(self._record(name))

    def is_running(self, name: str) -> bool:
        """Whether that process runs now."""
        return self.process(name) is not None

    def condition(self, name: str) -> str:
        """Whether that process runs, in words for a person."""
        return condition_of(self._record(name))

    def running(self) -> list[str]:
        """The names of all processes of the table that run now."""
        return [name for name in PROCESSES if self.is_running(name)]

    def url(self, name: str) -> str:
        """The HTTP address of one process, without a path."""
        return self.surroundings.url(name)

    def log(self, name: str) -> Path:
        """Where one process writes its log."""
        return self._stack.directory / "logs" / f"{name}.log"

    def complain_about_the_dead(self) -> None:
        """Raises LocalStackError, with the end of its log, when a process that was started has ended although nobody stopped it."""
        for name in PROCESSES:
            if self._record(name).exists() and not self.is_running(name):
                raise LocalStackError(f"{name} ended by itself; log: {self.log(name)}\n{last_lines(self.log(name))}")

    def pages(self) -> list[tuple[str, str]]:
        """Where a person or a partner turns to: (what it is, address)."""
        return [
            (page, self.url(name) + path)
            for name, description in PROCESSES.items()
            if self.is_running(name)
            for page, path in description.pages.items()
        ]

    def addresses(self) -> list[tuple[str, str]]:
        """The pages, where partners connect, and where the passwords are; no password itself: (what it is, where)."""
        broker = urlsplit(self._stack.rabbitmq.url)
        virtual_host = "" if broker.path in ("", "/") else broker.path
        secrets_file = self._stack.secrets_file
        return [
            *self.pages(),
            ("AMQP of partners", f"{broker.scheme}://{broker.hostname}:{broker.port or 5672}{virtual_host}"),
            ("  users and their passwords", f"{secrets_file}, under broker_users"),
            ("Operator's token", f"{secrets_file}, secrets.operator_token"),
        ]

    def environment(self) -> dict[str, str]:
        """Where the running processes are, and what an operator needs, as environment variables for tests, audits and scripts."""
        addresses = {f"ORDERMESH_{name.upper()}_URL": self.surroundings.url(name) for name in self.running()}
        return {
            **addresses,
            "ORDERMESH_OPERATOR_TOKEN": self.surroundings.secret("operator_token"),
            "ORDERMESH_PARTNERS_FILE": str(self.surroundings.partners_file),
        }

    def environment_of(self, name: str) -> dict[str, str]:
        """The whole environment that one process is given. ORDERMESH_ variables of the caller's shell come through, the table's win."""
        kept = {variable: value for variable, value in os.environ.items() if variable not in NOT_FOR_PROCESSES}
        return {
            **kept,
            MEMBER_VARIABLE: str(self._stack.directory),
            "PYTHONPATH": str(CHECKOUT),
            "PYTHONUNBUFFERED": "1",
            "ORDERMESH_HTTP_PORT": str(self.surroundings.port(name)),
            **{variable: setting(self.surroundings) for variable, setting in PROCESSES[name].settings.items()},
        }

    def _record(self, name: str) -> Path:
        if name not in PROCESSES:
            raise LocalStackError(f"there is no process {name!r}; there are: {', '.join(PROCESSES)}")
        return self._stack.directory / "run" / f"{name}.json"

    def _start_one(self, name: str) -> None:
        start_process(
            self._record(name),
            [sys.executable, "-m", PROCESSES[name].module],
            log=self.log(name),
            environment=self.environment_of(name),
            working_directory=CHECKOUT,
        )

    def _wait_for(self, name: str) -> None:
        with self._stack.progress.step(name) as step:
            wait_until_ready(
                name,
                lambda: _ask_readiness(self.url(name)),
                record=self._record(name),
                log=self.log(name),
                timeout_seconds=START_TIMEOUT_SECONDS,
            )
            step.result = f"ready on {self.url(name)}"

    def _stop_one(self, name: str) -> bool:
        return stop_process(self._record(name), polite_signal=signal.SIGTERM, grace_seconds=STOP_GRACE_SECONDS)

    def _kill_all(self, names: list[str], waits: list[Future[None]]) -> None:
        """Ends a start that failed or was interrupted: the threads that wait for the others end with them."""
        for name in names:
            self.kill(name)
        for waiting in waits:
            waiting.cancel()


def _ask_readiness(url: str) -> str | None:
    """None when the process says it is ready, else what it says is missing."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5):
            return None
    except urllib.error.HTTPError as answer:
        return f"HTTP {answer.code}: {answer.read(500).decode(errors='replace')}"
    except OSError as error:
        return str(error)
