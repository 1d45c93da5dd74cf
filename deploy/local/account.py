"""Under which operating-system account Postgres runs, since it refuses to run as root.

An ordinary user runs it as himself. Root runs it, if the system allows it, in a user namespace in which root is called `nobody`: the
files stay root's, no account is needed, and a checkout in a home that only root may enter works. Where namespaces are forbidden (most
containers), it runs as the system user `postgres` (`ordermesh` is created if there is none), and whatever that user cannot reach is
placed under /var/lib/ordermesh.
"""

import hashlib
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from deploy.local.failure import LocalStackError

REACHABLE_DIRECTORY = Path("/var/lib/ordermesh")
SYSTEM_USER = "ordermesh"


@dataclass(frozen=True)
class Account:
    """How to start Postgres: what to put before its command, or which user and group to become; None stays who we are."""

    prefix: tuple[str, ...] = ()
    user: int | None = None
    group: int | None = None

    def can_use(self, programs: Path, directory: Path) -> bool:
        """Whether this account can run the programs and write to the directory."""
        question = 'test -w "$1" && test -x "$1" && "$2/postgres" --version && "$2/initdb" --version'
        try:
            answer = subprocess.run(
                [*self.prefix, "sh", "-c", question, "sh", str(directory), str(programs)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                user=self.user,
                group=self.group,
                extra_groups=None if self.user is None else [],
                check=False,
            )
        except (FileNotFoundError, PermissionError):
            return False
        return answer.returncode == 0

    def own(self, path: Path) -> None:
        """Gives the directory and all that is in it to this account."""
        if self.user is None or self.group is None:
            return
        os.chown(path, self.user, self.group)
        for parent, directories, files in os.walk(path):
            for name in (*directories, *files):
                os.chown(Path(parent) / name, self.user, self.group, follow_symlinks=False)


@dataclass(frozen=True)
class Placement:
    """Who runs Postgres, with which programs, and where its files are."""

    account: Account
    programs: Path
    directory: Path


def _namespace_account() -> Account:
    nobody = pwd.getpwnam("nobody")
    return Account(prefix=("unshare", "--user", f"--map-user={nobody.pw_uid}", f"--map-group={nobody.pw_gid}", "--"))


def _system_account() -> Account:
    for name in ("postgres", SYSTEM_USER):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(user=entry.pw_uid, group=entry.pw_gid)
    if not shutil.which("useradd"):
        raise LocalStackError(f"Postgres refuses to run as root: run as an ordinary user, or create a system user named {SYSTEM_USER}")
    subprocess.run(["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER], check=True)
    return _system_account()


def place_postgres(programs: Path, directory: Path) -> Placement:
    """Decides account, programs and directory for a Postgres whose files should be in `directory` (created if missing)."""
    if os.geteuid() != 0:
        directory.mkdir(parents=True, exist_ok=True)
        return Placement(Account(), programs, directory)
    if not directory.is_symlink():
        directory.mkdir(parents=True, exist_ok=True)
        namespace = _namespace_account()
        if directory.stat().st_uid == 0 and namespace.can_use(programs, directory):
            return Placement(namespace, programs, directory)
    account = _system_account()
    if not directory.is_symlink():
        account.own(directory)
        if account.can_use(programs, directory):
            return Placement(account, programs, directory)
    return _place_in_reach(account, programs, directory)


def _place_in_reach(account: Account, programs: Path, directory: Path) -> Placement:
    """Puts the files, and the programs if need be, where every account can enter; `directory` becomes a link to them."""
    reachable = REACHABLE_DIRECTORY / hashlib.sha256(str(directory.absolute()).encode()).hexdigest()[:16]
    reachable.mkdir(parents=True, exist_ok=True, mode=0o755)
    if not directory.is_symlink():
        directory.rmdir()
        directory.symlink_to(reachable)
    account.own(reachable)
    if not account.can_use(programs, reachable):
        programs = _copy_in_reach(programs)
    if not account.can_use(programs, reachable):
        raise LocalStackError(f"Postgres refuses to run as root and no other account can use {reachable}: run as an ordinary user")
    return Placement(account, programs, reachable)


def _copy_in_reach(programs: Path) -> Path:
    """Copies the installation that `programs` belongs to, once, and returns where its programs are now.

    A wheel keeps the libraries that its programs load in a directory beside the package (NAME.libs): both keep their places.
    """
    installation = programs.parent
    package = installation.parent
    libraries = package.with_name(f"{package.name}.libs")
    state = (programs / "postgres").stat()
    identity = hashlib.sha256(f"{installation} {state.st_size} {state.st_mtime_ns}".encode()).hexdigest()[:16]
    copy = REACHABLE_DIRECTORY / "programs" / identity
    if not copy.exists():
        draft = copy.with_suffix(f".{os.getpid()}")
        shutil.copytree(installation, draft / package.name / installation.name, symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, draft / libraries.name, symlinks=True)
        draft.chmod(0o755)
        draft.rename(copy)
    return copy / package.name / installation.name / programs.name
