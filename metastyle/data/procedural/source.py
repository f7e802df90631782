"""Endless synthetic photographs and styles: for meta-training without data, to augment paintings, and for tests.

A photograph is a dead-leaves picture (Lee, Mumford and Huang, IJCV 2001) with light, shadow, fractal texture and the
effects of a camera. A style is such a scene in a palette of its own, painted in one of the media of `STYLES`. Every
picture is a pure function of the random generator that is passed in.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from metastyle.data.procedural import media
from metastyle.data.procedural.drawing import MOODS, Rng, fractal_noise, palette
from metastyle.data.procedural.scene import photograph, scene
from metastyle.errors import InputError

MIN_SIZE = 16


def paint(medium: Callable[..., np.ndarray], rng: Rng, size: int) -> np.ndarray:
    """Draws a picture f32[size, size, 3] in [0, 1]: a scene in a palette, painted in the medium, on paper or canvas."""
    colours = palette(rng, rng.choice(list(MOODS)))
    picture = medium(rng, colours, scene(rng, size, colours))
    grain = rng.uniform(0, 0.06) * fractal_noise(rng, size, rng.uniform(0, 1))
    return np.clip(picture * np.exp(grain)[..., None], 0, 1).astype(np.float32)


STYLES: dict[str, Callable[[Rng, int], np.ndarray]] = {
    medium.__name__: partial(paint, medium)
    for medium in (
        media.strokes,
        media.impasto,
        media.pointillism,
        media.glaze,
        media.pastel,
        media.mosaic,
        media.stained_glass,
        media.hatching,
        media.woodcut,
        media.halftone,
        media.marbling,
        media.watercolour,
        media.facets,
        media.textile,
        media.patchwork,
    )
}


class ProceduralSource:
    """Random access to 2**20 synthetic pictures uint8[size, size, 3], a function of kind, size, seed and index alone.

    kind: "content" for photographs, "style" for pictures in the media of `STYLES`. Raises InputError for another kind,
    a size below 16 or a negative seed, and IndexError for an index out of range.
    """

    KINDS = ("content", "style")

    def __init__(self, kind: str, size: int, seed: int = 0):
        if kind not in self.KINDS:
            raise InputError(f'`kind` must be "content" or "style", got {kind!r}: pass one of these two')
        if size < MIN_SIZE:
            raise InputError(f"`size` must be at least {MIN_SIZE} pixels, got {size}: ask for larger pictures")
        if seed < 0:
            raise InputError(f"`seed` must be 0 or more, got {seed}: pass a non-negative integer")
        self.kind, self.size, self.seed = kind, size, seed

    def __len__(self) -> int:
        return 2**20

    def __getitem__(self, index: int) -> np.ndarray:
        rng, family = self._start(index)
        picture = photograph(rng, self.size) if self.kind == "content" else STYLES[family](rng, self.size)
        return np.round(255 * picture).astype(np.uint8)

    def name(self, index: int) -> str:
        """A name such as "procedural-style-mosaic-000012"."""
        return f"procedural-{self.kind}-{self._start(index)[1]}-{index:06d}"

    def _start(self, index: int) -> tuple[Rng, str]:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} pictures")
        rng = np.random.default_rng((self.seed, self.KINDS.index(self.kind), index))
        return rng, "photograph" if self.kind == "content" else rng.choice(list(STYLES))


def photographs(count: int, size: int, seed: int = 0) -> list[np.ndarray]:
    """Draws the first `count` synthetic photographs of a seed, each f32[size, size, 3] in [0, 1]."""
    source = ProceduralSource("content", size, seed)
    return [source[i].astype(np.float32) / 255 for i in range(count)]
