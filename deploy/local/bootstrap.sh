#!/usr/bin/env bash
# Makes .venv from the hash-locked requirements. Instant when it is up to date: the stamp names the lock's digest, the
# interpreter and the place (a venv does not survive being copied elsewhere).
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD lock=requirements-dev.lock venv=.venv log=.local/logs/venv.log

say() { printf '  %s\n' "$*" >&2; }
fail() { printf 'ordermesh: %s\n' "$*" >&2; exit 1; }
is_new_enough() { "$1" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null; }
can_make_venv() { "$1" -c 'import venv, ensurepip' 2>/dev/null; }
digest() { "$1" -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "$2"; }
stamp_of() { printf '%s %s %s\n' "$(digest "$1" "$lock")" "$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" "$root"; }

is_up_to_date() {
  [ -x "$venv/bin/python" ] && [ -f "$venv/stamp" ] && [ "$(stamp_of "$venv/bin/python" 2>/dev/null)" = "$(cat "$venv/stamp")" ]
}

find_python() {
  local name
  for name in python3.13 python3.12 python3.11 python3; do
    if command -v "$name" >/dev/null && is_new_enough "$name" && { [ "${1:-}" = any ] || can_make_venv "$name"; }; then
      printf '%s' "$name"
      return
    fi
  done
}

install_debian_venv() {
  local sudo=()
  command -v apt-get >/dev/null || return 1
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null && sudo -n true 2>/dev/null || return 1
    sudo=(sudo -n)
  fi
  say "installing Debian's $*"
  { "${sudo[@]}" apt-get update -qq; "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"; } >>"$log" 2>&1
}

is_up_to_date && exit 0
mkdir -p .local/logs
if command -v flock >/dev/null; then # two commands at once make one venv
  exec 9>.local/venv.lock
  flock 9
  is_up_to_date && exit 0
fi

python=$(find_python)
if [ -z "$python" ]; then
  old=$(find_python any)
  package=${old:+$("$old" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')}
  install_debian_venv "${package:-python3-venv}" || install_debian_venv python3-venv python3 || true
  python=$(find_python)
fi
[ -n "$python" ] || fail "Python 3.11 or newer with its venv module is needed (Debian/Ubuntu: apt-get install python3 python3-venv; macOS: brew install python@3.13)"

say "making .venv with $("$python" --version)"
"$python" -m venv --clear "$venv" >>"$log" 2>&1 || fail "the venv could not be made; log: $root/$log"
say "installing $(grep -c '^[a-z].*==' "$lock") locked packages, hashes checked (about a minute the first time)"
PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore "$venv/bin/python" -m pip install --quiet --require-hashes -r "$lock" >>"$log" 2>&1 ||
  { tail -n 12 "$log" >&2; fail "the packages could not be installed; log: $root/$log"; }
stamp_of "$venv/bin/python" >"$venv/stamp"
