#!/usr/bin/env bash
# Resolves pyproject.toml into the two lock files: every version pinned, every file's hash, for Python 3.11 and newer on every system.
# They name no index and no address, so that they install from whatever index or mirror a machine uses.
set -euo pipefail
cd "$(dirname "$0")/../.."

tools=.local/lock-tools
[ -x "$tools/bin/uv" ] || { .venv/bin/python -m venv "$tools" && "$tools/bin/python" -m pip install --quiet --disable-pip-version-check uv; }

lock() { # lock FILE EXTRA...
  local file=$1 extras=() extra
  shift
  for extra in "$@"; do extras+=(--extra "$extra"); done
  "$tools/bin/uv" pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
    --no-annotate "${extras[@]}" --output-file "$file" pyproject.toml >/dev/null
  if grep -nE 'https?://|file:|--find-links|--index-url' "$file"; then
    echo "$file names an address (above); nothing but names, versions and hashes belongs in it" >&2
    exit 1
  fi
  printf '  %-24s %s packages\n' "$file" "$(grep -c '^[a-z].*==' "$file")"
}

lock requirements.lock local
lock requirements-dev.lock local dev
