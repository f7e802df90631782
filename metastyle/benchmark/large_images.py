"""Pictures of many pixels: what stylising them takes, in time and memory, in tiles and in one piece."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from metastyle.system.machine import python

SIDES = dict.fromkeys(("compact_half", "johnson"), (512, 1024, 2048, 4096, 8192))  # px
_TILES, _IN_TURNS = (128, 256, 512), 1024  # px
_STYLIZE = """
import json, resource, sys, time
from metastyle import config, generator, large_pictures, memory, tiling
settings, side, tiled = config.Generator(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "tiled"
params, picture = generator.initial_params(settings, 0), large_pictures.draw(side)
most = min(tiling.untiled_bytes(settings, side, side) - 1, memory.free() // 2)
way = {"memory": most} if tiled else {"tile": 0}
for _ in range(2 if side <= 2048 else 1):  # of larger ones, compiling takes little
    began = time.perf_counter()
    tiling.stylize(settings, params, picture, progress=True, **way)
    seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
disk = {"on disk, GiB": tiling.plan(settings, side, side, **way).disk / 2**30} if tiled else {}
print(json.dumps({"s": seconds, "peak memory, GiB": peak} | disk))
"""


def measure(sides: dict[str, Sequence[int]] = SIDES) -> dict[str, float]:
    """Seconds and peak memory of squares, by architecture: each in a process of its own, with Python and the picture.

    Then the seconds of tiles of several sizes, of the squares of 1024 px, in turns, and the largest difference that
    they make. Pictures are not stylised in one piece where that would take more than half of the free memory.
    """
    from metastyle import config
    from metastyle.nets import generator
    from metastyle.stylize import tiling
    from metastyle.system import memory

    out = {}
    squares = [(arch, side) for arch, chosen in sides.items() for side in chosen]
    for arch, side in squares:
        whole = tiling.untiled_bytes(config.Generator(arch), side, side)
        for way in ("tiled", "untiled") if whole <= memory.free() // 2 else ("tiled",):
            found = python(_STYLIZE, arch, str(side), way)
            out |= {f"{arch}, {side} px, {way}: {key}": value for key, value in found.items()}
    for arch, side in squares:
        if side == _IN_TURNS:
            settings = config.Generator(arch)
            found = _in_turns(settings, generator.initial_params(settings, 0), draw(side))
            out |= {f"{arch}, {side} px, {key}": value for key, value in found.items()}
    return out


def _in_turns(settings: Any, params: dict[str, Any], picture: np.ndarray) -> dict[str, float]:
    from metastyle.benchmark import timing
    from metastyle.stylize import tiling

    ways = {"untiled": 0} | {f"tiles of {tile} px": tile for tile in _TILES}
    calls = {name: functools.partial(tiling.stylize, settings, params, picture, tile) for name, tile in ways.items()}
    expected, *others = (call() for call in calls.values())
    differences = [np.abs(other - expected).max() for other in others]
    seconds = timing.in_turns(calls)
    return {f"in turns, {name}, s": value for name, value in seconds.items()} | {
        "largest difference, 255ths": 255 * float(max(differences))
    }


def draw(side: int) -> np.ndarray:
    """Random pixels on random squares of 32 px, f32[side, side, 3] in [0, 1]."""
    rng = np.random.default_rng(0)
    picture = rng.uniform(0, 0.8, (-(-side // 32),) * 2 + (3,)).astype(np.float32)
    picture = picture.repeat(32, 0).repeat(32, 1)[:side, :side]
    picture += 0.2 * rng.random(picture.shape, np.float32)
    return picture
