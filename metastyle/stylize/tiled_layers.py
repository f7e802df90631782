"""The layers of a network over a whole picture, computed tile by tile, on planes of features in memory or in files.

An instance norm needs the mean and the variance of a whole picture before the next layer may begin, so a tile can't go
through the network by itself. Here each convolution is one pass over all tiles: a tile is read with the margin that the
kernel reaches into, of the neighbouring tiles or of the picture's reflection; its result is written to a plane as large
as the layer; and its statistics are merged with those of the other tiles. What comes between two convolutions (norm,
ReLU, space to depth, up-sampling) is done to tiles as they are read.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from metastyle import config
from metastyle.nets import layers
from metastyle.nets.architecture import MULTIPLE
from metastyle.system.memory import Arrays

_TOUCH = 50  # multiplications that take as long as reading or writing a number


class Moments(NamedTuple):
    """Of some pixels: f64[C], the mean of each channel, and the sum of the squared differences from it."""

    count: int
    mean: np.ndarray
    m2: np.ndarray

    def merge(self, other: "Moments") -> "Moments":
        """Of these pixels and others together (Chan et al. 1979)."""
        count, difference = self.count + other.count, other.mean - self.mean
        mean = self.mean + difference * (other.count / count)
        return Moments(count, mean, self.m2 + other.m2 + difference**2 * (self.count * other.count / count))


class _Form(NamedTuple):
    """What is made of a tile that is read of a plane, beside an instance norm: `_features`.

    steps: space to depth by these factors, one after the other; depth to space by those that are negative.
    """

    dtype: np.dtype
    relu: bool = False
    steps: tuple[int, ...] = ()
    up: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Plane:
    """A layer's features of the whole picture, f[height, width, C]: a buffer [h, w, c], and what is made of it.

    norm: f32[3, c], mean, factor and bias of an instance norm, the first to be done. moments: those of the buffer.
    """

    buffer: np.ndarray
    height: int
    width: int
    form: _Form
    norm: np.ndarray | None = None
    moments: Moments | None = None
    writable: bool = True

    @property
    def sides(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def channels(self) -> int:
        packed = math.prod(float(abs(step)) ** (2 if step > 0 else -2) for step in self.form.steps)
        return round(self.buffer.shape[2] * packed)

    def read(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """What of the buffer these rows and columns are made of."""
        for step in reversed(self.form.steps):
            rows, columns = (_before(index, step) for index in (rows, columns))
        height, width = self.buffer.shape[:2]  # the picture's own are not multiples of 4
        return _window(self.buffer, _reflect(rows, height), _reflect(columns, width))


class _Span(NamedTuple):
    """Pixels of a side; the first `skip` of them are in the span before, too."""

    start: int
    size: int
    skip: int = 0

    def at(self, plane: Plane, height: int) -> "_Span":
        """The same in a plane of a picture of this height."""
        return _Span(*(x * plane.height // height for x in self))


class Tiles:
    """Layers of `architecture.walk`, tile by tile; planes are those of the picture padded to multiples of 4.

    tile: px of the picture. bar: is moved on by `work`; without one nothing is computed, which tells how much that is,
    and what is asked of `arrays`.
    """

    def __init__(
        self, settings: config.Generator, height: int, width: int, tile: int, arrays: Arrays, bar: tqdm | None
    ):
        self.arrays, self.work = arrays, 0.0
        self._dtype, self._bar = jnp.dtype(settings.dtype), bar
        self._size = height, width
        self._height, self._width = (math.ceil(x / MULTIPLE) * MULTIPLE for x in (height, width))
        self._tiles = [(y, x) for y in _spans(self._height, tile) for x in _spans(self._width, tile)]
        strip = max(tile**2 // self._width // MULTIPLE, 1) * MULTIPLE  # as large as a tile
        self._strips = [_Span(y, min(strip, self._height - y)) for y in range(0, self._height, strip)]

    def picture(self, picture: np.ndarray) -> Plane:
        return Plane(picture, self._height, self._width, _Form(self._dtype), writable=False)

    def conv(self, x: Plane, kernel: Any, stride: int = 1, bias: Any = None) -> Plane:
        side, _, fan_in, channels = kernel.shape
        kernel = jnp.asarray(kernel, self._dtype)
        dtype = self._dtype if bias is None else jnp.promote_types(self._dtype, jnp.float32)  # of the last: wide
        out = self._new(x.height // stride, x.width // stride, channels, dtype)
        places = [tuple(span.at(out, self._height) for span in tile) for tile in self._tiles]
        moments = Moments(0, np.zeros(channels), np.zeros(channels))

        def begin(place):
            reached = (_reach(*pair, side // 2, stride, x.form.up) for pair in zip(place, x.sides, strict=True))
            skip = np.array([span.skip for span in place])
            return _convolve(x.read(*reached), x.norm, kernel, bias, skip, form=x.form, stride=stride)

        def finish(place, results):
            nonlocal moments
            features, statistics = results
            rows, columns = place
            out.buffer[rows.start :, columns.start :][: rows.size, : columns.size] = features
            count = (rows.size - rows.skip) * (columns.size - columns.skip)
            moments = moments.merge(Moments(count, *(np.asarray(x, np.float64) for x in statistics)))

        multiplications = out.buffer.size * side**2 * fan_in
        self._run(places, multiplications + _TOUCH * (x.buffer.size + out.buffer.size), begin, finish)
        return dataclasses.replace(out, moments=moments)

    def norm(self, x: Plane, scale: Any, bias: Any) -> Plane:
        count, mean, m2 = self._measured(x) if x.moments is None else x.moments
        factor = np.asarray(scale) / np.sqrt(m2 / max(count, 1) + layers.EPSILON)
        return dataclasses.replace(x, norm=np.stack([mean, factor, bias]).astype(np.float32))

    def relu(self, x: Plane) -> Plane:
        return _formed(x, relu=True)

    def add(self, x: Plane, y: Plane) -> Plane:
        """Into the buffer of `x`, where it may be written and has the shape of the sum."""
        out = x
        if not x.writable or x.form.steps:
            out = self._new(x.height, x.width, x.channels, x.form.dtype)

        def begin(strip):
            return _add(self._read(x, strip), x.norm, self._read(y, strip), y.norm, forms=(x.form, y.form))

        def finish(strip, features):
            span = strip.at(out, self._height)
            out.buffer[span.start :][: span.size] = features

        self._run(self._strips, _TOUCH * 3 * out.buffer.size, begin, finish)
        return Plane(out.buffer, out.height, out.width, _Form(out.form.dtype))

    def up(self, x: Plane) -> Plane:
        return _formed(x, 2, up=True)

    def pack(self, x: Plane, factor: int) -> Plane:
        return _formed(x, 1 / factor, steps=(*x.form.steps, factor))

    def unpack(self, x: Plane, factor: int) -> Plane:
        return _formed(x, factor, steps=(*x.form.steps, -factor))

    def sigmoid(self, x: Plane) -> Plane:
        """Without what the picture was padded by."""
        height, width = self._size
        out = np.empty((height, width, x.channels), np.float32)

        def begin(strip):
            return _sigmoid(self._read(x, strip), x.norm, form=x.form)

        def finish(strip, values):
            rows = out[strip.start :][: strip.size]
            rows[...] = values[: len(rows), :width]

        self._run(self._strips, _TOUCH * 2 * out.size, begin, finish)
        return Plane(out, height, width, _Form(out.dtype))

    def _measured(self, x: Plane) -> Moments:
        moments = Moments(0, np.zeros(x.channels), np.zeros(x.channels))

        def finish(strip, results):
            nonlocal moments
            count = strip.at(x, self._height).size * x.width
            moments = moments.merge(Moments(count, *(np.asarray(x, np.float64) for x in results)))

        begin = lambda strip: _measure(self._read(x, strip), form=x.form)
        self._run(self._strips, _TOUCH * x.buffer.size, begin, finish)
        return moments

    def _new(self, height: int, width: int, channels: int, dtype: np.dtype) -> Plane:
        return Plane(self.arrays.new((height, width, channels), dtype), height, width, _Form(dtype))

    def _read(self, x: Plane, strip: _Span) -> np.ndarray:
        span = strip.at(x, self._height)
        return x.read(np.arange(span.start, span.start + span.size), np.arange(x.width))

    def _run(self, parts: Sequence[Any], work: float, begin: Callable, finish: Callable) -> None:
        """`finish(part, begin(part))` for each part, one behind: JAX computes while the next is read."""
        work /= 1e9  # or a bar would add up rounding errors
        self.work += work
        if self._bar is None:
            return
        behind = []
        for part in parts:
            behind.append((part, begin(part)))
            if len(behind) > 1:
                finish(*behind.pop(0))
                self.arrays.ease()
            self._bar.update(work / len(parts))
        finish(*behind.pop())


def _spans(length: int, tile: int) -> list[_Span]:
    """Spans of one size, a multiple of 4 and about `tile` at most, that cover `length`; the last is moved back."""
    size = math.ceil(length / math.ceil(length / tile) / MULTIPLE) * MULTIPLE
    starts = [(first, min(first, length - size)) for first in range(0, length, size)]
    return [_Span(start, size, first - start) for first, start in starts]


def _formed(x: Plane, scale: float = 1, **form: Any) -> Plane:
    height, width = round(x.height * scale), round(x.width * scale)
    return dataclasses.replace(x, height=height, width=width, form=x.form._replace(**form))


def _reach(span: _Span, length: int, margin: int, stride: int, up: bool) -> np.ndarray:
    """Indices, in a side of `length`, of what a span of the convolution's result depends on, and `_convolve` takes."""
    first, count = span.start * stride - margin, span.size * stride + 2 * margin
    if up:  # where pixels are doubled, a reflection by one is a repetition
        return np.clip(np.arange(first // 2, first // 2 + count // 2 + 1), 0, length // 2 - 1)
    return _reflect(np.arange(first, first + count), length)


def _reflect(index: np.ndarray, length: int) -> np.ndarray:
    period = 2 * (length - 1)
    return np.minimum(index % period, -index % period)


def _before(index: np.ndarray, step: int) -> np.ndarray:
    """The indices that space to depth, or depth to space of whole blocks, makes `index` of."""
    return (index[:, None] * step + np.arange(step)).ravel() if step > 0 else index[::-step] // -step


def _window(buffer: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Some rows and columns; not copied where they follow each other."""
    blocks = [(i, j, buffer[y, x]) for i, y in _runs(rows) for j, x in _runs(columns)]
    if len(blocks) == 1:
        return blocks[0][2]
    window = np.empty((len(rows), len(columns), buffer.shape[2]), buffer.dtype)
    for i, j, block in blocks:
        window[i:, j:][: len(block), : block.shape[1]] = block
    return window


def _runs(index: np.ndarray) -> list[tuple[int, slice]]:
    """Where in `index` a run of consecutive numbers begins, and which."""
    cuts = [0, *(np.flatnonzero(np.diff(index) != 1) + 1), len(index)]
    return [(cut, slice(index[cut], index[end - 1] + 1)) for cut, end in itertools.pairwise(cuts)]


def _features(x: jax.Array, norm: jax.Array | None, form: _Form) -> jax.Array:
    """[h, w, c] of a buffer -> [1, H, W, C], what the plane is there; the norm is that of generator.py."""
    x = x[None].astype(form.dtype)
    if norm is not None:
        mean, factor, bias = norm
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        x = ((wide - mean) * factor + bias).astype(x.dtype)
    x = jax.nn.relu(x) if form.relu else x
    for step in form.steps:
        x = layers.space_to_depth(x, step) if step > 0 else layers.depth_to_space(x, -step)
    return x.repeat(2, 1).repeat(2, 2)[:, 1:-1, 1:-1] if form.up else x  # a margin of one: half of a doubled pixel


@functools.partial(jax.jit, static_argnames=("form", "stride"))
def _convolve(x, norm, kernel, bias, skip, *, form, stride):
    """A tile with its margin -> features [h, w, D], and the statistics of those that no tile before it has."""
    x = _features(x, norm, form)
    y = layers.valid_conv(x, kernel, stride)[0]
    if bias is not None:
        y = y + bias.astype(y.dtype)
    height, width = y.shape[:2]
    seen = (jnp.arange(height) < skip[0])[:, None, None] | (jnp.arange(width) < skip[1])[:, None]
    return y, _statistics(y, (height - skip[0]) * (width - skip[1]), seen)


def _statistics(x, count, seen=False):
    """Of [h, w, C], where not seen, which are `count` pixels: their mean and the sum of squared differences from it."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = jnp.where(seen, 0, x).sum((0, 1)) / count
    return mean, jnp.where(seen, 0, jnp.square(x - mean)).sum((0, 1))


@functools.partial(jax.jit, static_argnames="form")
def _measure(x, *, form):
    x = _features(x, None, form)[0]
    return _statistics(x, x.shape[0] * x.shape[1])


@functools.partial(jax.jit, static_argnames="forms")
def _add(x, x_norm, y, y_norm, *, forms):
    return (_features(x, x_norm, forms[0]) + _features(y, y_norm, forms[1]))[0]


@functools.partial(jax.jit, static_argnames="form")
def _sigmoid(x, norm, *, form):
    x = _features(x, norm, form)[0]
    return jax.nn.sigmoid(x.astype(jnp.promote_types(x.dtype, jnp.float32)))
