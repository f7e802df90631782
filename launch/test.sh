#!/usr/bin/env bash
# Checks the sources (launch/check.sh), then runs all tests in two processes. Makes .venv first if it is missing.
# With arguments, which go to pytest, it only runs the tests: launch/test.sh -m "not slow"; launch/test.sh -k meta
# shellcheck source=launch/_env.sh
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
[ $# -gt 0 ] || bash launch/check.sh
exec "$python" -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder "$@"
