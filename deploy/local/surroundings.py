"""The addresses and secrets of one stack, from which every process's settings are made."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from deploy.local.failure import LocalStackError
from deploy.local.ports import choose_ports
from deploy.local.process_table import ProcessDescription, broker_users, database_roles, partners_document
from deploy.local.record import read_record, write_record
from deploy.local.stack import Stack


class StackSurroundings:
    """Implements process_table.Surroundings for a stack; ports and secrets are chosen once and kept in its directory."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._ports_file = stack.directory / "process-ports.json"

    @property
    def directory(self) -> Path:
        """The stack's directory."""
        return self._stack.directory

    @property
    def partners_file(self) -> Path:
        """Who the partners are; written by `write_files`."""
        return self._stack.directory / "partners.json"

    def port(self, name: str) -> int:
        """The port of that name; raises LocalStackError when no process of the table has one."""
        port = read_record(self._ports_file).get(name)
        if port is None:
            raise LocalStackError(f"no process in {self._stack.directory} has a port named {name!r}")
        return int(port)

    def url(self, name: str) -> str:
        """The HTTP address of a process, without a path."""
        return f"http://127.0.0.1:{self.port(name)}"

    def secret(self, name: str) -> str:
        """A random string of 43 characters that is made once for this stack."""
        return self._stack.password("secrets", name)

    def database_url(self, role: str) -> str:
        """The database, for one role."""
        return _with_credentials(self._stack.postgres.url, role, self._stack.password("database_roles", role))

    def amqp_url(self, user: str) -> str:
        """The broker, for one user."""
        return _with_credentials(self._stack.rabbitmq.url, user, self._stack.password("broker_users", user))

    def choose_ports(self, processes: Mapping[str, ProcessDescription], *, running: Iterable[str]) -> None:
        """Sees to it that every process of the table has its ports: those of the last time where they are free or its own."""
        remembered: dict[str, int] = read_record(self._ports_file)
        kept = set(running)
        wanted = [
            port
            for name, description in processes.items()
            for port in (name, *(f"{name}_{more}" for more in description.more_ports))
            if name not in kept or port not in remembered
        ]
        taken = {port: number for port, number in remembered.items() if port not in wanted}
        write_record(self._ports_file, {**taken, **choose_ports(wanted, remembered)})

    def write_files(self) -> None:
        """Writes the partners file, and a password for every role and user that migrations and topology will create."""
        for role in database_roles():
            self._stack.password("database_roles", role)
        for user in broker_users():
            self._stack.password("broker_users", user)
        write_record(self.partners_file, partners_document(self))


def _with_credentials(url: str, user: str, password: str) -> str:
    """The same server's address for another user."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{place}"))
