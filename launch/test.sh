#!/usr/bin/env bash
# Runs all tests; makes .venv first if there is none. Arguments go to pytest: launch/test.sh -k meta
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
exec "$python" -m pytest -q "$@"
