"""Small JSON files that only their owner may read: ports, process records and passwords of one stack."""

import json
import os
import secrets
import threading
from pathlib import Path
from typing import Any

_writing = threading.Lock()


def read_record(path: Path) -> dict[str, Any]:
    """The record in `path`, or an empty one when the file is not there (or was cut short by a crash while being written)."""
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return content if isinstance(content, dict) else {}


def write_record(path: Path, content: dict[str, Any]) -> None:
    """Writes the record in one step (a reader sees the old or the new one), readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file, indent=2, sort_keys=True)
        file.write("\n")
    draft.replace(path)


def password_of(secrets_file: Path, group: str, name: str) -> str:
    """The password of one role or broker user of this stack, made at the first call and the same ever after.

    `group` is `database_roles`, `broker_users` or `operator`; `name` is the role, user or token it belongs to. Passwords are URL-safe.
    """
    with _writing:
        content = read_record(secrets_file)
        passwords = content.setdefault(group, {})
        if name not in passwords:
            passwords[name] = secrets.token_urlsafe(32)
            write_record(secrets_file, content)
        return str(passwords[name])
