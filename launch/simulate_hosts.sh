#!/usr/bin/env bash
# Runs N processes with D CPU devices each on this machine, as a cluster would, with TCP over the loopback:
#   bash launch/simulate_hosts.sh 2 2 --config=configs/tiny_cpu.py --workdir=runs/two_by_two
# The flags are those of experiments.meta_train; another program runs if PROGRAM names it (PROGRAM='-m module').
# Ctrl-C and SIGTERM reach all processes. The exit status is the largest of theirs.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
if ! [[ "${1:-}" =~ ^[1-9][0-9]*$ && "${2:-}" =~ ^[1-9][0-9]*$ ]]; then
  echo "error: \`N D\`: expected the numbers of processes and of devices of each, got '${1:-} ${2:-}'" >&2
  echo "usage: simulate_hosts.sh N D [flags of experiments.meta_train]" >&2
  exit 1
fi
processes=$1 devices=$2
shift 2
python=${PYTHON:-.venv/bin/python}
port=${PORT:-$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')}
export JAX_COORDINATOR_ADDRESS=127.0.0.1:$port JAX_NUM_PROCESSES=$processes
export METASTYLE_GRACE=${METASTYLE_GRACE:-60} # seconds for a step and a save after SIGTERM
export JAX_NUM_CPU_DEVICES=$devices JAX_PLATFORMS=cpu
# XLA has as many threads as NPROC or devices, and divides convolutions among them, which shows in the last bits. With
# 8, up to 8 devices of a process compute the same bits as one.
cores=$(getconf _NPROCESSORS_ONLN)
export NPROC=${NPROC:-$((cores > 8 ? cores : 8))}

children=()
trap 'kill -TERM "${children[@]}" 2>/dev/null' TERM INT
for ((i = 0; i < processes; i++)); do
  # shellcheck disable=SC2086  # PROGRAM is several words
  JAX_PROCESS_ID=$i "$python" ${PROGRAM:--m experiments.meta_train} "$@" &
  children+=($!)
done

# Like a scheduler: once a process has failed, those that have not ended within GRACE seconds are killed.
worst=0 deadline=
while [ ${#children[@]} -gt 0 ]; do
  sleep 0.2
  left=()
  for child in "${children[@]}"; do
    if kill -0 "$child" 2>/dev/null; then
      left+=("$child")
    else
      wait "$child"
      status=$?
      ((status > worst)) && worst=$status
    fi
  done
  children=(${left[@]+"${left[@]}"})
  ((worst > 0)) && : "${deadline:=$((SECONDS + ${GRACE:-60}))}"
  if [ -n "$deadline" ] && ((SECONDS > deadline)); then
    kill -KILL ${children[@]+"${children[@]}"} 2>/dev/null
  fi
done
exit "$worst"
