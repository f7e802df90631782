# shellcheck shell=bash
# Sourced by the other scripts: makes .venv once, and installs the package whenever pyproject.toml has changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=.venv/bin/python
stamp=.venv/installed-pyproject.toml
if [ ! -x "$python" ]; then
  for candidate in python3.12 python3.13 python3.11 python3; do
    # A shim of pyenv or asdf can be on the PATH without its version being installed, so each candidate is run.
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
      base=$candidate
      break
    fi
  done
  [ -n "${base:-}" ] || { echo "error: Python 3.11, 3.12 or 3.13 is needed; install one and run this again" >&2; exit 1; }
  echo "making .venv with $("$base" --version)"
  "$base" -m venv .venv || { rm -rf .venv; exit 1; }  # the next call would take a broken .venv for a complete one
fi
if ! cmp -s pyproject.toml "$stamp"; then
  echo "installing (a few minutes the first time)"
  "$python" -m pip install --quiet --disable-pip-version-check -e '.[dev,eval,onnx,test,video]'
  cp pyproject.toml "$stamp"
fi
