"""The stack's private Postgres: real durability, one database `ordermesh`, passwords over loopback TCP, no socket file."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import asyncpg
import psutil

from deploy.local.account import Placement, place_postgres
from deploy.local.failure import LocalStackError, last_lines
from deploy.local.installation import find_postgres_programs
from deploy.local.running import MEMBER_VARIABLE, condition_of, find_process, kill_process, start_process, stop_process
from deploy.local.waiting import nobody_listens, wait_for, wait_until_ready

DATABASE = "ordermesh"
SUPERUSER = "postgres"
START_TIMEOUT_SECONDS = 60.0
STOP_GRACE_SECONDS = 30.0
MEBIBYTE = 1024 * 1024


async def ask_postgres(url: str) -> str | None:
    """None when the server at `url` answers a query, else what it (or the network) said instead."""
    try:
        connection = await asyncpg.connect(url, timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return str(error) or type(error).__name__
    try:
        await connection.fetchval("SELECT 1")
    finally:
        await connection.close()
    return None


class PrivatePostgres:
    """One Postgres server whose files are under `directory`/postgres and which listens on 127.0.0.1 only."""

    name = "Postgres"

    def __init__(self, directory: Path, *, port: int, password: str) -> None:
        self._directory = directory
        self._port = port
        self._password = password
        self._record = directory / "run" / "postgres.json"
        self.log = directory / "logs" / "postgres.log"

    @property
    def url(self) -> str:
        """The superuser's address of the database `ordermesh`."""
        return self._url_of(DATABASE)

    def _url_of(self, database: str) -> str:
        return f"postgresql://{SUPERUSER}:{self._password}@127.0.0.1:{self._port}/{database}"

    @property
    def process(self) -> psutil.Process | None:
        """The server's main process while it runs."""
        return find_process(self._record)

    @property
    def is_running(self) -> bool:
        """Whether the server runs now."""
        return self.process is not None

    @property
    def condition(self) -> str:
        """Whether it runs, in words for a person."""
        return condition_of(self._record)

    def start(self) -> str:
        """Starts the server (making the database at the first start) unless it runs; returns what was started, for a person."""
        data = self._directory / "postgres" / "data"
        placement = place_postgres(find_postgres_programs(_major_of(data)), self._directory / "postgres")
        if self.process is None:
            if _major_of(placement.directory / "data") is None:
                self._initialise(placement)
            self._configure(placement)
            start_process(
                self._record,
                [*placement.account.prefix, placement.programs / "postgres", "-D", placement.directory / "data"],
                log=self.log,
                environment=self._environment(),
                working_directory=placement.directory,
                user=placement.account.user,
                group=placement.account.group,
            )
        wait_until_ready(self.name, self._not_ready, record=self._record, log=self.log, timeout_seconds=START_TIMEOUT_SECONDS)
        wait_for(self._create_database())
        return f"Postgres {_major_of(placement.directory / 'data')} on 127.0.0.1:{self._port}"

    def stop(self) -> None:
        """Stops the server: a fast shutdown (open transactions are rolled back), by force after 30 seconds."""
        stop_process(self._record, polite_signal=signal.SIGINT, grace_seconds=STOP_GRACE_SECONDS)

    def kill(self) -> None:
        """SIGKILL for the server and all its backends, as a power failure of the process would."""
        kill_process(self._record)

    def wipe(self) -> None:
        """Kills the server, deletes all its data and starts it again, empty, on the same port."""
        self.delete()
        self.start()

    def delete(self) -> None:
        """Kills the server and deletes all its files, also where those of root's server are kept outside of `directory`."""
        self.kill()
        place = self._directory / "postgres"
        shutil.rmtree(place.resolve(), ignore_errors=True)
        if place.is_symlink():
            place.unlink()

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return {**kept, MEMBER_VARIABLE: str(self._directory), "TZ": "UTC"}

    def _initialise(self, placement: Placement) -> None:
        data = placement.directory / "data"
        shutil.rmtree(data, ignore_errors=True)
        password_file = placement.directory / "superuser-password"
        password_file.touch(mode=0o600)
        password_file.write_text(self._password + "\n")
        placement.account.own(placement.directory)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        initialise = [placement.programs / "initdb", "--pgdata", data, "--username", SUPERUSER, "--pwfile", password_file]
        choices = ["--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale", "--data-checksums"]
        with self.log.open("ab") as output:
            finished = subprocess.run(
                [*placement.account.prefix, *(str(part) for part in initialise), *choices],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment(),
                cwd=placement.directory,
                user=placement.account.user,
                group=placement.account.group,
                extra_groups=None if placement.account.user is None else [],
                check=False,
            )
        password_file.unlink()
        if finished.returncode != 0:
            raise LocalStackError(f"Postgres could not make its database files; log: {self.log}\n{last_lines(self.log)}")

    def _configure(self, placement: Placement) -> None:
        """Writes the settings of this start. Durability stays at Postgres's defaults: fsync and synchronous_commit are on."""
        data = placement.directory / "data"
        memory_bytes = psutil.virtual_memory().total
        free_disk_bytes = shutil.disk_usage(data).free
        settings = {
            "listen_addresses": "'127.0.0.1'",
            "port": str(self._port),
            "unix_socket_directories": "''",
            "max_connections": "200",
            "shared_buffers": f"{min(512, memory_bytes // MEBIBYTE // 8)}MB",
            "effective_cache_size": f"{memory_bytes // MEBIBYTE // 2}MB",
            "max_wal_size": f"{max(256, min(4096, free_disk_bytes // MEBIBYTE // 8))}MB",
            "wal_compression": "on",
            "checkpoint_timeout": "15min",
            "random_page_cost": "1.1",
            "jit": "off",
            "password_encryption": "'scram-sha-256'",
            "timezone": "'UTC'",
            "log_timezone": "'UTC'",
            "log_line_prefix": "'%m [%p] %q%u@%d '",
        }
        (data / "ordermesh.conf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        main_settings = data / "postgresql.conf"
        include = "include 'ordermesh.conf'\n"
        if include not in main_settings.read_text():
            with main_settings.open("a") as file:
                file.write(include)
        placement.account.own(data)

    def _not_ready(self) -> str | None:
        return nobody_listens(self._port) or wait_for(ask_postgres(self._url_of("postgres")))

    async def _create_database(self) -> None:
        connection = await asyncpg.connect(self._url_of("postgres"), timeout=10)
        try:
            if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", DATABASE):
                await connection.execute("CREATE DATABASE ordermesh")
        finally:
            await connection.close()


def _major_of(data: Path) -> int | None:
    """The Postgres version that made these files, or None when there are none (a half-made directory has no version file)."""
    try:
        return int((data / "PG_VERSION").read_text())
    except FileNotFoundError:
        return None
