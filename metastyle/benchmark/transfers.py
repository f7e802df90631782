"""What `metastyle.transfer` takes, beside what it says before it begins; and what pictures of many sizes take."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from tqdm import tqdm

from metastyle.benchmark import Numbers
from metastyle.images import codec
from metastyle.images.resize import resize
from metastyle.stylize import cost, transfer
from metastyle.stylize.transfer import Options
from metastyle.system import compile_cache, memory, paths
from metastyle.weights import vgg_files

_HALF, _VGG16 = vgg_files.PACKAGED, "vgg16"
_CASES = (  # quality, px, loss network
    *(("fast", 256, None), ("fast", 1024, None), ("good", 256, _HALF), ("good", 512, _HALF)),
    *(("best", 256, _HALF), ("best", 512, _HALF), ("best", 1024, _HALF), ("best", 256, _VGG16), ("best", 512, _VGG16)),
)
_SIZES, _SIDES = 200, (128, 400)  # photographs, and their sides in px, from and below
_FIRST = 5  # of them, in which most programs are compiled


def time_transfers() -> Numbers:
    """Times each quality after a first call that compiles, and compares the seconds and the memory with the estimate.

    A square photograph and a square painting; the memory is the peak of this process so far, so the cases grow.
    """
    compile_cache.enable_compile_cache()
    photo, painting = _pictures()
    out: dict[str, float | str] = {}
    for quality, size, network in _CASES:
        if network == _VGG16 and vgg_files.at_hand() != _VGG16:
            continue
        job = transfer.prepare(photo, painting, None, Options(quality, size=size, vgg=network))
        first = _seconds(job.run)
        estimate = cost.estimate(job.work, job.recipe, cost.measure())
        second = _seconds(job.run)
        name = f"{quality}{f' with {network}' if network else ''}, {size} px"
        out[f"{name}, the first time, s"] = first
        out[f"{name}, s"] = second
        out[f"{name}, estimated over real"] = estimate.seconds / second
        out[f"{name}, peak memory, GiB"] = memory.peak() / 2**30
        out[f"{name}, estimated memory, GiB"] = estimate.gib
    return out


def time_transfers_of_many_sizes() -> Numbers:
    """Seconds a picture, and the growth of memory, of `good` for photographs of random sizes one after the other."""
    compile_cache.enable_compile_cache()
    photo, painting = _pictures()
    rng, seconds, held = np.random.default_rng(0), [], []
    out: dict[str, float | str] = {}
    for i in tqdm(range(1, _SIZES + 1), desc="sizes", leave=False, disable=None):
        height, width = rng.integers(*_SIDES, 2)
        job = transfer.prepare(resize(photo, (height, width)), painting, None, Options("good"))
        seconds.append(_seconds(job.run))
        held.append(memory.resident() / 2**30)
        if i in (_SIZES // 10, _SIZES // 2, _SIZES):
            out[f"good, {i} photographs of as many sizes, s a picture"] = float(np.mean(seconds))
            out[f"good, the slowest of them after the first {_FIRST}, s"] = max(seconds[_FIRST:])
            out[f"good, after {i} sizes, resident memory, GiB"] = held[-1]
    return out


def _seconds(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _pictures() -> list[np.ndarray]:
    return [codec.load(paths.demo_pictures(kind)[0])[0] for kind in ("photos", "styles")]
