#!/usr/bin/env bash
# Runs on all hosts of a Cloud TPU slice, from a machine with gcloud: bash launch/tpu_pod.sh
# Start it again after a preemption, and it continues the run. Exit status 75: the run stopped before it was complete.
set -euo pipefail

# Edit these lines: the slice, its zone; the checkout on its hosts; the experiment; a folder that all hosts share.
name=${TPU_NAME:-metastyle}
zone=${TPU_ZONE:-us-central2-b}
checkout=${METASTYLE:-metastyle}
flags=(--config=configs/default.py --workdir=/mnt/shared/runs/default)

# JAX finds the hosts by itself in the metadata of the slice. Before a preemption a step and a save have 25 s.
command="cd $(printf %q "$checkout") && METASTYLE_GRACE=25 exec .venv/bin/python -m experiments.meta_train $(printf '%q ' "${flags[@]}")"
exec gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all --command="$command"
