#!/usr/bin/env bash
# Fits the generator in the package to a van Gogh and to a synthetic style, and prints the names of the pictures.
# shellcheck source=launch/_env.sh
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
"$python" -m experiments.demo --out=runs/demo "$@"
