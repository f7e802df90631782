"""Gives a stylised picture the colours of the style, of the photograph, or of the photograph's palette, in Oklab.

Oklab (Ottosson, "A perceptual color space for image processing", 2020) has one channel for the lightness, L, and two, a
and b, for hue and chroma, which the eye judges separately.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import numpy as np

from metastyle.errors import InputError

COLORS = ("style", "content", "histogram")
BINS = 1 << 14  # of a histogram, each 1 / 16384 wide; a step of uint8 moves the lightness of a grey by at least 0.0029

# From linear sRGB to the responses of the cones, and from the cube roots of these to L, a and b. Both matrices are as
# Ottosson corrected them in 2021.
TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
FROM_CONES, FROM_LAB = np.linalg.inv(TO_CONES), np.linalg.inv(TO_LAB)
# The lower ends of the histograms of L, a and b. Each range is 1 wide, and together they hold all of sRGB.
_LOWEST = np.array([0, -0.5, -0.5], np.float32)
_HALVINGS = 12  # find the chroma that a colour keeps to 1 / 4096 of it
_ROUNDING = 1e-5  # in linear light: a colour this far out of gamut still counts as in gamut, as float32 rounds
MAX_GAIN = 3.0  # the most that `recolor` multiplies a deviation by
_STRIP = 1 << 16  # pixels at a time, so that their intermediate values fit in the processor's caches
_WORKERS = min(4, os.cpu_count() or 1)


def transfer(kind: str, stylised: np.ndarray, photograph: np.ndarray) -> np.ndarray:
    """Gives a stylised picture the colours that `kind` names.

    "style" returns the stylised picture itself. "content" combines the lightness of the stylised picture with a and b
    of the photograph (luminance transfer; Gatys et al., "Preserving color in neural artistic style transfer", 2016,
    use YIQ instead). "histogram" maps each of L, a and b of the stylised picture by the increasing function that gives
    it the photograph's distribution. A distribution is a histogram with bins `1 / BINS` wide, taken as uniform inside a
    bin; pixels of one value keep one value, so that one colour never becomes two.

    Colours out of gamut are then brought into it at their lightness and hue, see `from_oklab`. If there are many, the
    distributions of a and b are a little narrower than the photograph's.

    Args:
      kind: one of COLORS.
      stylised: f32[H, W, 3] in [0, 1], sRGB.
      photograph: likewise, of the same shape.

    Returns:
      f32[H, W, 3] in [0, 1], sRGB. Apart from it, only a few strips of rows take memory.

    Raises:
      InputError: `kind` is unknown.
      ValueError: the shapes differ.
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
        new = stylised[rows]
        out[rows] = from_oklab(_lightness_only(new, photograph[rows]) if tables is None else _look_up(tables, new))

    for _ in _over_strips(work, stylised.shape):
        pass
    return out


def recolor(picture: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Gives a picture the means and standard deviations of L, a and b of another (Reinhard et al. 2001).

    No deviation grows by more than `MAX_GAIN` times, so that flat areas get no noise. For colours out of gamut see
    `from_oklab`.

    Args:
      picture, like: f32[..., 3] in [0, 1], sRGB, of any sizes.

    Returns:
      f32 of the shape of `picture`.
    """
    lab, goal = to_oklab(picture), to_oklab(like)
    for plane, aim in zip(lab, goal, strict=True):
        gain = min(aim.std() / max(plane.std(), 1e-6), MAX_GAIN)
        plane[...] = (plane - plane.mean()) * gain + aim.mean()
    np.clip(lab[0], 0, 1, out=lab[0])
    return from_oklab(lab)


def to_oklab(rgb: np.ndarray) -> np.ndarray:
    """Converts sRGB floats [..., 3] in [0, 1] to planes L, a, b, f32[3, ...]; L is in [0, 1], greys have a = b = 0."""
    planes = np.ascontiguousarray(np.moveaxis(rgb, -1, 0), np.float32)
    return _mix(TO_LAB, _mix(TO_CONES, decode(planes)) ** (1 / 3))


def from_oklab(lab: np.ndarray) -> np.ndarray:
    """Converts planes L, a, b, f32[3, ...] with L in [0, 1], to sRGB f32[..., 3] in [0, 1].

    A colour out of gamut becomes (L, t a, t b), which has its lightness and hue and less chroma; clipping its channels
    would shift all three. t is the lower end of the interval [0, 1] after 12 halvings, each of which keeps the lower
    end in gamut and the upper end out of it.
    """
    linear = _linear(lab)
    outside = ~_in_gamut(linear)
    if outside.any():
        linear[:, outside] = _linear(_less_chroma(lab[:, outside]))
    np.clip(linear, 0, 1, out=linear)
    return np.moveaxis(encode(linear), 0, -1)


def decode(rgb: Any, xp: ModuleType = np) -> Any:
    """Converts sRGB in [0, 1] to linear light. xp: `numpy` or `jax.numpy`, which computes."""
    return xp.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def encode(linear: Any, xp: ModuleType = np) -> Any:
    """Converts linear light to sRGB, the inverse of `decode`."""
    return xp.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _mix(matrix: np.ndarray, planes: np.ndarray) -> np.ndarray:
    # A matrix product would round differently for another number of pixels, and so make the strips visible.
    out = np.empty_like(planes)
    for row, mixed in zip(matrix.astype(np.float32), out, strict=True):
        np.multiply(row[0], planes[0], out=mixed)
        mixed += row[1] * planes[1]
        mixed += row[2] * planes[2]
    return out


def _linear(lab: np.ndarray) -> np.ndarray:
    roots = _mix(FROM_LAB, lab)
    return _mix(FROM_CONES, roots * roots * roots)


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
    """Yields `work(rows)` for each strip of rows, in order; threads work on the strips."""
    height, width = shape[:2]
    step = max(_STRIP // width, 1)
    with ThreadPoolExecutor(_WORKERS) as pool:
        yield from pool.map(work, (slice(top, top + step) for top in range(0, height, step)))


def _lightness_only(stylised: np.ndarray, photograph: np.ndarray) -> np.ndarray:
    lab = to_oklab(photograph)
    lab[0] = to_oklab(stylised)[0]
    return lab


def _tables(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Where each bin of each channel is mapped: its lower end, and the distance to its upper end, f32[2, 3, BINS]."""
    pairs = zip(_histograms(source), _histograms(target), strict=True)
    low, high = np.array([_match(*counts) for counts in pairs]).swapaxes(0, 1)
    return np.stack([low + _LOWEST[:, None], high - low]).astype(np.float32)


def _look_up(tables: np.ndarray, picture: np.ndarray) -> np.ndarray:
    lab = to_oklab(picture)
    for plane, at, share, low, span in zip(lab, *_bin(lab), *tables, strict=True):
        plane[...] = low[at] + share * span[at]
    return lab


def _bin(lab: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bin of each value, and the position of the value in its bin, in [0, 1]."""
    position = np.clip((lab - _LOWEST.reshape(3, *[1] * (lab.ndim - 1))) * BINS, 0, BINS)
    bins = np.minimum(position.astype(np.intp), BINS - 1)
    return bins, position - bins.astype(np.float32)


def _histograms(picture: np.ndarray) -> np.ndarray:
    """Counts the pixels in each bin of each channel, int64[3, BINS]."""

    def count(rows: slice) -> np.ndarray:
        bins, _ = _bin(to_oklab(picture[rows]))
        return np.array([np.bincount(channel.ravel(), minlength=BINS) for channel in bins])

    return functools.reduce(np.add, _over_strips(count, picture.shape))


def _match(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maps the lower and the upper end of each bin of `source` to values in [0, 1]; the counts have equal sums.

    Let S(v) and T(v) be the numbers of pixels below v. A value v is mapped to w with T(w) = S(v). If T is level there,
    because the target has no pixels, many w fit: a bin's lower end takes the last and its upper end the first, so that
    no value lands in the gap, and equal histograms give the identity.
    """
    below, goal = (np.concatenate([[0], np.cumsum(counts)]) for counts in (source, target))
    found = []
    for ends, found_at in (
        (below[:-1], np.searchsorted(goal, below[:-1], "right")),
        (below[1:], np.searchsorted(goal, below[1:], "left")),
    ):
        at = np.clip(found_at, 1, BINS) - 1
        found.append((at + (ends - goal[at]) / np.maximum(target[at], 1)) / BINS)
    return found[0], found[1]
