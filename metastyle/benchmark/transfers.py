"""What `metastyle.transfer` takes, beside what it says before it begins; and what pictures of many sizes take."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from metastyle.benchmark import Numbers
from metastyle.images import codec
from metastyle.images.resize import resize
from metastyle.stylize import cost, transfer
from metastyle.stylize.transfer import Options
from metastyle.system import compile_cache, memory, paths
from metastyle.weights import vgg_files

_CASES = (("fast", 256), ("fast", 1024), ("good", 256), ("good", 512), ("best", 256), ("best", 512))
_MANY = 20  # sizes


def time_transfers() -> Numbers:
    """Times each quality after a first call that compiles, and compares the seconds and the memory with the estimate.

    A square photograph and a square painting; the memory is the peak of this process so far, so the cases grow.
    """
    compile_cache.enable_compile_cache()
    photo, painting = _pictures()
    out: dict[str, float | str] = {}
    for quality, size in _CASES:
        for network in dict.fromkeys((vgg_files.at_hand(), vgg_files.PACKAGED)) if quality == "best" else (None,):
            options = Options(quality, size=size, vgg=network)
            job = transfer.prepare(photo, painting, None, options)
            first = _seconds(job.run)
            estimate = cost.estimate(job.work, job.recipe, cost.measure())
            second = _seconds(job.run)
            name = f"{quality}{f' with {network}' if network else ''}, {size} px"
            out[f"{name}, the first time, s"] = first
            out[f"{name}, s"] = second
            out[f"{name}, estimated over real"] = estimate.seconds / second
            out[f"{name}, peak memory, GiB"] = memory.peak() / 2**30
            out[f"{name}, estimated memory, GiB"] = estimate.gib
    return {**out, **_many_sizes(photo, painting)}


def _many_sizes(photo: np.ndarray, painting: np.ndarray) -> dict[str, float]:
    """Seconds a picture of `good`, for photographs of many sizes one after the other, and the growth of memory."""
    seconds, held = [], []
    for i in range(_MANY):
        job = transfer.prepare(resize(photo, (260 + 7 * i, 430 - 5 * i)), painting, None, Options("good"))
        seconds.append(_seconds(job.run))
        held.append(memory.resident())
    warm = _MANY // 4
    growth = (held[-1] - held[warm]) / (_MANY - 1 - warm) / 2**20
    return {
        f"good, {_MANY} photographs of as many sizes, s a picture": float(np.mean(seconds)),
        "good, the slowest of them after the first, s": max(seconds[1:]),
        "good, growth of memory, MiB a picture": growth,
    }


def _seconds(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _pictures() -> list[np.ndarray]:
    return [codec.load(paths.demo_pictures(kind)[0])[0] for kind in ("photos", "styles")]
