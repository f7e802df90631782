#!/usr/bin/env bash
# Checks the sources without running them: style, formatting, types, and which folder may import which.
# shellcheck source=launch/_env.sh
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
"$python" -m ruff check --quiet
"$python" -m ruff format --check --quiet
.venv/bin/basedpyright --level error
.venv/bin/lint-imports
