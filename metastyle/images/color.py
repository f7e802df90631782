"""The colours of a stylised picture: the style's, the photograph's own, or the photograph's palette, in Oklab.

Oklab (Ottosson, "A perceptual color space for image processing", 2020) has a plane for the lightness and two, a and b,
for hue and chroma, which the eye judges apart.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import numpy as np

from metastyle.errors import InputError

COLORS = ("style", "content", "histogram")
BINS = 1 << 14  # of a histogram: 1 / 16384 wide; a step of uint8 moves a grey's lightness by 0.0029 or more

TO_CONES = np.array(  # of linear sRGB; both matrices as Ottosson mended them in 2021
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_LAB = np.array(  # of the cube roots of the cones' responses
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
FROM_CONES, FROM_LAB = np.linalg.inv(TO_CONES), np.linalg.inv(TO_LAB)
_LOWEST = np.float32([0, -0.5, -0.5])  # of L, a, b: the histograms' ranges are one wide, and hold all of sRGB
_HALVINGS = 12  # the chroma that a colour keeps is found to 1 / 4096 of it
_ROUNDING = 1e-5  # of float32, in linear light: so far outside, a colour still counts as in gamut
MOST = 3.0  # times that a deviation may grow
_STRIP = 1 << 16  # pixels worked on at a time, so that what they take stays near the processor
_WORKERS = min(4, os.cpu_count() or 1)


def transfer(kind: str, stylised: np.ndarray, photograph: np.ndarray) -> np.ndarray:
    """Gives a stylised picture other colours.

    "style": as it is, the same array. "content": the lightness of the stylised picture with a and b of the photograph
    (luminance transfer; Gatys et al., "Preserving color in neural artistic style transfer", 2016, in YIQ there).
    "histogram": L, a and b of the stylised picture, each mapped by the increasing function that gives it the
    photograph's distribution. Distributions are histograms with bins `1 / BINS` wide, level inside a bin; a value that
    many pixels share stays shared, so that one colour never becomes two.

    Colours out of gamut are then brought into it at their lightness and hue, see `from_oklab`; where there are many,
    the distributions of a and b are a little narrower than the photograph's.

    Args:
      kind: one of COLORS.
      stylised: f32[H, W, 3] in [0, 1], sRGB.
      photograph: likewise, of the same shape.

    Returns:
      f32[H, W, 3] in [0, 1], sRGB. Beside it, memory is taken for a few strips of rows only.

    Raises:
      InputError: no such kind.
      ValueError: different shapes.
    """
    if kind not in COLORS:
        raise InputError(f"`color`: expected one of {', '.join(COLORS)}, got {kind!r}")
    if stylised.shape != photograph.shape or stylised.shape[2:] != (3,):
        raise ValueError(f"`photograph`: expected [H, W, 3] as `stylised`, {stylised.shape}, got {photograph.shape}")
    if kind == "style":
        return stylised
    tables = _tables(stylised, photograph) if kind == "histogram" else None
    out = np.empty(stylised.shape, np.float32)

    def work(rows: slice) -> None:
        if tables is None:
            lab = _lightness_only(stylised[rows], photograph[rows])
        else:
            lab = _looked_up(tables, stylised[rows])
        out[rows] = from_oklab(lab)

    for _ in _over_strips(work, stylised.shape):
        pass
    return out


def recolored(picture: np.ndarray, like: np.ndarray) -> np.ndarray:
    """A picture in the colours of another: L, a and b brought to its means and deviations (Reinhard et al. 2001).

    No deviation grows by more than `MOST` times, so that what is flat gets no noise; colours out of gamut see
    `from_oklab`. picture, like: f32[..., 3] in [0, 1], sRGB, of any sizes; returns the shape of `picture`.
    """
    lab, goal = to_oklab(picture), to_oklab(like)
    for plane, aim in zip(lab, goal, strict=True):
        gain = min(aim.std() / max(plane.std(), 1e-6), MOST)
        plane[...] = (plane - plane.mean()) * gain + aim.mean()
    np.clip(lab[0], 0, 1, out=lab[0])
    return from_oklab(lab)


def to_oklab(rgb: np.ndarray) -> np.ndarray:
    """L, a, b as planes f32[3, ...] of sRGB floats [..., 3] in [0, 1]: L is in [0, 1], a and b are 0 for greys."""
    planes = np.ascontiguousarray(np.moveaxis(rgb, -1, 0), np.float32)
    return _mixed(TO_LAB, _mixed(TO_CONES, decoded(planes)) ** (1 / 3))


def from_oklab(lab: np.ndarray) -> np.ndarray:
    """sRGB f32[..., 3] in [0, 1] of planes f32[3, ...], L in [0, 1].

    A colour out of gamut gets the colour (L, t a, t b): its own lightness and hue, and less chroma. Clipping its
    channels would shift all three. t is the lower end of [0, 1] after 12 halvings that keep it in gamut and the upper
    end out of it.
    """
    linear = _linear(lab)
    outside = ~_in_gamut(linear)
    if outside.any():
        linear[:, outside] = _linear(_less_chroma(lab[:, outside]))
    np.clip(linear, 0, 1, out=linear)
    return np.moveaxis(encoded(linear), 0, -1)


def decoded(rgb: Any, xp: ModuleType = np) -> Any:
    """Linear light of sRGB in [0, 1], by NumPy or, as `xp`, `jax.numpy`."""
    return xp.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def encoded(linear: Any, xp: ModuleType = np) -> Any:
    """The inverse of `decoded`."""
    return xp.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _mixed(matrix: np.ndarray, planes: np.ndarray) -> np.ndarray:
    # Not a matrix product: the libraries' rounding depends on how many pixels there are, and so on the strips.
    out = np.empty_like(planes)
    for row, mixed in zip(matrix.astype(np.float32), out, strict=True):
        np.multiply(row[0], planes[0], out=mixed)
        mixed += row[1] * planes[1]
        mixed += row[2] * planes[2]
    return out


def _linear(lab: np.ndarray) -> np.ndarray:
    roots = _mixed(FROM_LAB, lab)
    return _mixed(FROM_CONES, roots * roots * roots)


def _in_gamut(linear: np.ndarray) -> np.ndarray:
    return (linear.min(0) >= -_ROUNDING) & (linear.max(0) <= 1 + _ROUNDING)


def _less_chroma(lab: np.ndarray) -> np.ndarray:
    low, high = np.zeros_like(lab[0]), np.ones_like(lab[0])
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        fits = _in_gamut(_linear(np.stack([lab[0], middle * lab[1], middle * lab[2]])))
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    return np.stack([lab[0], low * lab[1], low * lab[2]])


def _over_strips(work: Callable, shape: tuple[int, ...]) -> Iterator:
    """What `work(rows)` returns for each strip of rows, in order; strips are worked on side by side."""
    height, width = shape[:2]
    step = max(_STRIP // width, 1)
    with ThreadPoolExecutor(_WORKERS) as pool:
        yield from pool.map(work, (slice(top, top + step) for top in range(0, height, step)))


def _lightness_only(stylised: np.ndarray, photograph: np.ndarray) -> np.ndarray:
    lab = to_oklab(photograph)
    lab[0] = to_oklab(stylised)[0]
    return lab


def _tables(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """For each bin of each channel, where its lower end goes and how far beyond that its upper end, f32[2, 3, BINS]."""
    pairs = zip(_histograms(source), _histograms(target), strict=True)
    low, high = np.array([_matched(*counts) for counts in pairs]).swapaxes(0, 1)
    return np.stack([low + _LOWEST[:, None], high - low]).astype(np.float32)


def _looked_up(tables: np.ndarray, picture: np.ndarray) -> np.ndarray:
    lab = to_oklab(picture)
    for plane, at, share, low, span in zip(lab, *_binned(lab), *tables, strict=True):
        plane[...] = low[at] + share * span[at]
    return lab


def _binned(lab: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bin of each value, and how far into it the value is, in [0, 1]."""
    position = np.clip((lab - _LOWEST.reshape(3, *[1] * (lab.ndim - 1))) * BINS, 0, BINS)
    bins = np.minimum(position.astype(np.intp), BINS - 1)
    return bins, position - bins.astype(np.float32)


def _histograms(picture: np.ndarray) -> np.ndarray:
    """The number of pixels in each bin of each channel, int64[3, BINS]."""

    def count(rows: slice) -> np.ndarray:
        bins, _ = _binned(to_oklab(picture[rows]))
        return np.array([np.bincount(channel.ravel(), minlength=BINS) for channel in bins])

    return sum(_over_strips(count, picture.shape))


def _matched(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the lower and the upper end of each bin of `source` go, in [0, 1], for counts of equal sums.

    With S and T the pixels below a value, it goes to the value where T is S. Where T is level, which is where the
    target has no pixels, there are many: a bin's lower end takes the last and its upper end the first, so that no
    value lands in the gap, and histograms that are equal give the identity.
    """
    below, goal = (np.concatenate([[0], np.cumsum(counts)]) for counts in (source, target))
    found = []
    for ends, side in ((below[:-1], "right"), (below[1:], "left")):
        at = np.clip(np.searchsorted(goal, ends, side), 1, BINS) - 1
        found.append((at + (ends - goal[at]) / np.maximum(target[at], 1)) / BINS)
    return found[0], found[1]
