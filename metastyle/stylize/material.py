"""The pictures that an adaptation learns from: paintings and photographs, cut to the size that a bundle was trained at.

By default a painting is reduced to one square, and photographs to crops of many scales. Where the output's size is
known, both are brought to that size and cut into tiles instead, so that texture is learned as large as it is painted.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from metastyle.config import Config
from metastyle.data.procedural import source
from metastyle.errors import InputError
from metastyle.images import clips, codec, objects
from metastyle.images.codec import Picture
from metastyle.images.resize import center_crop, resize_short, square
from metastyle.nets import architecture
from metastyle.system.arguments import check_count, check_number

# The largest number of support pictures; further steps use them again. Given photographs are all used, if they are
# more. Measuring a picture takes a quarter of the time of a step, and more of them made no style better
# (experiments/results/recipe.md).
SUPPORT_POOL = 6  # crops of given photographs
SYNTHETIC_POOL = 10  # synthetic photographs, each of another scene
MOST_TILES = 16  # of one painting


class Material(NamedTuple):
    """What an adaptation learns from.

    paintings: f32[s, s, 3], squares or tiles. photographs: f32[S, S, 3] with S = `data.size`. whole: the paintings as
    they were given, f32[H, W, 3].
    """

    paintings: list[np.ndarray]
    photographs: list[np.ndarray]
    whole: list[np.ndarray]


class Sizes(NamedTuple):
    """The sizes of `Stylizer.adapt`, px: at most one of `style_size` and `output_size` is given."""

    style_size: int | None
    output_size: int | None
    stroke: float
    max_pixels: int

    def check(self, trained_size: int) -> None:
        """Raises InputError for a size that is out of range."""
        if self.style_size is not None and self.output_size is not None:
            raise InputError("`style_size`: expected none beside `output_size`, which decides it; pass one of them")
        check_stroke(self.stroke)
        if self.stroke != 1 and self.output_size is None:
            raise InputError("`stroke`: expected `output_size` as well, of which it is a share; pass it")
        for name in ("style_size", "output_size"):
            size = getattr(self, name)
            if size is None:
                continue
            check_count(name, size, architecture.MIN_SIDE)
            if size**2 > max(self.max_pixels, trained_size**2):
                raise InputError(f"`{name}`: expected at most {self.max_pixels} pixels, got {size} x {size}; use less")


def read(
    styles: Picture | Sequence[Picture],
    support: Picture | Sequence[Picture] | None,
    settings: Config,
    steps: int,
    seed: int,
    sizes: Sizes,
) -> Material:
    """Reads the pictures for an adaptation of so many steps. `Stylizer.adapt` explains the arguments."""
    size, (style_size, output_size, stroke, max_pixels) = settings.data.size, sizes
    sizes.check(size)
    whole = load_styles(styles, max_pixels)
    if output_size is None:
        paintings = [square(picture, size if style_size is None else style_size) for picture in whole]
    else:
        paintings = [tile for picture in whole for tile in tiles(picture, size, round(stroke * output_size))]
    count = steps * settings.inner.support
    return Material(paintings, photographs(support, count, size, seed, max_pixels, output_size), whole)


def tiles(painting: np.ndarray, side: int, short: int) -> list[np.ndarray]:
    """The painting, brought to a shorter side of `short` px and cut into tiles f32[s, s, 3], s = min(side, short).

    The tiles cover it, unless more than 16 would be needed: then they are spread evenly over it.
    """
    return _cover(resize_short(painting, short), min(side, short))


def _cover(picture: np.ndarray, side: int) -> list[np.ndarray]:
    height, width = picture.shape[:2]
    rows, columns = -(-height // side), -(-width // side)
    if rows * columns > MOST_TILES:
        rows = max(1, int((MOST_TILES * rows / columns) ** 0.5))
        columns = min(columns, MOST_TILES // rows)
    tops, lefts = (
        np.linspace(0, length - side, count).round().astype(int) for length, count in ((height, rows), (width, columns))
    )
    return [picture[y : y + side, x : x + side] for y in tops for x in lefts]


def photographs(
    support: Picture | Sequence[Picture] | None,
    count: int,
    size: int,
    seed: int,
    max_pixels: int,
    output_size: int | None = None,
) -> list[np.ndarray]:
    """The photographs to learn on, at most `count` of f32[size, size, 3]: crops of the given ones, or synthetic ones.

    output_size: px; crops are then cut without a change of scale from the photograph, brought to this shorter side. It
    has no meaning for synthetic photographs.
    """
    if support is None:
        return source.photographs(min(count, SYNTHETIC_POOL), size, seed)
    given = [picture for one in objects.several(support) for picture in _frames_of(one)]
    if not given:
        raise InputError("`support`: expected at least one picture, got none")
    return support_crops(given, min(count, max(SUPPORT_POOL, len(given))), size, seed, max_pixels, output_size)


def _frames_of(support: Picture) -> list[Picture]:
    """Frames that are spread over a clip; a picture stands for itself."""
    if clips.is_video(support):
        return list(clips.spread(clips.describe(support, name="support"), SUPPORT_POOL))
    return [support]


def support_crops(
    photographs: Sequence[Picture], count: int, size: int, seed: int, max_pixels: int, output_size: int | None = None
) -> list[np.ndarray]:
    """`count` squares f32[size, size, 3]: first the centre of each photograph, then random crops of each in turn.

    output_size: see `photographs`.
    """
    crops = {}
    for first, picture in enumerate(photographs[:count]):
        photograph, _ = codec.load(picture, name="support", max_pixels=max_pixels)
        if output_size is None:
            crops[first] = square(photograph, size)
        else:
            photograph = resize_short(photograph, max(output_size, size))
            crops[first] = center_crop(photograph, size)
        for i in range(first + len(photographs), count, len(photographs)):
            rng = np.random.default_rng((seed, i))
            share = rng.uniform(0.6, 1.0)
            side = int(min(photograph.shape[:2]) * share) if output_size is None else size
            y, x = (rng.integers(0, extent - side + 1) for extent in photograph.shape[:2])
            crops[i] = square(photograph[y : y + side, x : x + side], size)
    return [crops[i] for i in range(count)]


def load_styles(styles: Picture | Sequence[Picture], max_pixels: int) -> list[np.ndarray]:
    """The pictures of a style, f32[H, W, 3] each. Raises InputError for none."""
    loaded = [codec.load(picture, name="style", max_pixels=max_pixels)[0] for picture in objects.several(styles)]
    if not loaded:
        raise InputError("`style`: expected at least one picture, got none")
    return loaded


def check_stroke(stroke: float) -> None:
    """Raises InputError unless the scale of the painting relative to the photograph is from 1/4 to 4."""
    check_number("stroke", stroke, 0.25, 4)
