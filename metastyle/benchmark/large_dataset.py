"""A data set of very many pictures: the time and memory to prepare it, to open it and to read it.

python -m metastyle.benchmark.large_dataset prepare FOLDER DATASET     (a process of its own for each measurement)
python -m metastyle.benchmark.large_dataset read SOURCE
"""

import json
import random
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from metastyle.benchmark import Numbers
from metastyle.system import memory
from metastyle.system.files import temporary_folder
from metastyle.system.machine import run_module

COUNT = 100_000
_SIDE = 64  # px
_PER_FOLDER = 1000  # pictures
_RANDOM_READS = 2000


def measure_large_dataset(count: int = COUNT) -> Numbers:
    """Prepares `count` generated JPEGs of 64 px and a tenth of them; reads the data set, and the folder it was made of.

    Memory is flat where ten times the pictures have the same peak. Each number comes from a process of its own.
    """
    out: dict[str, float | str] = {}
    with temporary_folder() as folder:
        for name, pictures in (("few", count // 10), ("many", count)):
            _draw(Path(folder, name), pictures)
            began = time.perf_counter()
            found = run_module(__name__, "prepare", f"{folder}/{name}", f"{folder}/{name}_set")
            seconds, title = time.perf_counter() - began, f"prepare {found.pop('pictures'):,}"
            out |= {f"{title}: s": seconds} | {f"{title}: {key}": value for key, value in found.items()}
        for form, path in (("tfds", "many_set"), ("folder", "many")):
            found = run_module(__name__, "read", f"{form}:{folder}/{path}")
            out |= {f"{form}, {key}": value for key, value in found.items()}
    return out


def _draw(folder: Path, count: int) -> None:
    """Writes smooth pictures, no two alike, a thousand in a folder."""
    rng = np.random.default_rng(count)
    for i in range(count):
        inside = folder / f"{i // _PER_FOLDER:04d}"
        if i % _PER_FOLDER == 0:
            inside.mkdir(parents=True)
        small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
        small.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC).save(inside / f"{i:06d}.jpg", quality=90)


def _prepare(folder: str, out: str) -> Numbers:
    """Prepares a data set of a folder. Imports only what this needs, since the peak of memory counts imports too."""
    from metastyle.data.prepare import prepare

    counts = prepare(folder, out, val=0.0)
    shards = list(Path(out).glob("*.array_record*"))
    return {"pictures": counts["train"], "shards": len(shards), "peak memory, MiB": memory.peak() / 2**20}


def _read(spec: str) -> Numbers:
    """Opens a source of pictures, takes the first batch of tasks from it, and reads single pictures at random."""
    from metastyle import config
    from metastyle.data.prefetch import Prefetcher
    from metastyle.data.sources import open_source
    from metastyle.data.tasks import TaskSampler

    random.seed(0)
    began = time.perf_counter()
    source = open_source(spec, "content", size=_SIDE)
    opened = time.perf_counter()
    settings = config.from_dict({"data": {"content": spec, "style": "procedural", "size": _SIDE}})
    with Prefetcher(TaskSampler(settings).task, range(settings.outer.tasks), 0, 2, threads=2) as batches:
        next(batches)
    first = time.perf_counter()
    indices = [random.randrange(len(source)) for _ in range(_RANDOM_READS)]
    start = time.perf_counter()
    for index in indices:
        source[index]
    read = time.perf_counter()
    return {
        "open, s": opened - began,
        "open and first batch, s": first - opened,
        "random reads, pictures/s": len(indices) / (read - start),
        "peak memory, MiB": memory.peak() / 2**20,
    }


if __name__ == "__main__":
    print(json.dumps({"prepare": _prepare, "read": _read}[sys.argv[1]](*sys.argv[2:])))
