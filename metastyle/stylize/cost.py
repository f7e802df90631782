"""What a transfer costs: seconds and memory, before it begins.

The seconds are a sum over parts of the work, each measured on the two CPU cores of one machine (`_MEASURED`), times the
speed of this machine relative to that one, which a short probe measures. `python -m experiments.benchmark
--only=transfer` compares the estimates with the times.
"""

import math
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metastyle.stylize import refine
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


# Seconds on two cores of a machine whose probe takes _PROBE seconds.
_PROBE = 0.05
_BEGIN, _TILE, _CROP = 0.6, 0.03, 0.03
_STEP = {1: 0.2, 4: 0.5, 16: 2.0}
_STYLIZE = 0.5  # a megapixel and phase
_FORWARD = {"vgg16": 4.0, "half": 1.2, "slim": 0.5}  # a megapixel
_BOTH_WAYS = {"vgg16": 12.0, "half": 4.0, "slim": 1.5}
_PIXELS = 0.5  # an iteration of L-BFGS, a megapixel


def measure() -> float:
    """How many times the reference machine's time this machine takes; about a tenth of a second, and a compilation."""
    x, kernel = jnp.ones((1, 128, 128, 64)), jnp.full((3, 3, 64, 64), 1e-3)
    seconds = []
    for _ in range(4):
        began = time.perf_counter()
        jax.block_until_ready(_probe(x, kernel))
        seconds.append(time.perf_counter() - began)
    return min(seconds) / _PROBE


@jax.jit
def _probe(x, kernel):
    for _ in range(6):
        x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return x


def estimate(work: Work, recipe: Recipe, machine: float) -> Estimate:
    """The cost on a machine as `measure` finds it."""
    learning, stylizing, refining = _parts(work, recipe)
    return Estimate(machine * (learning + stylizing + refining), 20.0, 2.0)


def describe(work: Work, recipe: Recipe, machine: float) -> str:
    """One line: what will be done, how long it takes, and the memory that it needs."""
    height, width = work.size
    found = estimate(work, recipe, machine)
    return (
        f"{width} x {height} px: {recipe.describe()}; about {duration(found.seconds)}, and "
        f"{duration(found.compiling)} more where this size is new and must be compiled; {found.gib:.1f} GiB of memory"
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
    tiles = sum(min(16, math.ceil(max(a, 1 / a))) for a in work.aspects)
    learning = _BEGIN + _TILE * tiles + recipe.steps * _STEP[recipe.phases] + _CROP * min(recipe.steps, 6)
    stylizing = _STYLIZE * math.prod(work.size) / 1e6 * recipe.phases
    refining = 0.0
    if recipe.refine:
        for size in refine.levels(*work.size):
            pixels = math.prod(size) / 1e6
            refining += (recipe.refine + 2) * pixels * (4 / 3 * _of(_BOTH_WAYS, recipe.vgg) + _PIXELS)
            refining += pixels * _of(_FORWARD, recipe.vgg)
    return learning, stylizing, refining


def _of(costs: dict[str, float], network: str) -> float:
    """The cost of a network; that of VGG-16 for a file, which most likely holds its weights."""
    return costs.get(network, costs["vgg16"])
