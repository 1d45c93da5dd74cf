"""The official AsyncAPI 3.0 schema, fetched once by npm into .local/ (nothing of it is checked in)."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "@asyncapi/specs"
VERSION = "6.11.1"
SCHEMA_SHA256 = "d4571a420e6ffb7fcc7066c95a6db1202f299a3c51daa103d0706bf30f95e626"


@pytest.fixture(scope="session")
def asyncapi_schema() -> dict[str, Any]:
    """The JSON Schema that the AsyncAPI initiative publishes for version 3.0.0, with all definitions bundled."""
    folder = ROOT / ".local" / "npm" / f"asyncapi-specs-{VERSION}"
    file = folder / "node_modules" / PACKAGE / "schemas" / "3.0.0.json"
    if not file.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip(f"npm is not installed: the official AsyncAPI schema ({PACKAGE} {VERSION}) cannot be fetched")
        folder.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--prefix", str(folder), "--no-save", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run([*command, f"{PACKAGE}@{VERSION}"], capture_output=True, text=True, check=False, timeout=120)
        if done.returncode != 0:
            pytest.skip(f"npm could not fetch {PACKAGE} {VERSION}: {done.stderr.strip().splitlines()[-1:]}")
    content = file.read_bytes()
    assert hashlib.sha256(content).hexdigest() == SCHEMA_SHA256, "this is not the official schema that these tests were written against"
    schema: dict[str, Any] = json.loads(content)
    return schema
