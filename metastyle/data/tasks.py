"""Tasks, each a style and the photographs to learn and to judge it on: a pure function of (seed, step, index)."""

from __future__ import annotations

import dataclasses
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import Image

from metastyle.config import STYLE_SHARES, Config, Data
from metastyle.data.procedural.source import ProceduralSource
from metastyle.data.sources import Resilient, Source, open_source
from metastyle.errors import InputError
from metastyle.images.color import recolored

Task = dict[str, np.ndarray]


class TaskSampler:
    """Draws tasks from a source of photographs and one of styles.

    A task is float32 in [0, 1], with S = `data.size`:

      style: [`data.shots`, S, S, 3], crops of one picture.
      support: [`inner.steps`, `inner.support`, S, S, 3], and
      query: [`outer.query`, S, S, 3], crops of as many different photographs.

    It depends only on the settings, the pictures, and (`run.seed`, step, index), so a resumed run and any number of
    hosts see the same tasks.
    """

    def __init__(
        self, settings: Config, *, content: Source | None = None, style: Source | None = None, prefix: str = ""
    ):
        """Opens the sources of `settings.data` that aren't given.

        prefix: "val_" draws from `data.val_content` and `data.val_style`, never from other styles, and leaves these as
        they are.

        Raises InputError if a task needs more photographs than there are, and as `open_source`.
        """
        self._settings, data = settings, settings.data
        names = {kind: f"data.{prefix}{kind}" for kind in ("content", "style")}

        def opened(kind: str) -> Source:
            spec = getattr(data, f"{prefix}{kind}")
            return open_source(spec, kind, size=data.size, seed=settings.run.seed, name=names[kind])

        self.content = Resilient(opened("content") if content is None else content, names["content"])
        self.style = Resilient(opened("style") if style is None else style, names["style"])
        self._shares = without_changes(data) if prefix else data
        self.procedural = ProceduralSource("style", data.size, settings.run.seed)
        self._support = (settings.inner.steps, settings.inner.support)
        self._photographs = math.prod(self._support) + settings.outer.query
        if len(self.content) < self._photographs:
            raise InputError(
                f"`{names['content']}`: expected at least the {self._photographs} photographs of one task "
                f"(`inner.steps` x `inner.support` + `outer.query`), got {len(self.content)}; add more or lower these"
            )

    def task(self, step: int, index: int) -> Task:
        """Task `index` of outer step `step`, of all tasks of that step on all hosts."""
        data, shares = self._settings.data, self._shares
        rng = np.random.default_rng((self._settings.run.seed, step, index))
        drawn = rng.choice(len(self.content), self._photographs, replace=False).tolist()
        # Each of these has a generator of its own: all else is drawn as without it.
        seed = (self._settings.run.seed, step, index)
        recoloring, pasting, turning, choosing = (np.random.default_rng((*seed, n)) for n in (1, 2, 3, 4))
        styles = self.content if choosing.random() < shares.photograph_styles else self.style
        if rng.random() < shares.procedural_styles:
            styles = self.procedural
        style = styles[int(rng.integers(len(styles)))]

        def crop(picture: np.ndarray, flip: bool) -> np.ndarray:
            return augment(rng, picture, data.size, zoom=data.zoom, rotate=data.rotate, flip=flip)

        shots = np.stack([crop(style, data.flip_style) for _ in range(data.shots)])
        if turning.random() < shares.quarter_turns:
            shots = np.rot90(shots, turning.integers(1, 4), (-3, -2))
        if recoloring.random() < shares.recolor:
            shots = recolored(shots, self._other(recoloring, zoom=1.0))
        if pasting.random() < shares.collage:
            shots = collage(shots, self._other(pasting, zoom=data.zoom), *pasting.random(2))
        photographs, taken = [], set(drawn)
        for i in drawn:
            picture, used = self.content.read(i, avoid=taken)
            taken.add(used)
            photographs.append(crop(picture, flip=True))
        support, query = np.split(np.stack(photographs), [math.prod(self._support)])
        return {"style": shots, "support": support.reshape(*self._support, *support.shape[1:]), "query": query}

    def _other(self, rng: np.random.Generator, zoom: float) -> np.ndarray:
        """A crop of any style, f32[S, S, 3]."""
        other = self.style[int(rng.integers(len(self.style)))]
        return augment(rng, other, self._settings.data.size, zoom=zoom, rotate=0.0, flip=False)

    def batch(self, step: int, indices: Sequence[int]) -> Task:
        """The tasks `indices` of outer step `step`, stacked: a leading axis T = len(indices)."""
        return stack([self.task(step, index) for index in indices])


def without_changes(data: Data) -> Data:
    """`data` whose styles are those of its source alone, as they are."""
    return dataclasses.replace(data, **dict.fromkeys(STYLE_SHARES, 0.0))


def collage(picture: Any, other: Any, turn: Any, at: Any, xp: Any = np) -> Any:
    """`picture` f32[..., S, S, 3] on one side of a line, `other` f32[S, S, 3] on the other.

    The line is turned by `turn`, in [0, 1] of a full circle, and at `at`, in [0, 1], lies somewhere in the middle half.
    xp: numpy, or jax.numpy.
    """
    across = xp.linspace(-1, 1, picture.shape[-2])
    angle = 2 * math.pi * turn
    beyond = xp.cos(angle) * across + xp.sin(angle) * across[:, None] > at - 0.5
    return xp.where(beyond[..., None], other, picture)


def stack(tasks: Sequence[Task]) -> Task:
    """One batch of `tasks`, with a leading axis."""
    return {key: np.stack([task[key] for task in tasks]) for key in tasks[0]}


def augment(
    rng: np.random.Generator, picture: np.ndarray, size: int, *, zoom: float, rotate: float, flip: bool
) -> np.ndarray:
    """A random crop, f32[size, size, 3] in [0, 1], of a random scaling and turn of `picture`.

    Args:
      picture: uint8[H, W, 3].
      zoom: the short side is scaled to between `size` and `zoom * size`; to more where a turned crop would not fit.
      rotate: degrees, the largest turn either way. The crop is always inside the picture.
      flip: whether to mirror every second crop.
    """
    scale, turn, x, y, mirror = rng.random(5)  # always five, so that what follows doesn't depend on the settings
    angle = math.radians(rotate * (2 * turn - 1))
    cos, sin = math.cos(angle), math.sin(angle)
    span = abs(cos) + abs(sin)  # side of the upright square around a turned square of side 1
    height, width = picture.shape[:2]
    side = min(height, width) * min(1.0, span / (1 + (zoom - 1) * scale))
    left, top = x * (width - side), y * (height - side)
    box = (left, top, min(left + side, width), min(top + side, height))
    image = Image.fromarray(picture)
    if angle == 0:
        crop = np.asarray(image.resize((size, size), Image.Resampling.LANCZOS, box), np.float32)
    else:
        upright = math.ceil(size * span)
        if side > upright:
            image = image.resize((upright, upright), Image.Resampling.LANCZOS, box)
            left, top, side = 0.0, 0.0, upright
        pixel = side / (size * span)
        cos, sin = pixel * cos, pixel * sin
        shift_x, shift_y = left + (side - size * (cos + sin)) / 2, top + (side - size * (cos - sin)) / 2
        matrix = (cos, sin, shift_x, -sin, cos, shift_y)
        turned = image.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
        crop = np.array(turned, np.float32)
        # Pillow's bicubic filter truncates to bytes: this is the middle of what a byte stands for.
        crop[(crop > 0) & (crop < 255)] += 0.5
    if flip and mirror < 0.5:
        crop = crop[:, ::-1]
    return crop / 255


class Prefetcher:
    """Iterates over `(step, batch)` for the steps from `start` up to `stop`, in order, computed ahead by threads.

    `batch` is `stack([task(step, index) for index in indices])`. An exception of `task` is raised at its own step and
    ends the iteration. `waited` is the time in seconds that the consumer has waited so far. Used as a context manager,
    or closed.
    """

    def __init__(
        self,
        task: Callable[[int, int], Task],
        indices: Sequence[int],
        start: int,
        stop: int,
        *,
        threads: int,
        depth: int = 2,
    ):
        """depth: batches that are computed ahead."""
        self._task, self._indices = task, indices
        self._steps = iter(range(start, stop))
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="prefetch")
        self._pending = deque()
        self.waited = 0.0
        for _ in range(depth):
            self._submit()

    def _submit(self) -> None:
        step = next(self._steps, None)
        if step is not None:
            futures = [self._pool.submit(self._task, step, index) for index in self._indices]
            self._pending.append((step, futures))

    def __iter__(self) -> Prefetcher:
        return self

    def __next__(self) -> tuple[int, Task]:
        if not self._pending:
            raise StopIteration
        step, futures = self._pending.popleft()
        before = time.perf_counter()
        try:
            batch = stack([future.result() for future in futures])
        except BaseException:
            self.close()
            raise
        self.waited += time.perf_counter() - before
        self._submit()
        return step, batch

    def close(self) -> None:
        """Drops what was computed ahead and waits for the tasks in progress to end."""
        self._pending.clear()
        self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Prefetcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
