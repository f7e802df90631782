"""What a transfer costs: seconds and memory, before it begins.

The seconds are a sum over parts of the work, each measured on the two CPU cores of one machine, times the
speed of this machine relative to that one, which a short probe measures. `python -m experiments.benchmark
--only=transfer` compares the estimates with the times.
"""

import math
import statistics
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metastyle.losses import whole_picture
from metastyle.stylize import material, refine
from metastyle.weights import vgg_files


class Recipe(NamedTuple):
    """What is done. steps: of adaptation. phases, refine, vgg: as in `Knobs`."""

    steps: int = 0
    phases: int = 4
    refine: int = 0
    vgg: str = vgg_files.PACKAGED

    def describe(self) -> str:
        """In words."""
        parts = [f"{self.steps} steps of adaptation" if self.steps else "the style as it is guessed"]
        if self.refine:
            parts.append(f"{self.refine} iterations of refinement with {self.vgg}")
        return ", ".join(parts)


class Work(NamedTuple):
    """What it is done to. size: (height, width) of the result, px. aspects: width over height of each painting."""

    size: tuple[int, int]
    aspects: tuple[float, ...]
    stroke: float


class Estimate(NamedTuple):
    """seconds: without compilation. compiling: seconds, the first time. gib: of memory at the peak."""

    seconds: float
    compiling: float
    gib: float


class Shares(NamedTuple):
    """The shares of the whole time that learning and refinement take."""

    learning: float
    refining: float


# Seconds on two cores of a machine whose probe takes _PROBE seconds; those of pictures are for a megapixel.
_PROBE = 0.066
_SIDE = 256  # px, of the tiles of a painting
_BEGIN, _PAINTING, _TILE, _CROP = 0.1, 0.4, 0.03, 0.03
_STEP = 0.36
STYLIZE = 0.75  # for each phase
_FORWARD = {"vgg16": 6.0, "half": 1.7, "slim": 1.0}  # three octaves of a picture
_BOTH_WAYS = {"vgg16": 12.0, "half": 3.9, "slim": 2.7}
_PIXELS = 0.3  # what L-BFGS itself takes in an iteration
_COMPILING = {"stylize": 4.0, "learn": 8.0, "refine": 7.0}  # seconds
_GIB, _GIB_STYLIZE, _GIB_REFINE, _GIB_PIXELS = 0.6, 0.25, 0.25, 0.3
_GIB_FEATURES = {"vgg16": 2.3, "half": 1.2, "slim": 0.8}


def measure() -> float:
    """How many times the reference machine's time this machine takes; about a tenth of a second, and a compilation."""
    x, kernel = jnp.ones((1, 128, 128, 64)), jnp.full((3, 3, 64, 64), 1e-3)
    jax.block_until_ready(_probe(x, kernel))  # compiles it
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        jax.block_until_ready(_probe(x, kernel))
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds) / _PROBE


@jax.jit
def _probe(x, kernel):
    for _ in range(6):
        x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return x


def estimate(work: Work, recipe: Recipe, machine: float) -> Estimate:
    """The cost on a machine as `measure` finds it."""
    pixels = math.prod(work.size) / 1e6
    compiling = _COMPILING["stylize"] + (_COMPILING["learn"] if recipe.steps else 0.0)
    gib = _GIB + _GIB_STYLIZE * pixels
    if recipe.refine:
        compiling += _COMPILING["refine"] * len(refine.levels(*work.size))
        features = _of(_GIB_FEATURES, recipe.vgg) * min(pixels, whole_picture.WHOLE / 1e6)
        gib += _GIB_REFINE + _GIB_PIXELS * pixels + features
    return Estimate(machine * sum(_parts(work, recipe)), machine * compiling, gib)


def describe(work: Work, recipe: Recipe, machine: float) -> str:
    """One line: what will be done, how long it takes, and the memory that it needs."""
    height, width = work.size
    found = estimate(work, recipe, machine)
    return (
        f"{width} x {height} px: {recipe.describe()}; about {duration(found.seconds)}, and "
        f"{duration(found.compiling)} more where the programs are not compiled yet; {found.gib:.1f} GiB of memory"
    )


def duration(seconds: float) -> str:
    """A duration in words."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def shares(work: Work, recipe: Recipe) -> Shares:
    """How the time divides."""
    learning, stylizing, refining = _parts(work, recipe)
    total = learning + stylizing + refining
    return Shares(learning / total, refining / total)


def _parts(work: Work, recipe: Recipe) -> tuple[float, float, float]:
    """Seconds on the reference machine, for learning, stylising and refinement."""
    short, pixels = work.stroke * min(work.size), math.prod(work.size) / 1e6
    paintings = [short**2 * max(aspect, 1 / aspect) / 1e6 for aspect in work.aspects]
    tiles = sum(min(material.MOST_TILES, math.ceil(1e6 * x / _SIDE**2)) for x in paintings)
    learning = _BEGIN + _PAINTING * sum(paintings) + _TILE * tiles
    learning += recipe.steps * _STEP + _CROP * min(recipe.steps, material.SUPPORT_POOL)
    stylizing, refining = STYLIZE * pixels * recipe.phases, 0.0
    if recipe.refine:
        for size in refine.levels(*work.size):
            share = math.prod(size) / math.prod(work.size)
            evaluations = (1.05 * recipe.refine + 1) * _of(_BOTH_WAYS, recipe.vgg) * _repeated(size)
            refining += share * pixels * (evaluations + recipe.refine * _PIXELS)
            refining += share * (pixels + sum(paintings)) * _of(_FORWARD, recipe.vgg)
    return learning, stylizing, refining


def _repeated(size: tuple[int, int]) -> float:
    """How much more windows take than a picture that goes through the network as a whole."""
    return 1.0 if math.prod(size) <= whole_picture.WHOLE else 1.8


def _of(costs: dict[str, float], network: str) -> float:
    """The cost of a network; that of VGG-16 for a file, which most likely holds its weights."""
    return costs.get(network, costs["vgg16"])
