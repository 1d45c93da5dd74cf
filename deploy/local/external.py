"""Servers that somebody else runs (DATABASE_URL, AMQP_URL): used as they are, never started, stopped or emptied by the stack."""

from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit, urlunsplit

from deploy.local.failure import LocalStackError
from deploy.local.postgres import ask_postgres
from deploy.local.rabbitmq import ask_rabbitmq
from deploy.local.waiting import wait_for

MANAGEMENT_PORT = 15672


class ExternalServer:
    """What both kinds of given servers share: the stack may look, not touch."""

    name = "server"
    log: Path | None = None

    def __init__(self, url: str, variable: str) -> None:
        self.url = url
        self._variable = variable

    @property
    def is_running(self) -> bool:
        """Assumed: the stack does not watch over a server that it was given."""
        return True

    @property
    def condition(self) -> str:
        """Whose it is; whether it runs, its owner knows."""
        return f"given by {self._variable}"

    @property
    def description(self) -> str:
        """Where the server is, without its credentials."""
        parts = urlsplit(self.url)
        return f"{self.name} at {parts.hostname}:{parts.port or 'its default port'}, given by {self._variable}"

    def _unusable(self, reason: str) -> LocalStackError:
        return LocalStackError(
            f"the {self.name} of {self._variable} cannot be used: {reason} "
            f"(correct {self._variable}, or unset it and say `make down`: the next start has a server of its own)"
        )

    def stop(self) -> None:
        """Leaves the server alone."""

    def kill(self) -> NoReturn:
        """Refuses: a server that others may use is not killed."""
        raise LocalStackError(f"{self.name} was given by {self._variable}; only a server that the stack started can be killed or wiped")

    def wipe(self) -> NoReturn:
        """Refuses: the data of a server that others may use is not deleted."""
        self.kill()

    def delete(self) -> None:
        """Leaves the server's data alone."""


class ExternalPostgres(ExternalServer):
    """A Postgres given by DATABASE_URL, whose role must be allowed to create roles and schemas in the database that the URL names."""

    name = "Postgres"

    def start(self) -> str:
        """Checks that the server answers; raises LocalStackError with what it said if not."""
        reason = wait_for(ask_postgres(self.url))
        if reason is not None:
            raise self._unusable(reason)
        return self.description


class ExternalRabbitMQ(ExternalServer):
    """A RabbitMQ given by AMQP_URL, whose user must be an administrator; RABBITMQ_MANAGEMENT_URL says where its management API is."""

    name = "RabbitMQ"

    def __init__(self, url: str, variable: str, management_url: str | None) -> None:
        super().__init__(url, variable)
        parts = urlsplit(url)
        credentials = parts.netloc.rpartition("@")[0]
        place = f"{credentials}@{parts.hostname}:{MANAGEMENT_PORT}" if credentials else f"{parts.hostname}:{MANAGEMENT_PORT}"
        self.management_url = management_url or urlunsplit(("http", place, "", "", ""))
        self.prometheus_url: str | None = None

    def start(self) -> str:
        """Checks that the broker answers; raises LocalStackError with what it said if not."""
        reason = wait_for(ask_rabbitmq(self.url))
        if reason is not None:
            raise self._unusable(reason)
        return self.description
