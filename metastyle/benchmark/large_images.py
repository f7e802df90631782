"""Pictures of many pixels: the time and memory to stylise them, in tiles and in one piece.

python -m metastyle.benchmark.large_images ARCH SIDE tiled|untiled     (a process of its own for each measurement)
"""

import functools
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from metastyle import config
from metastyle.benchmark import Numbers, timing
from metastyle.nets import generator
from metastyle.stylize import tiling
from metastyle.system import memory
from metastyle.system.machine import run_module

SIDES: Mapping[str, Sequence[int]] = dict.fromkeys(("compact_half", "johnson"), (512, 1024, 2048, 4096, 8192))  # px
_TILES = (128, 256, 512)  # px
_SIDE_IN_TURNS = 1024  # px
_COMPILING_COUNTS = 2048  # px; of a larger picture, compiling takes a small part of the time


def measure_large_images(sides: Mapping[str, Sequence[int]] = SIDES) -> Numbers:
    """Measures seconds and peak memory of square pictures, by architecture, each in a process of its own.

    The peak includes Python and the picture. Then tiles of several sizes are timed in turns on the pictures of 1024 px,
    with the largest difference that they make. A picture is not stylised in one piece where that would take more than
    half of the free memory.
    """
    out: dict[str, float | str] = {}
    squares = [(arch, side) for arch, chosen in sides.items() for side in chosen]
    for arch, side in squares:
        whole = tiling.untiled_bytes(config.Generator(arch), side, side)
        for way in ("tiled", "untiled") if whole <= memory.free() // 2 else ("tiled",):
            found = run_module(__name__, arch, str(side), way)
            out |= {f"{arch}, {side} px, {way}: {key}": value for key, value in found.items()}
    for arch, side in squares:
        if side == _SIDE_IN_TURNS:
            settings = config.Generator(arch)
            found = _time_tiles(settings, generator.initial_params(settings, 0), draw(side))
            out |= {f"{arch}, {side} px, {key}": value for key, value in found.items()}
    return out


def _time_tiles(settings: config.Generator, params: dict[str, Any], picture: np.ndarray) -> Numbers:
    ways = {"untiled": 0} | {f"tiles of {tile} px": tile for tile in _TILES}
    calls = {name: functools.partial(tiling.stylize, settings, params, picture, tile) for name, tile in ways.items()}
    expected, *others = (call() for call in calls.values())
    differences = [np.abs(other - expected).max() for other in others]
    seconds = timing.time_in_turns(calls)
    return {f"in turns, {name}, s": value for name, value in seconds.items()} | {
        "largest difference, 255ths": 255 * float(max(differences))
    }


def draw(side: int) -> np.ndarray:
    """Draws random pixels on random squares of 32 px, f32[side, side, 3] in [0, 1]."""
    rng = np.random.default_rng(0)
    picture = rng.uniform(0, 0.8, (-(-side // 32),) * 2 + (3,)).astype(np.float32)
    picture = picture.repeat(32, 0).repeat(32, 1)[:side, :side]
    picture += 0.2 * rng.random(picture.shape, np.float32)
    return picture


def _stylize(arch: str, side: int, *, tiled: bool) -> Numbers:
    """Stylises one picture in this process. In tiles, it may use less memory than the whole picture would take."""
    settings = config.Generator(arch)
    params, picture = generator.initial_params(settings, 0), draw(side)
    limit = min(tiling.untiled_bytes(settings, side, side) - 1, memory.free() // 2)
    way = {"memory": limit} if tiled else {"tile": 0}
    stylize = functools.partial(tiling.stylize, settings, params, picture, progress=True, **way)
    if side <= _COMPILING_COUNTS:
        stylize()
    began = time.perf_counter()
    stylize()
    seconds = time.perf_counter() - began
    peak = memory.peak() / 2**30
    disk = {"on disk, GiB": tiling.plan(settings, side, side, **way).disk / 2**30} if tiled else {}
    return {"s": seconds, "peak memory, GiB": peak} | disk


if __name__ == "__main__":
    print(json.dumps(_stylize(sys.argv[1], int(sys.argv[2]), tiled=sys.argv[3] == "tiled")))
