#!/usr/bin/env bash
# What SST makes of its own beside sst.config.ts: its types and components, from npm alone, without a cloud account. Kept in test/.cache,
# and linked to where `sst` expects it, unless somebody who deploys has one already.
set -euo pipefail
cd "$(dirname "$0")/../.."
cache=test/.cache/.sst
version="$(node -p 'require("./node_modules/sst/package.json").version')"

[[ -e .sst ]] || { mkdir -p "$cache" && ln -sfn "$cache" .sst; }
if [[ "$(cat .sst/installed 2>/dev/null)" == "$version" && -d .sst/platform/node_modules ]]; then
  exit 0
fi
echo "setup: sst install ($version)"
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
for attempt in 1 2 3; do
  # No download of engines or of bun, no account, nothing told to anybody.
  if SST_TELEMETRY_DISABLED=1 DO_NOT_TRACK=1 SST_SKIP_DEPENDENCY_CHECK=1 SST_NO_BUN=1 SST_STAGE=test \
    XDG_CONFIG_HOME="$PWD/test/.cache/sst-home" npx --no-install sst install >"$log" 2>&1; then
    echo "$version" >.sst/installed
    exit 0
  fi
  sleep $((attempt * 3))
done
cat "$log" >&2
exit 1
