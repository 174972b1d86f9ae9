# The tool that fuzzes the host by its own OpenAPI document (api-fuzz.test.ts). Sourced by install.sh after servers.sh, which gives attempts.
# Some twenty seconds once; it lies in test/.cache/schemathesis.

schemathesis_version=4.32.5

install_schemathesis() {
  local home="$PWD/.cache/schemathesis"
  [[ "$(cat "$home/ready" 2>/dev/null)" == "$schemathesis_version" ]] && return
  if ! command -v python3 >/dev/null; then
    missing+=("schemathesis $schemathesis_version: needs python3 with venv (Debian: apt-get install python3-venv)")
    return
  fi
  say "pip install schemathesis $schemathesis_version (half a minute, once)"
  rm -rf "$home"
  if python3 -m venv "$home" &&
    attempts "$home/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$schemathesis_version"; then
    echo "$schemathesis_version" >"$home/ready"
  else
    rm -rf "$home"
    missing+=("schemathesis $schemathesis_version: python3 -m venv or pip install failed, see above")
  fi
}
