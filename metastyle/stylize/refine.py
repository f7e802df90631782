"""Refinement: the pixels of a stylised photograph are optimised for a few iterations, which no network can replace.

An adapted network lays texture over a photograph. L-BFGS on J (losses/perceptual.py) with the style at three octaves
brings the painting's large shapes, and starts from the network's output, from where ten iterations get about as far as
a hundred from the photograph. A picture is refined from coarse to fine: first at half its size, or a quarter, and so on
down to 128 px, where large shapes are near. The change there, enlarged, is added to the start at the next size.

Strength s moves the goal: the Gram matrices are s times those of the painting plus 1 - s times the photograph's.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import numpy as np
from tqdm import tqdm

from metastyle.config import LEAST_SEEN, Loss
from metastyle.errors import Stopped
from metastyle.images.resize import resize, resize_short
from metastyle.losses import whole_picture
from metastyle.nets import vgg
from metastyle.nets.extent import Extent
from metastyle.stylize import pixels
from metastyle.stylize.resumable import KEEP_EVERY
from metastyle.system import resume
from metastyle.system.signals import StopSignal

OCTAVES = 3
_COARSEST = 128  # px: a picture whose shorter side is longer is first refined at half its size
_FIRST = 0.01  # root mean square of the first step; from a stylised picture 0.03 is too long

Painting = tuple[np.ndarray, float]  # f32[H, W, 3] in [0, 1], and its weight; the weights of a style sum to 1


class Refinement(NamedTuple):
    """How a picture is refined.

    iterations: of L-BFGS, at each size. strength: see the module's docstring. stroke: the size of the painting's
    strokes in the picture, where 1 gives them the share of the picture that they have of the painting.
    """

    iterations: int
    strength: float = 1.0
    stroke: float = 1.0


class Step(NamedTuple):
    """What `on_step` is called with after each iteration.

    done, of: iterations, those of all sizes together. share: of the work that is done, from 0 to 1, in which iterations
    at full size count more.
    """

    done: int
    of: int
    loss: float
    share: float


class Watch(NamedTuple):
    """Who is told of the progress, and the file that keeps the state, from which the same call goes on.

    With a file, SIGTERM and SIGINT end the work with `errors.Stopped`. The caller deletes the file.
    """

    on_step: Callable[[Step], None] | None = None
    state_file: Path | None = None


_NOBODY = Watch()


@contextlib.contextmanager
def bar(show: bool) -> Iterator[Callable[[Step], None]]:
    """A progress bar on stderr, as an `on_step`."""
    with tqdm(desc="refining", unit="iteration", disable=None if show else True, total=0) as shown:

        def on_step(step: Step) -> None:
            shown.total = step.of
            shown.set_postfix_str(f"J {step.loss:.3f}", refresh=False)
            shown.update(step.done - shown.n)

        yield on_step


def refine(
    start: np.ndarray,
    photograph: np.ndarray,
    paintings: Sequence[Painting],
    params: vgg.Params,
    plan: Refinement,
    watch: Watch = _NOBODY,
) -> np.ndarray:
    """The refined picture, f32[H, W, 3] in [0, 1].

    Args:
      start: the stylised photograph, f32[H, W, 3] in [0, 1].
      photograph: likewise; its content is kept.
      paintings: what the style is taken from.
      params: the loss network. VGG-16 gives the best pictures.

    Raises FloatingPointError when the loss is not finite, Stopped as `Watch` says, and InputError for a state file of
    other work.
    """
    sizes = levels(*photograph.shape[:2])
    identity = _identify(start, photograph, paintings, params, plan) if watch.state_file else {}
    saved = _read(watch.state_file, identity, sizes, plan) or _Saved(0, start, None)
    settings, start = pixels.Settings(plan.iterations, first=_FIRST), saved.start
    with StopSignal(listen=watch.state_file is not None) as stop:
        keeper = _Keeper(watch, identity, [math.prod(size) for size in sizes], plan.iterations, stop)
        for level, size in enumerate(sizes[saved.level :], saved.level):
            scaled, begun = (_resized(x, size) for x in (photograph, start))
            place = Extent.of(*size)
            objective = whole_picture.objective(params, scaled, _goal(params, scaled, paintings, plan), Loss())
            first = saved.state if level == saved.level else None
            state = first or pixels.init(objective, place.pad(begun), settings)
            for now in pixels.optimise(objective, settings, state):
                state = now
                keeper.see(_Saved(level, start, now))
            change = place.crop(state.picture) - begun
            start = np.clip(start + _enlarged(change, start.shape[:2]), 0, 1)
    return start


def levels(height: int, width: int) -> list[tuple[int, int]]:
    """The sizes at which a picture of this size is refined, from coarse to fine."""
    sizes = [(height, width)]
    while min(sizes[-1]) > _COARSEST:
        sizes.append((round(sizes[-1][0] / 2), round(sizes[-1][1] / 2)))
    return sizes[::-1]


def octaves(height: int, width: int) -> int:
    """At how many octaves the style of a picture is matched: three, and fewer where the last would be too small."""
    return max(1, min(OCTAVES, 1 + int(math.log2(min(height, width) / LEAST_SEEN))))


def _goal(
    params: vgg.Params, photograph: np.ndarray, paintings: Sequence[Painting], plan: Refinement
) -> list[whole_picture.Grams]:
    """What the Gram matrices of the refined picture are compared with."""
    short, count = min(photograph.shape[:2]), octaves(*photograph.shape[:2])
    found, weights = [], []
    for painting, weight in paintings:
        scaled = resize_short(painting, max(round(plan.stroke * short), LEAST_SEEN * 2 ** (count - 1)))
        found.append(whole_picture.style_grams(params, scaled, count))
        weights.append(plan.strength * weight)
    if plan.strength != 1:
        found.append(whole_picture.style_grams(params, photograph, count))
        weights.append(1 - plan.strength)
    return whole_picture.weighted_sum(found, weights)


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return picture if picture.shape[:2] == size else resize(picture, size)


def _enlarged(change: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A change of pixels, from -1 to 1, at another size."""
    return 2 * _resized((change + 1) / 2, size) - 1


class _Saved(NamedTuple):
    """Where the work was stopped: at which of the sizes, its start at full size, and the state at that size."""

    level: int
    start: np.ndarray
    state: pixels.State | None


def _identify(
    start: np.ndarray, photograph: np.ndarray, paintings: Sequence[Painting], params: vgg.Params, plan: Refinement
) -> dict[str, Any]:
    """Tells a refinement from others, by the names of the arguments that would have to be set back."""
    return {
        "content": resume.digest(photograph),
        "style": [[resume.digest(painting), weight] for painting, weight in paintings],
        "vgg": resume.digest(*map(np.asarray, jax.tree.leaves(params))),
        "refine": plan.iterations,
        "strength": plan.strength,
        "stroke": plan.stroke,
        "style_file": resume.digest(start),
    }


class _Keeper:
    """Tells of the progress, and writes the state: every KEEP_EVERY seconds, and when the work is asked to stop."""

    def __init__(self, watch: Watch, identity: dict[str, Any], work: Sequence[int], iterations: int, stop: StopSignal):
        """work: of an iteration at each size. iterations: at each size."""
        self._watch, self._identity, self._stop = watch, identity, stop
        self._work, self._iterations, self._last = work, iterations, time.monotonic()

    def see(self, saved: _Saved) -> None:
        """Takes note of a state. Raises Stopped when the work shall end."""
        state, path = cast(pixels.State, saved.state), self._watch.state_file
        each, of = self._iterations, self._iterations * len(self._work)
        done = saved.level * each + state.iteration
        if self._watch.on_step:
            worked = sum(self._work[: saved.level]) * each + self._work[saved.level] * state.iteration
            self._watch.on_step(Step(done, of, state.loss, worked / max(sum(self._work) * each, 1)))
        if path is None or done == of:
            return
        if self._stop.requested or time.monotonic() - self._last > KEEP_EVERY:
            extra = {"level": np.array(saved.level), "start": saved.start}
            resume.write(path, self._identity, pixels.to_tensors(state) | extra)
            self._last = time.monotonic()
        if self._stop.requested:
            raise Stopped(f"stopped after iteration {done} of {of}; the same line continues")


def _read(
    path: Path | None, identity: dict[str, Any], sizes: Sequence[tuple[int, int]], plan: Refinement
) -> _Saved | None:
    def build(tensors: resume.Tensors) -> _Saved:
        level = int(tensors["level"])
        shapes = pixels.state_shapes(Extent.of(*sizes[level]).padded, pixels.Settings(plan.iterations))
        return _Saved(level, tensors["start"], pixels.from_tensors(shapes, tensors))

    return resume.read(path, identity, build) if path else None
