"""What whole commands take, started as a user starts them: imports, a small training, an adaptation."""

import dataclasses
import functools
import os
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np

from metastyle import config
from metastyle.benchmark import Numbers, timing
from metastyle.errors import InputError, one_line
from metastyle.evaluate import evaluation
from metastyle.evaluate.results import BOUNDS
from metastyle.evaluate.starts import load_starts
from metastyle.stylize import stylizer
from metastyle.system import files, paths
from metastyle.system.machine import run_process
from metastyle.weights import bundles

_META_TRAIN = ("-m", "experiments.meta_train", "--config=configs/tiny_cpu.py")
_JUDGED_PAIRS = 8
# This must be a string: a module of the package could only start its clock when `metastyle` is imported already.
_IMPORT = (
    "import sys, time; began = time.perf_counter(); import metastyle; print(time.perf_counter() - began); "
    "assert not {'jax', 'orbax', 'tensorflow_datasets'} & set(sys.modules)"
)


def time_import() -> Numbers:
    """Times `import metastyle` in a fresh Python; it starts no JAX backend, since it doesn't even import jax."""
    runs = [subprocess.run([sys.executable, "-c", _IMPORT], check=True, capture_output=True) for _ in range(5)]
    return {"import metastyle, s": float(np.median([float(run.stdout) for run in runs]))}


def _time_python(*arguments: str, **environment: str) -> float:
    """Returns the seconds that a new Python takes with these arguments. Raises InputError if it fails."""
    began = time.perf_counter()
    line = [sys.executable, *arguments]
    done = run_process(line, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise InputError(f"{' '.join(arguments)} exited with {done.returncode}: {one_line(done.stderr[-500:])}")
    return time.perf_counter() - began


def time_tiny() -> Numbers:
    """Runs `tiny_cpu` from nothing: wall time with a cold compile cache, and peak memory."""
    with files.temporary_folder() as folder:
        seconds = _time_python(*_META_TRAIN, f"--workdir={folder}/run", METASTYLE_CACHE=f"{folder}/cache")
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return {"wall, s": seconds, "peak memory, GiB": peak}


def time_adaptation() -> Numbers:
    """Times 10 steps from the start in the package to the style in the package, at 128 and at 256 px.

    The whole command is timed with a cold and with a warm compile cache; the call from Python once it is compiled.
    """
    bundle = bundles.load_bundle(config.DEFAULT_BUNDLE)
    style, calls = paths.demo_pictures("styles")[0], {}
    out: dict[str, float | str] = {}
    with files.temporary_folder() as folder:
        for size in (128, 256):
            data = dataclasses.replace(bundle.config.data, size=size)
            sized = dataclasses.replace(bundle, config=dataclasses.replace(bundle.config, data=data))
            bundles.save_bundle(f"{folder}/{size}", sized, "float16")
            given = {"bundle": f"{folder}/{size}", "style": style, "steps": 10, "out": f"{folder}/x.safetensors"}
            line = ("-m", "metastyle.cli.main", "adapt", *(f"--{name}={value}" for name, value in given.items()))
            cold, *warm = (_time_python(*line, METASTYLE_CACHE=f"{folder}/cache_{size}") for _ in range(4))
            out |= {f"{size} px, cold cache, s": cold, f"{size} px, warm cache, s": float(np.median(warm))}
            calls[f"{size} px, compiled, s"] = functools.partial(stylizer.Stylizer(sized).adapt, style)
    return out | timing.time_in_turns(calls)


def judge_tiny() -> Numbers:
    """Trains `tiny_cpu` on the training pictures of the sample data and judges it on its val pictures."""
    data = paths.sample_data()
    if data is None:
        raise InputError("`only`: section quality needs the sample data; set METASTYLE_SAMPLE_DATA")
    places = {
        "content": "content/train",
        "style": "style/train",
        "val_content": "content/val",
        "val_style": "style/val",
    }
    sources = [f"--config.data.{field}=folder:{data}/data/{place}" for field, place in places.items()]
    protocol: dict[str, Any] = {
        "contents": f"{data}/data/content/val",
        "styles": f"{data}/data/style/val",
        "pairs": _JUDGED_PAIRS,
        "size": 128,
        "steps": (0, 3, *range(10, 16)),
        "methods": ("identity", "random"),
    }
    with files.temporary_folder() as folder:
        seconds = _time_python(*_META_TRAIN, f"--workdir={folder}/run", *sources)
        protocol["bundles"] = {"tiny": {"path": f"{folder}/run/bundle"}}
        settings = config.from_dict(protocol, config.Evaluation)
        found = evaluation.run(settings, load_starts(settings.bundles), f"{folder}/report")
    assert found is not None, "one process fills all cells"
    by_line = {(line.method, line.steps): line.J for line in found.summary if line.J is not None}
    tiny_j = {steps: j for (method, steps), j in by_line.items() if method == "tiny"}
    random_j = [j for (method, steps), j in by_line.items() if method.startswith("random") and steps == 10]
    return {f"J after {k} steps": j for k, j in tiny_j.items()} | {
        "J of the photograph": next(j for (method, _), j in by_line.items() if method == BOUNDS[0]),
        "J of a random start after 10 Adam steps, best rate": min(random_j),
        "J after 10 steps over J after 0": tiny_j[10] / tiny_j[0],
        "training, s": seconds,
    }
