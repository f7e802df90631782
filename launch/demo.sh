#!/usr/bin/env bash
# Meta-trains a small generator on procedural pictures (minutes on two cores), fits it to a van Gogh, and names the
# pictures that it wrote. Stopped, it goes on where it was.
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
"$python" -m experiments.meta_train --config=configs/tiny_cpu.py --workdir=runs/demo "$@"
"$python" -m experiments.demo --bundle=runs/demo/bundle --out=runs/demo
