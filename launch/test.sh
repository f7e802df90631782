#!/usr/bin/env bash
# Checks the sources (launch/check.sh), then runs all tests in two processes and prints how much of the code they cover.
# Makes .venv first if it is missing. With arguments, which go to pytest, it only runs the tests:
#   bash launch/test.sh -m "not slow"
#   bash launch/test.sh -k meta
# shellcheck source=launch/_env.sh
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
if [ $# -eq 0 ]; then
  bash launch/check.sh
  set -- --cov --cov-report=
fi
exec "$python" -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder "$@"
