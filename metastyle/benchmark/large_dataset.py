"""A data set of very many pictures: what preparing it, opening it and reading it take."""

import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from metastyle.system.machine import python

COUNT = 100_000
_SIDE = 64  # px
_FOLDER = 1000  # pictures
_PEAK = "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024"
_PREPARE = f"""
import glob, json, resource, sys
from metastyle.data.prepare import prepare
counts = prepare(sys.argv[1], sys.argv[2], val=0.0)
shards = glob.glob(sys.argv[2] + "/*.array_record*")
print(json.dumps({{"pictures": counts["train"], "shards": len(shards), "peak memory, MiB": {_PEAK}}}))
"""
_READ = f"""
import json, random, resource, sys, time
from metastyle import config
from metastyle.data.sources import open_source
from metastyle.data.prefetch import Prefetcher
from metastyle.data.tasks import TaskSampler
random.seed(0)
began = time.perf_counter()
source = open_source(sys.argv[1], "content", size={_SIDE})
opened = time.perf_counter()
settings = config.from_dict({{"data": {{"content": sys.argv[1], "style": "procedural", "size": {_SIDE}}}}})
with Prefetcher(TaskSampler(settings).task, range(settings.outer.tasks), 0, 2, threads=2) as batches:
    next(batches)
first = time.perf_counter()
indices = [random.randrange(len(source)) for _ in range(2000)]
start = time.perf_counter()
for index in indices:
    source[index]
read = time.perf_counter()
print(json.dumps({{
    "open, s": opened - began, "open and first batch, s": first - opened,
    "random reads, pictures/s": len(indices) / (read - start), "peak memory, MiB": {_PEAK},
}}))
"""


def measure(count: int = COUNT) -> dict[str, float]:
    """Prepares `count` generated JPEGs of 64 px and a tenth of them; reads the data set, and the folder it was made of.

    Memory is flat where ten times the pictures have the same peak. Each number is of a process of its own.
    """
    out = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, pictures in (("few", count // 10), ("many", count)):
            _draw(Path(folder, name), pictures)
            began = time.perf_counter()
            found = python(_PREPARE, f"{folder}/{name}", f"{folder}/{name}_set")
            seconds, title = time.perf_counter() - began, f"prepare {found.pop('pictures'):,}"
            out |= {f"{title}: s": seconds} | {f"{title}: {key}": value for key, value in found.items()}
        for form, path in (("tfds", "many_set"), ("folder", "many")):
            out |= {f"{form}, {key}": value for key, value in python(_READ, f"{form}:{folder}/{path}").items()}
    return out


def _draw(folder: Path, count: int) -> None:
    """Smooth pictures, no two alike, a thousand in a folder."""
    rng = np.random.default_rng(count)
    for i in range(count):
        if i % _FOLDER == 0:
            inside = folder / f"{i // _FOLDER:04d}"
            inside.mkdir(parents=True)
        small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
        small.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC).save(inside / f"{i:06d}.jpg", quality=90)
