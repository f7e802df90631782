"""Photographs of a thousand sizes in one process: whether its time and its memory stay bounded.

Each size of a picture would need a program of its own (1.6 s, 95 memory maps and 6 MiB), if pictures of many sizes did
not share a few (nets/padded.py).
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

import metastyle
from metastyle.benchmark import Numbers, timing
from metastyle.nets import generator, padded
from metastyle.stylize.style import Style
from metastyle.system import memory

_SIZES = 1000
_SIDES = (17, 400)  # px, from and below
_COMPARED = ((250, 250), (256, 256), (300, 411), (389, 260))  # (height, width): what padding costs


def measure_many_sizes() -> Numbers:
    """Stylises photographs of 1,000 random sizes with JAX, and compares a few sizes with a program of their own."""
    rng = np.random.default_rng(0)
    style = metastyle.load().adapt(rng.integers(0, 256, (64, 64, 3), np.uint8), steps=0)
    out: dict[str, float | str] = {}
    began = time.perf_counter()
    for i in tqdm(range(1, _SIZES + 1), desc="sizes", leave=False, disable=None):
        height, width = rng.integers(*_SIDES, 2)
        style.stylize(np.full((height, width, 3), i % 256, np.uint8), backend="jax")
        if i in (100, _SIZES // 2, _SIZES):
            name = f"after {i:,} sizes"
            out[f"{name}, s"] = time.perf_counter() - began
            out[f"{name}, memory maps"] = len(Path("/proc/self/maps").read_text().splitlines())
            out[f"{name}, resident memory, GiB"] = memory.resident() / 2**30
    for size in _COMPARED:
        out[f"{size[1]} x {size[0]} px, in a shared program over in its own"] = _ratio(style, size)
    return out


def _ratio(style: Style, size: tuple[int, int]) -> float:
    """The seconds in the program that sizes share, over those in one for this size alone."""
    net, params = style.config.generator, style.params()
    photograph = np.random.default_rng(1).random((1, *size, 3), np.float32)
    calls = {
        "shared": lambda: padded.stylize(net, params, photograph),
        "alone": lambda: np.asarray(generator.stylize(net, params, photograph)),
    }
    seconds = timing.time_in_turns(calls)
    return seconds["shared"] / seconds["alone"]
