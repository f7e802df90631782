"""Tasks: a style, photographs to learn it on and photographs to judge it on; a pure function of (seed, step, index)."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from metastyle.config import STYLE_SHARES, Config, Data
from metastyle.data.augment import augment, collage
from metastyle.data.prefetch import stack
from metastyle.data.procedural.source import ProceduralSource
from metastyle.data.sources import Kind, Resilient, Source, open_source
from metastyle.errors import InputError
from metastyle.images.color import recolor

Task = dict[str, np.ndarray]


class TaskSampler:
    """Draws tasks from a source of photographs and a source of styles.

    A task has these arrays, float32 in [0, 1], with S = `data.size`:

      style: [`data.shots`, S, S, 3], crops of one picture.
      support: [`inner.steps`, `inner.support`, S, S, 3], and
      query: [`outer.query`, S, S, 3], crops of as many different photographs.

    It depends only on the settings, the pictures, and (`run.seed`, step, index), so a resumed run and any number of
    hosts see the same tasks.
    """

    def __init__(
        self, settings: Config, *, content: Source | None = None, style: Source | None = None, prefix: str = ""
    ):
        """Opens those sources of `settings.data` that are not given.

        prefix: with "val_", tasks are drawn from `data.val_content` and `data.val_style` alone, and styles are not
        changed in colour, collaged or turned.

        Raises InputError if a task needs more photographs than the source has, and errors of `open_source`.
        """
        self._settings, data = settings, settings.data
        names: dict[Kind, str] = {"content": f"data.{prefix}content", "style": f"data.{prefix}style"}

        def opened(kind: Kind) -> Source:
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
        """The task `index` among all tasks, on all hosts, of the outer step `step`."""
        data, shares = self._settings.data, self._shares
        seed = (self._settings.run.seed, step, index)
        rng = np.random.default_rng(seed)
        drawn = rng.choice(len(self.content), self._photographs, replace=False).tolist()
        # Each of these has its own random generator, so that other draws don't depend on whether it is in use.
        recoloring, pasting, turning, choosing = (np.random.default_rng((*seed, n)) for n in (1, 2, 3, 4))
        styles = self.content if choosing.random() < shares.photograph_styles else self.style
        if rng.random() < shares.procedural_styles:
            styles = self.procedural
        style = styles[int(rng.integers(len(styles)))]

        def crop(picture: np.ndarray, flip: bool) -> np.ndarray:
            return augment(rng, picture, data.size, zoom=data.zoom, rotate=data.rotate, flip=flip)

        shots = np.stack([crop(style, data.flip_style) for _ in range(data.shots)])
        if turning.random() < shares.quarter_turns:
            shots = np.rot90(shots, int(turning.integers(1, 4)), (-3, -2))
        if recoloring.random() < shares.recolor:
            shots = recolor(shots, self._other(recoloring, zoom=1.0))
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
        """A crop of a random style, f32[S, S, 3]."""
        other = self.style[int(rng.integers(len(self.style)))]
        return augment(rng, other, self._settings.data.size, zoom=zoom, rotate=0.0, flip=False)

    def batch(self, step: int, indices: Sequence[int]) -> Task:
        """The tasks `indices` of the outer step `step`, stacked along a leading axis of length len(indices)."""
        return stack([self.task(step, index) for index in indices])


def without_changes(data: Data) -> Data:
    """These settings without styles of other sources, and without changes of the styles."""
    return dataclasses.replace(data, **dict.fromkeys(STYLE_SHARES, 0.0))
