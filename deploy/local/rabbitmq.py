"""The stack's private RabbitMQ: its own node name, name server (epmd), cookie, home and ports, all on the loopback interface."""

import asyncio
import hashlib
import logging
import os
import shutil
import signal
import urllib.request
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import psutil

from deploy.local.failure import LocalStackError
from deploy.local.installation import find_rabbitmq_scripts, install_rabbitmq
from deploy.local.running import MEMBER_VARIABLE, condition_of, find_process, kill_process, start_process, stop_process
from deploy.local.waiting import nobody_listens, wait_for, wait_until_ready

ADMINISTRATOR = "admin"
START_TIMEOUT_SECONDS = 90.0
STOP_GRACE_SECONDS = 20.0
PLUGINS = ("rabbitmq_management", "rabbitmq_prometheus")

# The settings that are the same for every private broker. Metrics collection of the management plugin costs processor time for every
# message; Prometheus gives the same numbers when asked. A message larger than 4 MiB is refused before it is stored anywhere.
SETTINGS = """\
max_message_size = 4194304
heartbeat = 10
vm_memory_high_watermark.relative = 0.4
disk_free_limit.absolute = 200MB
management_agent.disable_metrics_collector = true
raft.wal_max_size_bytes = 134217728
log.console = false
log.file.level = info
"""


@dataclass(frozen=True)
class BrokerPorts:
    """The loopback ports of one private broker."""

    amqp: int
    management: int
    prometheus: int
    distribution: int
    name_server: int


class PrivateRabbitMQ:
    """One RabbitMQ node whose files are under `directory`/rabbitmq and which listens on 127.0.0.1 only."""

    name = "RabbitMQ"

    def __init__(self, directory: Path, *, ports: BrokerPorts, password: str, cookie: str) -> None:
        self._directory = directory
        self._home = directory / "rabbitmq"
        self._ports = ports
        self._password = password
        self._cookie = cookie
        self._record = directory / "run" / "rabbitmq.json"
        self._name_server_record = directory / "run" / "epmd.json"
        self._output = directory / "logs" / "rabbitmq-output.log"
        self.log = directory / "logs" / "rabbitmq.log"

    @property
    def url(self) -> str:
        """The administrator's AMQP address."""
        return f"amqp://{ADMINISTRATOR}:{self._password}@127.0.0.1:{self._ports.amqp}/"

    @property
    def management_url(self) -> str:
        """The administrator's address of the management API."""
        return f"http://{ADMINISTRATOR}:{self._password}@127.0.0.1:{self._ports.management}"

    @property
    def prometheus_url(self) -> str:
        """Where the broker's metrics are read."""
        return f"http://127.0.0.1:{self._ports.prometheus}/metrics"

    @property
    def process(self) -> psutil.Process | None:
        """The Erlang machine while it runs."""
        return find_process(self._record)

    @property
    def is_running(self) -> bool:
        """Whether the broker runs now."""
        return self.process is not None

    @property
    def condition(self) -> str:
        """Whether it runs, in words for a person."""
        return condition_of(self._record)

    def start(self) -> str:
        """Starts the broker unless it runs (installing RabbitMQ if it is missing and may be); returns what was started, for a person."""
        scripts = find_rabbitmq_scripts() or install_rabbitmq(self._directory / "logs" / "install-rabbitmq.log")
        if self.process is None:
            self._configure()
            self._start_name_server()
            start_process(
                self._record,
                [scripts / "rabbitmq-server"],
                log=self._output,
                environment=self._environment(),
                working_directory=self._home,
            )
        log = self.log if self.log.exists() else self._output
        wait_until_ready(self.name, self._not_ready, record=self._record, log=log, timeout_seconds=START_TIMEOUT_SECONDS)
        return f"RabbitMQ on 127.0.0.1:{self._ports.amqp}"

    def stop(self) -> None:
        """Stops the broker and its name server: politely, by force after 20 seconds."""
        stop_process(self._record, polite_signal=signal.SIGTERM, grace_seconds=STOP_GRACE_SECONDS)
        stop_process(self._name_server_record, polite_signal=signal.SIGTERM, grace_seconds=2)

    def kill(self) -> None:
        """SIGKILL for the broker, as a power failure of the process would."""
        kill_process(self._record)

    def wipe(self) -> None:
        """Kills the broker, deletes everything it knows (queues, messages, users) and starts it again, empty, on the same ports."""
        self.delete()
        self.start()

    def delete(self) -> None:
        """Kills the broker and deletes all its files."""
        self.kill()
        shutil.rmtree(self._home, ignore_errors=True)

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_", "NOTIFY_SOCKET"))}
        node = hashlib.sha256(str(self._directory).encode()).hexdigest()[:12]
        return {
            **kept,
            MEMBER_VARIABLE: str(self._directory),
            "HOME": str(self._home),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._ports.name_server),
            "RABBITMQ_NODENAME": f"ordermesh-{node}@localhost",
            "RABBITMQ_DIST_PORT": str(self._ports.distribution),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_CONFIG_FILE": str(self._home / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self._home / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._home / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self._home / "data"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self._home / "generated"),
            "RABBITMQ_LOG_BASE": str(self._directory / "logs"),
            "RABBITMQ_LOGS": str(self.log),
            # The script then becomes the Erlang machine instead of watching over it: one process to signal.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def _configure(self) -> None:
        for directory in (self._home, self._home / "data", self._home / "generated", self.log.parent):
            directory.mkdir(parents=True, exist_ok=True)
        cookie = self._home / ".erlang.cookie"
        if not cookie.exists():
            cookie.touch(mode=0o600)
            cookie.write_text(self._cookie)
            cookie.chmod(0o400)
        (self._home / "enabled_plugins").write_text(f"[{','.join(PLUGINS)}].\n")
        configuration = self._home / "rabbitmq.conf"
        configuration.touch(mode=0o600)
        configuration.write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self._ports.amqp}\n"
            f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {self._ports.management}\n"
            f"prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {self._ports.prometheus}\n"
            f"default_user = {ADMINISTRATOR}\ndefault_pass = {self._password}\ndefault_user_tags.administrator = true\n"
            f"log.file = {self.log}\n{SETTINGS}"
        )

    def _start_name_server(self) -> None:
        """Starts the node's own epmd; were it left to Erlang, it would detach itself and stay when the broker goes."""
        if find_process(self._name_server_record) is not None:
            return
        start_process(
            self._name_server_record,
            [_find_epmd(), "-address", "127.0.0.1", "-port", str(self._ports.name_server)],
            log=self._output,
            environment=self._environment(),
            working_directory=self._home,
        )
        wait_until_ready(
            "epmd",
            lambda: nobody_listens(self._ports.name_server),
            record=self._name_server_record,
            log=self._output,
            timeout_seconds=10,
        )

    def _not_ready(self) -> str | None:
        return nobody_listens(self._ports.amqp) or wait_for(ask_rabbitmq(self.url)) or ask_management(self.management_url)


async def ask_rabbitmq(url: str) -> str | None:
    """None when the broker at `url` lets us log in, else what it (or the network) said instead."""
    try:
        connection = await aio_pika.connect(url, timeout=5)
    except (OSError, TimeoutError, ValueError, asyncio.CancelledError, aio_pika.exceptions.AMQPError) as error:
        return str(error) or type(error).__name__
    await connection.close()
    return None


def hide_connection_attempts() -> None:
    """For commands: an attempt that fails is told in a line of ours, so the client library need not print its own beside it."""
    logging.getLogger("aiormq.connection").setLevel(logging.CRITICAL)


def ask_management(url: str) -> str | None:
    """None when the management API at `url` (with its credentials) lets us in, else what it said instead."""
    parts = urlsplit(url)
    request = urllib.request.Request(f"http://{parts.hostname}:{parts.port}/api/whoami")
    request.add_header("Authorization", "Basic " + b64encode(f"{parts.username}:{parts.password}".encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=5):
            return None
    except OSError as error:
        return f"management API: {error}"


def _find_epmd() -> Path:
    on_path = shutil.which("epmd")
    candidates = [Path(on_path)] if on_path else []
    candidates += [path for root in ("/usr/lib", "/usr/local/lib", "/opt/homebrew/lib") for path in Path(root).glob("erlang/**/bin/epmd")]
    if not candidates:
        raise LocalStackError("Erlang's epmd was not found: install Erlang (Debian/Ubuntu: apt-get install erlang-base)")
    return candidates[0]
