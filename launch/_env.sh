# shellcheck shell=bash
# Sourced by demo.sh and test.sh: makes .venv once, and installs the package when pyproject.toml has changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=.venv/bin/python
stamp=.venv/installed-pyproject.toml
if [ ! -x "$python" ]; then
  for candidate in python3.12 python3.11 python3; do
    if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'; then
      base=$candidate
      break
    fi
  done
  [ -n "${base:-}" ] || { echo "error: Python 3.11, 3.12 or 3.13 is needed; install one and run this again" >&2; exit 1; }
  echo "making .venv with $("$base" --version)"
  "$base" -m venv .venv || { rm -rf .venv; exit 1; }  # what is left of one would be taken for it the next time
fi
if ! cmp -s pyproject.toml "$stamp"; then
  echo "installing (a few minutes the first time)"
  "$python" -m pip install --quiet --disable-pip-version-check -e '.[eval,onnx,test]'
  cp pyproject.toml "$stamp"
fi
