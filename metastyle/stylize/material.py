"""The pictures that an adaptation learns from: paintings and photographs, cut to the size that a bundle was trained at.

By default a painting is reduced to one square, and photographs to crops of many scales. Where the output's size is
known, both are brought to that size and cut into tiles instead, so that texture is learned as large as it is painted.
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np

from metastyle.config import Config
from metastyle.data.procedural import source
from metastyle.errors import InputError
from metastyle.images import codec
from metastyle.images.codec import Picture
from metastyle.images.resize import center_crop, resize_short, square
from metastyle.nets import architecture

# The largest number of support pictures; further steps use them again. Given photographs are all used, if they are
# more. Measuring a picture takes a quarter of the time of a step, and more of them made no style better
# (experiments/results/recipe.md).
SUPPORT_POOL = 6  # crops of given photographs
SYNTHETIC_POOL = 10  # synthetic photographs, each of another scene
MOST_TILES = 16  # of one painting


class Material(NamedTuple):
    """What an adaptation learns from: paintings f32[s, s, 3], and photographs f32[S, S, 3] with S = `data.size`."""

    paintings: list[np.ndarray]
    photographs: list[np.ndarray]


class Sizes(NamedTuple):
    """The sizes of `Stylizer.adapt`, px: at most one of `style_size` and `output_size` is given."""

    style_size: int | None
    output_size: int | None
    max_pixels: int

    def check(self, trained_size: int) -> None:
        """Raises InputError for a size that is out of range."""
        if self.style_size is not None and self.output_size is not None:
            raise InputError("`style_size`: expected none beside `output_size`, which decides it; pass one of them")
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
    size, (style_size, output_size, max_pixels) = settings.data.size, sizes
    sizes.check(size)
    if output_size is None:
        paintings = squares(styles, size if style_size is None else style_size, max_pixels)
    else:
        paintings = tiles(styles, size, output_size, max_pixels)
    count = steps * settings.inner.support
    return Material(paintings, photographs(support, count, size, seed, max_pixels, output_size))


def squares(styles: Picture | Sequence[Picture], side: int, max_pixels: int) -> list[np.ndarray]:
    """The pictures of the style, each as one square f32[side, side, 3]."""
    return [square(picture, side) for picture in _load_styles(styles, max_pixels)]


def tiles(styles: Picture | Sequence[Picture], side: int, output_size: int, max_pixels: int) -> list[np.ndarray]:
    """The pictures of the style, each brought to a shorter side of `output_size` px and cut into tiles.

    The tiles, f32[s, s, 3] with s the smaller one of `side` and `output_size`, cover the picture, unless more than 16
    would be needed: then they are spread evenly over it.
    """
    found = []
    for picture in _load_styles(styles, max_pixels):
        scaled = resize_short(picture, output_size)
        found += _cover(scaled, min(side, output_size))
    return found


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
    given = _list(support)
    if not given:
        raise InputError("`support`: expected at least one picture, got none")
    return support_crops(given, min(count, max(SUPPORT_POOL, len(given))), size, seed, max_pixels, output_size)


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


def _load_styles(styles: Picture | Sequence[Picture], max_pixels: int) -> list[np.ndarray]:
    loaded = [codec.load(picture, name="style", max_pixels=max_pixels)[0] for picture in _list(styles)]
    if not loaded:
        raise InputError("`style`: expected at least one picture, got none")
    return loaded


def _list(pictures: Picture | Sequence[Picture]) -> list[Picture]:
    return list(pictures) if isinstance(pictures, list | tuple) else [cast(Picture, pictures)]


def check_count(name: str, value: int, low: int) -> None:
    """Raises InputError, naming the argument, unless the value is a whole number of at least `low`."""
    if not isinstance(value, int | np.integer) or value < low:
        raise InputError(f"`{name}`: expected a whole number of at least {low}, got {value}")
