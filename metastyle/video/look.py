"""What a clip is given: styles, whose weights may change with time, and a mask, which may move."""

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from metastyle.errors import InputError
from metastyle.images import clips, masks
from metastyle.images.clips import Clip
from metastyle.images.codec import Picture
from metastyle.stylize.style import Style, blend, region_shares

Weights = Sequence[tuple[float, Sequence[float]]]  # times in seconds, and the weights of the styles then


@dataclass(frozen=True)
class Look:
    """The style of a clip: one, or several whose weights change with time, and where it goes.

    weights: between two times they are interpolated. mask: a picture or a clip, white where the style goes.
    """

    styles: tuple[Style, ...]
    weights: Weights | None = None
    mask: Picture | None = None

    def at(self, seconds: float) -> Style:
        """The style at this time."""
        if len(self.styles) == 1:
            return self.styles[0]
        times, values = zip(*(self.weights or [(0.0, [1.0] * len(self.styles))]), strict=True)
        now = [float(np.interp(seconds, times, column)) for column in zip(*values, strict=True)]
        return _mixed(self.styles, tuple(x / sum(now) for x in now))

    def check(self) -> None:
        """Raises InputError unless there are weights for each style at each time."""
        if not self.styles:
            raise InputError("`style`: expected at least one style, got none")
        if self.weights is not None:
            _check_weights(self.weights, len(self.styles))
        self.at(0.0)


@functools.lru_cache(maxsize=2)  # weights often stay as they are for many frames
def _mixed(styles: tuple[Style, ...], weights: tuple[float, ...]) -> Style:
    return blend(list(zip(styles, weights, strict=True)))


def _check_weights(weights: Weights, count: int) -> None:
    times = [seconds for seconds, _ in weights]
    if not times or any(b <= a for a, b in itertools.pairwise(times)):
        raise InputError(f"`weights`: expected times that grow, such as 0:1,0;5s:0,1, got {times}")
    for seconds, now in weights:
        if len(now) != count or min(now) < 0 or sum(now) <= 0:
            raise InputError(
                f"`weights`: expected {count} numbers of at least 0, not all 0, at {seconds:g} s, got {list(now)}"
            )


Region = Callable[[float], np.ndarray]  # the share of the style at a time in seconds, f32[H, W]


def region(mask: Picture | None, size: tuple[int, int], feather: float | None, max_pixels: int) -> Region | None:
    """Where the style goes, by the time; None where there is no mask. size: (height, width) of the frames, px.

    Raises InputError or FileNotFoundError for a mask that can't be read.
    """
    if mask is None:
        return None

    def share(picture: Picture) -> np.ndarray:
        shares = region_shares(size, [masks.load(picture, *size, max_pixels=max_pixels)], feather)
        assert shares is not None, "there is a mask"
        return shares[0]

    if clips.is_clip(mask):
        moving = _Moving(clips.describe(mask, name="mask"))
        return lambda seconds: share(moving.at(seconds))
    still = share(mask)
    return lambda seconds: still


class _Moving:
    """The frame of a clip that is shown at a time; times only grow."""

    def __init__(self, clip: Clip):
        self._clip, self._frames = clip, clip.frames()
        self._now, self._next = next(self._frames), next(self._frames, None)

    def at(self, seconds: float) -> np.ndarray:
        """uint8 [H, W, 3]; after the end it is the last one."""
        while self._next is not None and self._clip.seconds_of(self._next) <= seconds:
            self._now, self._next = self._next, next(self._frames, None)
        return self._now.pixels


def parse_weights(text: str) -> Weights:
    """The weights in "0:1,0;5s:0,1": times in seconds, and the weights of the styles then. Raises InputError."""
    try:
        pieces = [piece.partition(":") for piece in text.split(";")]
        return [(float(at.strip().removesuffix("s")), [float(x) for x in now.split(",")]) for at, _, now in pieces]
    except ValueError:
        raise InputError(
            f"`weights`: expected times and the weights of the styles then, such as 0:1,0;5s:0,1, got {text!r}"
        ) from None
