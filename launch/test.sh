#!/usr/bin/env bash
# Runs all tests, in two processes; makes .venv first if there is none. Arguments go to pytest: launch/test.sh -k meta
# shellcheck source=launch/_env.sh
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
exec "$python" -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder "$@"
