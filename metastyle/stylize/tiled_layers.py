"""The layers of a network, computed tile by tile, with features of the whole picture in memory or in files.

An instance norm needs the mean and the variance of the whole picture before the next layer can begin, so a tile can't
go through the network by itself. Here each convolution is one pass over all tiles. A tile is read with the margin that
the kernel needs, from the neighbouring tiles or from the picture's reflection. Its result is written to a plane that is
as large as the layer's features, and its statistics are merged with those of the other tiles. The operations between
two convolutions (norm, ReLU, space to depth, up-sampling) are applied to tiles as they are read.
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

from metastyle.nets import layers
from metastyle.nets import noise as noise_maps
from metastyle.nets.architecture import Conv, Noise, Residual, run
from metastyle.nets.params import Flat
from metastyle.system.memory import Arrays
from metastyle.system.programs import bounded_jit

_TILE_STEP = 64  # px
_TOUCH = 50  # reading or writing a number takes as long as this many multiplications


class Moments(NamedTuple):
    """Statistics of some pixels: for each channel, f64[C], the mean and the sum of squared differences from it."""

    pixels: int
    mean: np.ndarray
    m2: np.ndarray

    def merge(self, other: "Moments") -> "Moments":
        """Returns the statistics of these pixels and of others together (Chan et al. 1979)."""
        pixels, difference = self.pixels + other.pixels, other.mean - self.mean
        mean = self.mean + difference * (other.pixels / pixels)
        return Moments(pixels, mean, self.m2 + other.m2 + difference**2 * (self.pixels * other.pixels / pixels))


class _Transform(NamedTuple):
    """How a tile is transformed when it is read (by `_features`): cast, instance norm, ReLU, packing, up-sampling.

    slope: of the ReLU for negative numbers; None for no ReLU. packs: the factors of space to depth, one after the
    other. up: "nearest" or "bilinear" doubles height and width, and only a convolution can read such a plane.
    """

    dtype: np.dtype
    slope: float | None = None
    packs: tuple[int, ...] = ()
    up: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Plane:
    """Features of the whole picture, f[height, width, C], kept as a buffer [h, w, c] that is transformed when read.

    norm: f32[3, c], the mean, factor and bias of an instance norm of the buffer. moments: of the buffer, if known.
    """

    buffer: np.ndarray
    height: int
    width: int
    transform: _Transform
    norm: np.ndarray | None = None
    moments: Moments | None = None

    @property
    def sides(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def channels(self) -> int:
        return self.buffer.shape[2] * math.prod(self.transform.packs) ** 2

    def read(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Reads the part of the buffer from which these rows and columns are computed."""
        for factor in reversed(self.transform.packs):
            rows, columns = (_before_packing(index, factor) for index in (rows, columns))
        height, width = self.buffer.shape[:2]  # a picture's sides need not be multiples of `Net.multiple`
        return _window(self.buffer, _reflect(rows, height), _reflect(columns, width))


class _Span(NamedTuple):
    """Consecutive pixels along a side. The first `skip` of them belong to the previous span, too."""

    start: int
    size: int
    skip: int = 0

    def at(self, height: int, whole: int) -> "_Span":
        """Scales the span, of a picture `whole` px high, to features of this height."""
        return _Span(*(x * height // whole for x in self))


class Grid:
    """How a picture is cut: into square tiles for convolutions, and into strips of whole rows for other passes.

    size: (height, width) of the picture, px. tile: the side of a tile, px, about. multiple: the sides of the padded
    picture (`height`, `width`) and those of tiles are multiples of it.
    """

    def __init__(self, size: tuple[int, int], tile: int, multiple: int):
        self.size = size
        self.height, self.width = (math.ceil(x / multiple) * multiple for x in size)
        self.tiles = [
            (y, x) for y in cut_side(self.height, tile, multiple) for x in cut_side(self.width, tile, multiple)
        ]
        strip = max(tile**2 // self.width // multiple, 1) * multiple  # as large as a tile
        self.strips = [_Span(y, min(strip, self.height - y)) for y in range(0, self.height, strip)]


class Tiles:
    """The backend of `architecture.walk` that computes tile by tile, on planes of the padded picture.

    arrays: where the planes are kept. bar: shows the progress. Without a bar nothing is computed: `work`, the total of
    the bar, and the demands on `arrays` are only counted.
    """

    def __init__(self, params: Flat, dtype: np.dtype, grid: Grid, arrays: Arrays, bar: tqdm | None):
        self.arrays, self.work = arrays, 0.0
        self._params, self._dtype, self._grid, self._bar = params, dtype, grid, bar

    def picture(self, picture: np.ndarray) -> Plane:
        return Plane(picture, self._grid.height, self._grid.width, _Transform(self._dtype))

    def conv(self, x: Plane, op: Conv) -> Plane:
        kernel, bias = layers.fold_weights(self._params, op)
        kernel = jnp.asarray(kernel, self._dtype)
        side, _, fan_in, _ = kernel.shape
        height, width = (length // op.stride for length in x.sides)
        dtype = jnp.promote_types(self._dtype, jnp.float32) if op.head else self._dtype
        out = self._new(height * op.subpixels, width * op.subpixels, op.features, dtype)
        places = [tuple(span.at(height, self._grid.height) for span in tile) for tile in self._grid.tiles]
        moments = Moments(0, np.zeros(op.features), np.zeros(op.features))

        def begin(place):
            up = bool(x.transform.up)
            reaches = [_Reach.of(*pair, side, op.stride, up) for pair in zip(place, x.sides, strict=True)]
            window = x.read(*(reach.sources for reach in reaches))
            given = _Given(window, x.norm, kernel, bias, *(reach.wanted for reach in reaches))
            skip = np.array([span.skip * op.subpixels for span in place])
            return _convolve(given, skip, transform=x.transform, stride=op.stride, subpixels=op.subpixels)

        def finish(place, results):
            nonlocal moments
            features, statistics = results
            rows, columns = (_Span(*(x * op.subpixels for x in span)) for span in place)
            out.buffer[rows.start :, columns.start :][: rows.size, : columns.size] = features
            count = (rows.size - rows.skip) * (columns.size - columns.skip)
            moments = moments.merge(Moments(count, *(np.asarray(x, np.float64) for x in statistics)))

        multiplications = out.buffer.size * side**2 * fan_in
        self._run(places, multiplications + _TOUCH * (x.buffer.size + out.buffer.size), begin, finish)
        return dataclasses.replace(out, moments=moments)

    def norm(self, x: Plane, path: str) -> Plane:
        pixels, mean, m2 = self._measure_moments(x) if x.moments is None else x.moments
        scale, bias = self._params[f"{path}/scale"], self._params[f"{path}/bias"]
        factor = np.asarray(scale) / np.sqrt(m2 / max(pixels, 1) + layers.EPSILON)
        return dataclasses.replace(x, norm=np.stack([mean, factor, np.asarray(bias)]).astype(np.float32))

    def relu(self, x: Plane, slope: float) -> Plane:
        return _transformed(x, slope=slope)

    def residual(self, x: Plane, op: Residual) -> Plane:
        y = run(op.body, self, x)
        keeps = op.keeps_input or x.transform.packs
        return self._join(x, y, _add, y.buffer if keeps else x.buffer)  # the sum replaces one that is not read again

    def up(self, x: Plane, bilinear: bool) -> Plane:
        return _transformed(x, 2, up="bilinear" if bilinear else "nearest")

    def pack(self, x: Plane, factor: int) -> Plane:
        return _transformed(x, 1 / factor, packs=(*x.transform.packs, factor))

    def add(self, x: Plane, y: Plane) -> Plane:
        return self._join(x, y, _add, self.arrays.new((*x.sides, x.channels), x.transform.dtype))

    def concat(self, x: Plane, y: Plane) -> Plane:
        return self._join(x, y, _concat, self.arrays.new((*x.sides, x.channels + y.channels), x.transform.dtype))

    def noise(self, x: Plane, op: Noise) -> Plane:
        kernel, seed = (self._params[f"{op.path}/{name}"] for name in ("kernel", "seed"))

        def begin(strip):
            places = self._rows(x, strip), np.arange(x.width)
            return _add_noise(x.read(*places), x.norm, kernel, seed, *places, op=op, transform=x.transform)

        return self._fill(self._new(*x.sides, x.channels, x.transform.dtype), 2, begin)

    def sigmoid(self, x: Plane) -> Plane:
        """Drops the padding, too."""
        height, width = self._grid.size
        out = np.empty((height, width, x.channels), np.float32)

        def begin(strip):
            return _sigmoid(self._read(x, strip), x.norm, transform=x.transform)

        def finish(strip, values):
            rows = out[strip.start :][: strip.size]
            rows[...] = values[: len(rows), :width]

        self._run(self._grid.strips, _TOUCH * 2 * out.size, begin, finish)
        return Plane(out, height, width, _Transform(out.dtype))

    def _join(self, x: Plane, y: Plane, join: Callable, buffer: np.ndarray) -> Plane:
        """Joins two planes of one height and width in a buffer, which may be that of one of them."""
        out = Plane(buffer, *x.sides, _Transform(buffer.dtype))

        def begin(strip):
            transforms = x.transform, y.transform
            return join(self._read(x, strip), x.norm, self._read(y, strip), y.norm, transforms=transforms)

        return self._fill(out, 3, begin)

    def _fill(self, out: Plane, touched: int, begin: Callable) -> Plane:
        """Fills a plane strip by strip with what `begin` computes. touched: planes that are read or written."""

        def finish(strip, features):
            rows = self._rows(out, strip)
            out.buffer[rows[0] :][: len(rows)] = features

        self._run(self._grid.strips, _TOUCH * touched * out.buffer.size, begin, finish)
        return out

    def _measure_moments(self, x: Plane) -> Moments:
        moments = Moments(0, np.zeros(x.channels), np.zeros(x.channels))

        def finish(strip, results):
            nonlocal moments
            count = strip.at(x.height, self._grid.height).size * x.width
            moments = moments.merge(Moments(count, *(np.asarray(x, np.float64) for x in results)))

        begin = lambda strip: _measure(self._read(x, strip), transform=x.transform)
        self._run(self._grid.strips, _TOUCH * x.buffer.size, begin, finish)
        return moments

    def _new(self, height: int, width: int, channels: int, dtype: np.dtype) -> Plane:
        return Plane(self.arrays.new((height, width, channels), dtype), height, width, _Transform(dtype))

    def _rows(self, x: Plane, strip: _Span) -> np.ndarray:
        span = strip.at(x.height, self._grid.height)
        return np.arange(span.start, span.start + span.size)

    def _read(self, x: Plane, strip: _Span) -> np.ndarray:
        return x.read(self._rows(x, strip), np.arange(x.width))

    def _run(self, parts: Sequence[Any], work: float, begin: Callable, finish: Callable) -> None:
        """Calls `finish(part, begin(part))`, finishing one part behind, so that JAX computes while the next is read."""
        work /= 1e9  # otherwise the bar adds up rounding errors
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


def cut_side(length: int, tile: int, multiple: int) -> list[_Span]:
    """Covers a side with spans of one size: a multiple, at most about `tile`. The last span is moved back to fit.

    Sizes are rounded up to a multiple of 64 px where the side has room, so that pictures of many sizes share programs.
    """
    size = math.ceil(length / math.ceil(length / tile) / multiple) * multiple
    rounded = math.ceil(size / _TILE_STEP) * _TILE_STEP
    size = rounded if rounded <= min(tile, length) else size
    starts = [(first, min(first, length - size)) for first in range(0, length, size)]
    return [_Span(start, size, first - start) for first, start in starts]


def _transformed(x: Plane, scale: float = 1, **changes: Any) -> Plane:
    height, width = round(x.height * scale), round(x.width * scale)
    return dataclasses.replace(x, height=height, width=width, transform=x.transform._replace(**changes))


class _Reach(NamedTuple):
    """The pixels along a side of a plane that a span of a convolution's result depends on.

    sources: the indices to read, before up-sampling. wanted: for each pixel under the kernel, the index among the
    up-sampled features that holds it, with reflection at the border; only bilinear up-sampling needs it.
    """

    sources: np.ndarray
    wanted: np.ndarray

    @classmethod
    def of(cls, span: _Span, length: int, kernel: int, stride: int, up: bool) -> "_Reach":
        """Computes the reach of an odd kernel along a side. up: the plane is up-sampled, and the kernel is 3x3."""
        first, count = span.start * stride - kernel // 2, span.size * stride + 2 * (kernel // 2)
        pixels = _reflect(np.arange(first, first + count), length)
        if up:  # among doubled pixels, reflecting by one is repeating
            sources = np.clip(np.arange(first // 2, first // 2 + count // 2 + 1), 0, length // 2 - 1)
            return cls(sources, pixels - first)
        return cls(pixels, pixels)


def _reflect(index: np.ndarray, length: int) -> np.ndarray:
    period = 2 * (length - 1)
    return np.minimum(index % period, -index % period)


def _before_packing(index: np.ndarray, factor: int) -> np.ndarray:
    """Source indices for `index` before one packing step."""
    return (index[:, None] * factor + np.arange(factor)).ravel()


def _window(buffer: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Copies some rows and columns: JAX may refer to what it reads after its result is there, and so keep a plane."""
    blocks = [(i, j, buffer[y, x]) for i, y in _runs(rows) for j, x in _runs(columns)]
    window = np.empty((len(rows), len(columns), buffer.shape[2]), buffer.dtype)
    for i, j, block in blocks:
        window[i:, j:][: len(block), : block.shape[1]] = block
    return window


def _runs(index: np.ndarray) -> list[tuple[int, slice]]:
    """Finds the runs of consecutive numbers in `index`: where each begins, and its numbers as a slice."""
    cuts = [0, *(np.flatnonzero(np.diff(index) != 1) + 1), len(index)]
    return [(cut, slice(index[cut], index[end - 1] + 1)) for cut, end in itertools.pairwise(cuts)]


def _features(x: jax.Array, norm: jax.Array | None, transform: _Transform) -> jax.Array:
    """Transforms part of a buffer, [h, w, c], to features, [1, H, W, C]. The norm computes as `layers.InstanceNorm`."""
    x = x[None].astype(transform.dtype)
    if norm is not None:
        mean, factor, bias = norm
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        x = ((wide - mean) * factor + bias).astype(x.dtype)
    if transform.slope is not None:
        x = jax.nn.leaky_relu(x, transform.slope) if transform.slope else jax.nn.relu(x)
    for factor in transform.packs:
        x = layers.space_to_depth(x, factor)
    if transform.up:
        x = layers.upsample(x, transform.up == "bilinear")[
            :, 1:-1, 1:-1
        ]  # the margin of one is half of a doubled pixel
    return x


class _Given(NamedTuple):
    """The arrays that a tile of a convolution is computed from. rows, columns: `_Reach.wanted`."""

    window: Any
    norm: Any
    kernel: Any
    bias: Any
    rows: Any
    columns: Any


@functools.partial(bounded_jit, static_argnames=("transform", "stride", "subpixels"))
def _convolve(given: _Given, skip, *, transform, stride, subpixels):
    """Convolves a tile with its margin. Returns features [h, w, D] and statistics of the pixels new with this tile."""
    x = _features(given.window, given.norm, transform)
    if transform.up == "bilinear":  # at the border of the picture, the margin is its reflection
        x = x[:, given.rows][:, :, given.columns]
    y = layers.valid_conv(x, given.kernel, stride)[0]
    if given.bias is not None:
        y = y + given.bias.astype(y.dtype)
    y = layers.depth_to_space(y[None], subpixels)[0] if subpixels > 1 else y
    height, width = y.shape[:2]
    seen = (jnp.arange(height) < skip[0])[:, None, None] | (jnp.arange(width) < skip[1])[:, None]
    return y, _statistics(y, (height - skip[0]) * (width - skip[1]), seen)


def _statistics(x, count, seen=False):
    """Returns the mean of the `count` pixels of [h, w, C] not seen, and the sum of squared differences from it."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = jnp.where(seen, 0, x).sum((0, 1)) / count
    return mean, jnp.where(seen, 0, jnp.square(x - mean)).sum((0, 1))


@functools.partial(bounded_jit, static_argnames="transform")
def _measure(x, *, transform):
    x = _features(x, None, transform)[0]
    return _statistics(x, x.shape[0] * x.shape[1])


@functools.partial(bounded_jit, static_argnames="transforms")
def _add(x, x_norm, y, y_norm, *, transforms):
    return (_features(x, x_norm, transforms[0]) + _features(y, y_norm, transforms[1]))[0]


@functools.partial(bounded_jit, static_argnames=("op", "transform"))
def _add_noise(x, norm, kernel, seed, rows, columns, *, op, transform):
    x = _features(x, norm, transform)[0]
    return x + noise_maps.times(kernel, seed, rows, columns, op).astype(x.dtype)


@functools.partial(bounded_jit, static_argnames="transforms")
def _concat(x, x_norm, y, y_norm, *, transforms):
    return jnp.concatenate([_features(x, x_norm, transforms[0]), _features(y, y_norm, transforms[1])], -1)[0]


@functools.partial(bounded_jit, static_argnames="transform")
def _sigmoid(x, norm, *, transform):
    x = _features(x, norm, transform)[0]
    return jax.nn.sigmoid(x.astype(jnp.promote_types(x.dtype, jnp.float32)))
