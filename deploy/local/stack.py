"""One private stack: a Postgres and a RabbitMQ under one directory, to be started, broken and stopped by commands, tests and benchmarks.

    stack = Stack(Path(".local"))
    stack.start()
    stack.rabbitmq.kill()
    stack.rabbitmq.start()    # on the same port, with what it had confirmed
    stack.stop()

Every call blocks; inside an event loop use `asyncio.to_thread`. A second Stack of the same directory, also in another process, is the
same stack.
"""

import fcntl
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from deploy.local.containers import ContainerPostgres, ContainerRabbitMQ, docker_answers
from deploy.local.external import ExternalPostgres, ExternalRabbitMQ
from deploy.local.failure import LocalStackError
from deploy.local.installation import can_install_packages, find_postgres_programs, find_rabbitmq_scripts
from deploy.local.ports import choose_ports
from deploy.local.postgres import PrivatePostgres
from deploy.local.progress import Progress
from deploy.local.rabbitmq import BrokerPorts, PrivateRabbitMQ
from deploy.local.record import password_of, read_record, write_record
from deploy.local.running import kill_all, members_of

POSTGRES_PORTS = ("postgres",)
RABBITMQ_PORTS = ("amqp", "management", "prometheus", "distribution", "name_server")

PRIVATE = "private"
CONTAINER = "container"


class Server(Protocol):
    """What can be done to either server of a stack."""

    name: str

    @property
    def url(self) -> str:
        """The administrator's address of the server."""

    @property
    def is_running(self) -> bool:
        """Whether the server runs now."""

    @property
    def condition(self) -> str:
        """Whether it runs, in words for a person."""

    def start(self) -> str:
        """Starts the server unless it runs; returns what was started, for a person."""

    def stop(self) -> None:
        """Stops the server politely."""

    def kill(self) -> None:
        """SIGKILL for the server and all it started."""

    def wipe(self) -> None:
        """Deletes all the server's data and starts it again, on the same ports."""

    def delete(self) -> None:
        """Kills the server and deletes all its files."""


class Broker(Server, Protocol):
    """A RabbitMQ; beside AMQP it has a management API, and metrics unless somebody else runs it."""

    @property
    def management_url(self) -> str:
        """The administrator's address of the management API."""

    @property
    def prometheus_url(self) -> str | None:
        """Where the broker's metrics are read, if that is known."""


class Stack:
    """The two servers under `directory`.

    `database_url` and `amqp_url` (with `management_url`) name servers that somebody else runs, to be used in place of private ones.
    """

    def __init__(
        self,
        directory: Path,
        *,
        database_url: str | None = None,
        amqp_url: str | None = None,
        management_url: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.directory = Path(directory).absolute()
        self.progress = progress or Progress(quiet=True)
        self.secrets_file = self.directory / "secrets.json"
        self._record_file = self.directory / "stack.json"
        _check_given(DATABASE_URL=database_url, AMQP_URL=amqp_url, RABBITMQ_MANAGEMENT_URL=management_url)
        given = {"database_url": database_url, "amqp_url": amqp_url, "management_url": management_url}
        if any(given.values()) or not self._record_file.exists():
            with self._alone():
                self._choose_ports((*POSTGRES_PORTS, *RABBITMQ_PORTS), only_missing=True)
                if any(given.values()):
                    self._remember(given=given)
        self.postgres, self.rabbitmq = self._servers()

    def start(self) -> None:
        """Starts both servers at the same time and waits until both can be used.

        Raises LocalStackError when one of them does not come up. What this call has started is killed then, and on Ctrl-C too.
        """
        with self._alone():
            self._choose_kinds()
            ran_before = [server.name for server in (self.postgres, self.rabbitmq) if server.is_running]
            if isinstance(self.postgres, PrivatePostgres) and not self.postgres.is_running:
                self._choose_ports(POSTGRES_PORTS)
            if isinstance(self.rabbitmq, PrivateRabbitMQ) and not self.rabbitmq.is_running:
                self._choose_ports(RABBITMQ_PORTS)
            self.postgres, self.rabbitmq = self._servers()
            with ThreadPoolExecutor() as threads:
                starts = [threads.submit(self._start, server) for server in (self.postgres, self.rabbitmq)]
                try:
                    for start in as_completed(starts):
                        start.result()
                except BaseException:
                    self._give_up(starts, spared=ran_before)
                    raise

    def _start(self, server: Server) -> None:
        with self.progress.step(server.name) as step:
            step.result = server.start()

    def _give_up(self, starts: list[Future[None]], *, spared: list[str]) -> None:
        """Ends a start that failed or was interrupted: a server that is killed makes the thread that waits for it end too."""
        while True:
            all_ended = all(start.done() for start in starts)
            for server in (self.postgres, self.rabbitmq):
                if server.name not in spared and not isinstance(server, ExternalPostgres | ExternalRabbitMQ):
                    server.kill()
            if all_ended:
                break
            time.sleep(0.1)
        if not spared:
            kill_all(members_of(self.directory))

    def stop(self) -> None:
        """Stops both servers, and whatever else of this stack a crashed launcher left behind. Data and passwords stay."""
        with ThreadPoolExecutor() as threads:
            for stop in [threads.submit(server.stop) for server in (self.postgres, self.rabbitmq)]:
                stop.result()
        kill_all(members_of(self.directory))

    def discard(self) -> None:
        """Kills both servers and deletes the whole directory: the end of a throw-away stack."""
        self.postgres.delete()
        self.rabbitmq.delete()
        kill_all(members_of(self.directory))
        shutil.rmtree(self.directory, ignore_errors=True)

    def forget_given_servers(self) -> None:
        """From the next start on, private servers are used again in place of those named by DATABASE_URL and AMQP_URL."""
        self._remember(given={})

    @property
    def is_running(self) -> bool:
        """Whether both servers run now."""
        return self.postgres.is_running and self.rabbitmq.is_running

    def password(self, group: str, name: str) -> str:
        """One password of the secrets file, made at the first call: by group (`database_roles`, `broker_users`, `secrets`) and name."""
        return password_of(self.secrets_file, group, name)

    def environment(self) -> dict[str, str]:
        """The administrator's view of the stack as environment variables: for migrations, tests, audits; not for services."""
        variables = {
            "ORDERMESH_LOCAL_DIRECTORY": str(self.directory),
            "ORDERMESH_SECRETS_FILE": str(self.secrets_file),
            "ADMIN_DATABASE_URL": self.postgres.url,
            "AMQP_URL": self.rabbitmq.url,
            "RABBITMQ_MANAGEMENT_URL": self.rabbitmq.management_url,
        }
        if self.rabbitmq.prometheus_url:
            variables["RABBITMQ_PROMETHEUS_URL"] = self.rabbitmq.prometheus_url
        return variables

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Keeps apart commands that bring this stack up or take it down, saying so when one must wait. One that was killed lets go."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "launch.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.progress.say("  waiting: another command is starting or stopping this stack")
                fcntl.flock(lock, fcntl.LOCK_EX)
            if self._record_file.exists():
                self.postgres, self.rabbitmq = self._servers()  # whose turn it was before may have chosen other ports, or containers
            yield

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keeps two commands from choosing ports and starting servers in one directory at the same time; looking and stopping is free."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "stack.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _remember(self, **changes: object) -> None:
        write_record(self._record_file, {**read_record(self._record_file), **changes})

    def _choose_ports(self, names: Sequence[str], *, only_missing: bool = False) -> None:
        """Finds free ports for these names, keeping those of the last start where they are still free."""
        ports: dict[str, int] = read_record(self._record_file).get("ports", {})
        wanted = [name for name in names if not (only_missing and name in ports)]
        if wanted:
            taken = {name: port for name, port in ports.items() if name not in wanted}
            self._remember(ports={**taken, **choose_ports(wanted, ports)})

    def _choose_kinds(self) -> None:
        """Decides how each server that is not given will be run: from programs of this machine, else in a container."""
        record = read_record(self._record_file)
        given = record.get("given", {})
        kinds = dict(record.get("kinds", {}))
        if not given.get("database_url") and "postgres" not in kinds:
            kinds["postgres"] = _kind_of_postgres()
        if not given.get("amqp_url") and kinds.get("rabbitmq", PRIVATE) == PRIVATE:
            kinds["rabbitmq"] = self._kind_of_rabbitmq()
        self._remember(kinds=kinds)

    def _kind_of_rabbitmq(self) -> str:
        if find_rabbitmq_scripts() is not None:
            return PRIVATE
        if can_install_packages():
            self.progress.say("  RabbitMQ is not installed: installing Debian's package (it starts no broker of its own)")
            return PRIVATE
        if docker_answers():
            return CONTAINER
        raise LocalStackError(
            "RabbitMQ was not found: install it (Debian/Ubuntu: sudo apt-get install rabbitmq-server; macOS: brew install rabbitmq), "
            "start Docker, or set AMQP_URL to a broker"
        )

    def _servers(self) -> tuple[Server, Broker]:
        record = read_record(self._record_file)
        return self._postgres_of(record), self._rabbitmq_of(record)

    def _postgres_of(self, record: dict[str, Any]) -> Server:
        url = record.get("given", {}).get("database_url")
        if url:
            return ExternalPostgres(url, "DATABASE_URL")
        kind = ContainerPostgres if record.get("kinds", {}).get("postgres") == CONTAINER else PrivatePostgres
        return kind(self.directory, port=record["ports"]["postgres"], password=self.password("administrators", "postgres"))

    def _rabbitmq_of(self, record: dict[str, Any]) -> Broker:
        given = record.get("given", {})
        if given.get("amqp_url"):
            return ExternalRabbitMQ(given["amqp_url"], "AMQP_URL", given.get("management_url"))
        ports = BrokerPorts(**{name: record["ports"][name] for name in RABBITMQ_PORTS})
        password = self.password("administrators", "rabbitmq")
        if record.get("kinds", {}).get("rabbitmq") == CONTAINER:
            return ContainerRabbitMQ(self.directory, ports=ports, password=password)
        return PrivateRabbitMQ(self.directory, ports=ports, password=password, cookie=self.password("administrators", "erlang_cookie"))


def _check_given(**urls: str | None) -> None:
    """Before they are remembered: every later command would stumble over one that cannot even be taken apart."""
    for variable, url in urls.items():
        try:
            urlsplit(url or "").port  # noqa: B018 - looked at for the error
        except ValueError:
            raise LocalStackError(
                f"{variable} is no URL of a server: check its host and port, and write / # ? [ ] of a password as %2F %23 %3F %5B %5D"
            ) from None


def _kind_of_postgres() -> str:
    try:
        find_postgres_programs()
    except LocalStackError:
        if docker_answers():
            return CONTAINER
        raise
    return PRIVATE
