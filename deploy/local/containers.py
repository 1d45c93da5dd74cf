"""Postgres and RabbitMQ in containers, for a machine that has Docker but no way to install the servers themselves.

Plain `docker run`, one container per server: it needs no compose plug-in, and each server can be killed and started alone.
"""

import hashlib
import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path

from deploy.local.failure import LocalStackError
from deploy.local.postgres import DATABASE, SUPERUSER, ask_postgres
from deploy.local.rabbitmq import ADMINISTRATOR, PLUGINS, SETTINGS, BrokerPorts, ask_management, ask_rabbitmq
from deploy.local.waiting import wait_for, wait_until_answered

POSTGRES_IMAGE = "postgres:16"
RABBITMQ_IMAGE = "rabbitmq:3.13-management"
START_TIMEOUT_SECONDS = 180.0


def docker_answers() -> bool:
    """Whether a Docker engine can be used from here."""
    if not shutil.which("docker"):
        return False
    return subprocess.run(["docker", "info"], capture_output=True, timeout=30, check=False).returncode == 0


class _Container:
    """One named container with one named volume, both belonging to the stack in `directory`."""

    def __init__(self, directory: Path, kind: str) -> None:
        stack = hashlib.sha256(str(directory).encode()).hexdigest()[:12]
        self.name = f"ordermesh-{stack}-{kind}"

    def _docker(self, *arguments: str, check: bool = True, environment: dict[str, str] | None = None) -> str:
        finished = subprocess.run(
            ["docker", *arguments], capture_output=True, text=True, env={**os.environ, **(environment or {})}, check=False
        )
        if check and finished.returncode != 0:
            raise LocalStackError(f"docker {arguments[0]} failed for {self.name}: {finished.stderr.strip()}")
        return finished.stdout.strip()

    @property
    def is_running(self) -> bool:
        return self._docker("inspect", "--format", "{{.State.Running}}", self.name, check=False) == "true"

    def run(self, image: str, *, options: list[str], secrets: dict[str, str], command: list[str]) -> None:
        """Starts the container, making it at the first call. Secrets travel in docker's environment, not on its command line."""
        if self.is_running:
            return
        if self._docker("ps", "--all", "--quiet", "--filter", f"name=^{self.name}$"):
            self._docker("start", self.name)
            return
        named = [part for name in secrets for part in ("--env", name)]
        self._docker("run", "--detach", "--name", self.name, *named, *options, image, *command, environment=secrets)

    def stop(self) -> None:
        self._docker("stop", "--time", "20", self.name, check=False)

    def kill(self) -> None:
        self._docker("kill", self.name, check=False)

    def delete(self) -> None:
        self._docker("rm", "--force", "--volumes", self.name, check=False)
        self._docker("volume", "rm", "--force", self.name, check=False)

    def last_words(self) -> str:
        return self._docker("logs", "--tail", "12", self.name, check=False)


class _ContainerServer(ABC):
    """What both servers share: they are a container, and ready when they answer."""

    name: str
    log: Path | None = None

    def __init__(self, directory: Path, kind: str) -> None:
        self._container = _Container(directory, kind)

    @abstractmethod
    def _run(self) -> None:
        """Starts the container."""

    @abstractmethod
    def _not_ready(self) -> str | None:
        """None when the server answers, else why not."""

    @property
    def is_running(self) -> bool:
        """Whether the container runs now."""
        return self._container.is_running

    @property
    def condition(self) -> str:
        """Whether the container runs, in words for a person."""
        return f"running (container {self._container.name})" if self.is_running else "stopped"

    def start(self) -> str:
        """Starts the container and waits until the server in it answers; returns what was started, for a person."""
        self._run()
        reason = wait_until_answered(self._not_ready, is_alive=lambda: self.is_running, timeout_seconds=START_TIMEOUT_SECONDS)
        if reason is not None:
            raise LocalStackError(f"{self.name} did not start in its container: {reason}\n{self._container.last_words()}")
        return f"{self.name} in the container {self._container.name}"

    def stop(self) -> None:
        """Stops the container and keeps its data."""
        self._container.stop()

    def kill(self) -> None:
        """SIGKILL for the server, as a power failure of the process would."""
        self._container.kill()

    def wipe(self) -> None:
        """Deletes the container and its data and starts it again, empty, on the same port."""
        self.delete()
        self.start()

    def delete(self) -> None:
        """Deletes the container and its data."""
        self._container.delete()


class ContainerPostgres(_ContainerServer):
    """Postgres in a container, published on one loopback port."""

    name = "Postgres"

    def __init__(self, directory: Path, *, port: int, password: str) -> None:
        super().__init__(directory, "postgres")
        self._port = port
        self._password = password
        self.url = f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{port}/{DATABASE}"

    def _run(self) -> None:
        self._container.run(
            POSTGRES_IMAGE,
            options=["--publish", f"127.0.0.1:{self._port}:5432", "--volume", f"{self._container.name}:/var/lib/postgresql/data"],
            secrets={"POSTGRES_PASSWORD": self._password, "POSTGRES_USER": SUPERUSER, "POSTGRES_DB": DATABASE},
            command=[
                "postgres",
                "-c",
                "max_connections=200",
                "-c",
                "max_wal_size=4GB",
                "-c",
                "wal_compression=on",
                "-c",
                "jit=off",
            ],
        )

    def _not_ready(self) -> str | None:
        return wait_for(ask_postgres(self.url))


class ContainerRabbitMQ(_ContainerServer):
    """RabbitMQ in a container, its AMQP, management and metrics ports published on the loopback interface."""

    name = "RabbitMQ"

    def __init__(self, directory: Path, *, ports: BrokerPorts, password: str) -> None:
        super().__init__(directory, "rabbitmq")
        self._settings = directory / "rabbitmq-container"
        self._ports = ports
        self._password = password
        self.url = f"amqp://{ADMINISTRATOR}:{password}@127.0.0.1:{ports.amqp}/"
        self.management_url = f"http://{ADMINISTRATOR}:{password}@127.0.0.1:{ports.management}"
        self.prometheus_url = f"http://127.0.0.1:{ports.prometheus}/metrics"

    def _run(self) -> None:
        self._settings.mkdir(parents=True, exist_ok=True)
        (self._settings / "20-ordermesh.conf").write_text(SETTINGS)
        (self._settings / "enabled_plugins").write_text(f"[{','.join(PLUGINS)}].\n")
        published = ((self._ports.amqp, 5672), (self._ports.management, 15672), (self._ports.prometheus, 15692))
        self._container.run(
            RABBITMQ_IMAGE,
            options=[
                *(part for ours, theirs in published for part in ("--publish", f"127.0.0.1:{ours}:{theirs}")),
                *("--hostname", "ordermesh", "--volume", f"{self._container.name}:/var/lib/rabbitmq"),
                *("--volume", f"{self._settings}/20-ordermesh.conf:/etc/rabbitmq/conf.d/20-ordermesh.conf:ro"),
                *("--volume", f"{self._settings}/enabled_plugins:/etc/rabbitmq/enabled_plugins:ro"),
            ],
            secrets={"RABBITMQ_DEFAULT_USER": ADMINISTRATOR, "RABBITMQ_DEFAULT_PASS": self._password},
            command=[],
        )

    def _not_ready(self) -> str | None:
        return wait_for(ask_rabbitmq(self.url)) or ask_management(self.management_url)
