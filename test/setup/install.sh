#!/usr/bin/env bash
# Installs what the system tests need beyond npm's packages, and says what it does:
#   - the Go test programs (test/apps, test/codec), built into test/.cache/bin when their sources changed;
#   - the recorder of what a process does to files (test/power), by gcc;
#   - etcd-server, by apt-get where this runs as root;
#   - zstd, and systemd-analyze, which judges the units of packaging/, likewise;
#   - the servers that the replicas' tests talk to (servers.sh);
#   - schemathesis, which fuzzes the API (schemathesis.sh);
#   - SST's types and components, which infra is checked and evaluated with (sst.sh).
# Does nothing, in a tenth of a second, when all is there. Ends with 1 and a list when something cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."
bin="$PWD/.cache/bin"
missing=()

say() { echo "setup: $*"; }

apt_install() {
  local attempt
  for attempt in 1 2 3; do
    if DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >.cache/apt.log 2>&1; then
      return 0
    fi
    say "apt-get update (attempt $attempt)"
    DEBIAN_FRONTEND=noninteractive apt-get update -q >>.cache/apt.log 2>&1 || sleep $((attempt * 3))
  done
  tail -n 5 .cache/apt.log >&2
  return 1
}

# build_go DIRECTORY NAME: builds a Go module of test/ into the cache, when its sources changed.
build_go() {
  if ! command -v go >/dev/null; then
    missing+=("go 1.25 or newer, to build test/$1 (https://go.dev/dl)")
    return
  fi
  local stamp attempt
  stamp="$(cat "$1"/go.mod "$1"/go.sum "$1"/*.go | sha256sum | cut -d' ' -f1)"
  if [[ -x "$bin/$2" && "$(cat "$bin/$2.stamp" 2>/dev/null)" == "$stamp" ]]; then
    return
  fi
  say "building test/$1"
  for attempt in 1 2 3; do
    if (cd "$1" && CGO_ENABLED=0 go build -trimpath -buildvcs=false -o "$bin/$2.$$" .); then
      mv "$bin/$2.$$" "$bin/$2"
      echo "$stamp" >"$bin/$2.stamp"
      return
    fi
    sleep $((attempt * 3))
  done
  missing+=("test/$1: go build failed, see above")
}

# The library that test/power loads into agent and host.
build_recorder() {
  local stamp
  if ! command -v gcc >/dev/null; then
    missing+=("gcc, to build test/power/trace.c (Debian: apt-get install gcc libc6-dev)")
    return
  fi
  stamp="$(sha256sum <power/trace.c | cut -d' ' -f1)"
  [[ -e "$bin/trace.so" && "$(cat "$bin/trace.so.stamp" 2>/dev/null)" == "$stamp" ]] && return
  say "building test/power/trace.c"
  if gcc -O2 -Wall -Wextra -Werror -shared -fPIC -o "$bin/trace.so.$$" power/trace.c -lpthread; then
    mv "$bin/trace.so.$$" "$bin/trace.so"
    echo "$stamp" >"$bin/trace.so.stamp"
    return
  fi
  missing+=("test/power/trace.c: gcc failed, see above")
}

# The server of the distribution; the tests start it themselves, so a service that the package starts is left alone.
install_etcd() {
  command -v etcd >/dev/null && return
  if [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
    say "apt-get install etcd-server"
    apt_install etcd-server && return
  fi
  missing+=("etcd (Debian: apt-get install etcd-server)")
}

# The command that docs/restore-by-hand/restore.py decompresses with.
install_zstd() {
  command -v zstd >/dev/null && return
  if [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
    say "apt-get install zstd"
    apt_install zstd && return
  fi
  missing+=("zstd (Debian: apt-get install zstd)")
}

# Nothing of systemd runs for it: the package has the program that reads units.
install_systemd() {
  command -v systemd-analyze >/dev/null && return
  if [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
    say "apt-get install systemd"
    apt_install systemd && return
  fi
  missing+=("systemd-analyze, of systemd 250 or newer (Debian: apt-get install systemd)")
}

need() {
  command -v "$1" >/dev/null || missing+=("$1 ($2)")
}

# shellcheck source=servers.sh
source setup/servers.sh
# shellcheck source=schemathesis.sh
source setup/schemathesis.sh

mkdir -p "$bin"
build_go apps boltapp
build_go codec goreader
build_recorder
install_etcd
install_servers
install_schemathesis
install_zstd
install_systemd
bash setup/sst.sh || missing+=("SST's platform: see above")
need python3 "Debian: apt-get install python3; runs docs/restore-by-hand/restore.py"
need curl "Debian: apt-get install curl; downloads what a host restores"
need setpriv "Debian: apt-get install util-linux; runs an agent as another user"
need mount "Debian: apt-get install mount; a small tmpfs stands for a full disk"

if [[ ${#missing[@]} -gt 0 ]]; then
  say "missing:" >&2
  printf '  - %s\n' "${missing[@]}" >&2
  exit 1
fi
