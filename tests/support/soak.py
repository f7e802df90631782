"""Kills a tiny run at random moments, continues it each time, and compares it with one that was left alone.

python -m tests.support.soak --kills=20     (a few minutes; exit status 1 if a single bit differs)
"""

import csv
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from absl import flags
from tqdm import tqdm

from metastyle.cli.app import run
from metastyle.errors import InputError
from metastyle.meta import outer_loop
from metastyle.train import checkpoint
from tests.support import toy_train

_KILLS = flags.DEFINE_integer("kills", 20, "how many kills", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 200, "steps of the run", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "seed of the moments")


def start(workdir: Path) -> subprocess.Popen:
    arguments = [f"run.steps={_STEPS.value}", "run.checkpoint_every=3", "pause=0.05"]
    line = [sys.executable, "-m", "tests.support.toy_train", str(workdir), *arguments]
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def end_of(workdir: Path) -> tuple[list, list[np.ndarray]]:
    """The rows of metrics.csv, and the state in the last checkpoint."""
    with open(workdir / "metrics.csv", newline="") as file:
        rows = list(csv.reader(file))
    settings = toy_train.settings({"run": {"steps": _STEPS.value}})
    template = jax.tree.map(np.asarray, outer_loop.initial_state(settings))
    with checkpoint.Checkpoints(workdir / "checkpoints") as saved:
        state = saved.restore(_STEPS.value, template, jax.sharding.SingleDeviceSharding(jax.devices()[0]))
    return rows, [np.asarray(x) for x in jax.tree.leaves(state)]


def main(_: list[str]) -> int:
    rng, folder = random.Random(_SEED.value), Path(tempfile.mkdtemp(prefix="metastyle-soak-"))
    if start(folder / "whole").wait():
        raise InputError(f"`soak`: the run that was left alone failed; look at {folder / 'whole'}")
    moments = sorted((rng.randrange(_STEPS.value), rng.uniform(0, 0.3)) for _ in range(_KILLS.value))
    killed = 0
    for i, (step, delay) in enumerate(tqdm(moments, unit="kill")):
        process = start(folder / "killed")
        while process.poll() is None and toy_train.last_row(folder / "killed") < step:
            time.sleep(0.01)
        time.sleep(delay)
        process.send_signal(signal.SIGTERM if i % 4 == 3 else signal.SIGKILL)
        killed += process.wait() != 0
    if start(folder / "killed").wait():
        raise InputError(f"`soak`: the killed run cannot be continued; look at {folder / 'killed'}")
    (rows, state), (rows_, state_) = end_of(folder / "whole"), end_of(folder / "killed")
    same = rows == rows_ and all(np.array_equal(a, b) for a, b in zip(state, state_, strict=True))
    left = [path.name for path in (folder / "killed/checkpoints").iterdir() if not path.name.isdigit()]
    told = f"killed {killed} times over {_STEPS.value} steps, bits that differ from the run left alone: "
    print(told + ("none" if same else f"some; look at {folder}") + f"; left over: {left or 'nothing'}")
    return 0 if same and not left else 1


if __name__ == "__main__":
    run(main)
