"""Pictures of any size in bounded memory, and exactly: a network layer by layer, each layer tile by tile.

An instance norm needs the mean and the variance of a whole picture before the next layer may begin, so a tile can't go
through the network by itself. Here each convolution is one pass over all tiles: a tile is read with the margin that the
kernel reaches into, of the neighbouring tiles or of the picture's reflection; its result is written to a plane as large
as the layer; and its statistics are merged with those of the other tiles. What comes between two convolutions (norm,
ReLU, space to depth, up-sampling) is done to tiles as they are read. A net of residual blocks holds three planes at
most; those that memory has no room for are in files.
"""

import contextlib
import dataclasses
import functools
import itertools
import math
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from metastyle import config, generator
from metastyle.errors import InputError
from metastyle.generator import MIN_SIDE, MULTIPLE, Flat
from metastyle.memory import Arrays, folder, free, free_on_device

_TILES = 64, 512, 2048  # px: the smallest that is chosen, the largest on a CPU, and the largest on an accelerator
_CACHE = 64 * 2**20  # bytes: on CPUs, tiles that take more are slower
_SPARE = 1.7  # XLA holds this much more than each result beside its inputs, at most
_TOUCH = 50  # multiplications that take as long as reading or writing a number
_BAR = "{desc}: {percentage:3.0f}% [{elapsed} < {remaining}]"


def stylize(
    settings: config.Generator,
    params: Flat,
    picture: np.ndarray,
    tile: int | None = None,
    *,
    progress: bool = False,
    memory: int | None = None,
) -> np.ndarray:
    """`generator.stylize` of one picture of any size: f32[H, W, 3] in [0, 1] -> the same, sides of at least 16 px.

    tile: px, of square tiles, which change nothing but the rounding; 0: none; by default none if that fits.
    progress: shows on stderr how far the tiles are, and what they take of the disk.
    memory: bytes that this may take beside `picture`; by default half of what is free. Planes that it has no room for
      are held on disk, where temporary files are.

    Raises InputError, in one line, for any other tile, and where memory or disk are too small.
    """
    height, width = picture.shape[:2]
    generator.check_size(height, width)
    if tile is not None and (not isinstance(tile, int | np.integer) or (tile < MIN_SIDE and tile != 0)):
        raise InputError(f"`tile`: expected at least {MIN_SIDE} px, or 0 for no tiles, got {tile!r}")
    memory = free() // 2 if memory is None else memory
    tile = _choice(settings, height, width, memory) if tile is None else int(tile)
    with _told(f"{width} x {height} px"):
        if tile == 0:
            return np.asarray(generator.stylize(settings, params, picture[None]))[0]
        return _tiled(settings, params, picture, tile, progress, memory)


def _choice(settings: config.Generator, height: int, width: int, memory: int) -> int:
    """The side of tiles, px; 0 for none, which is a fifth faster."""
    device = free_on_device()
    room = memory if device is None else min(memory, device // 2)
    if untiled_bytes(settings, height, width) <= room:
        return 0
    least, tile, wide = _TILES
    most = room // 4
    if device is not None:
        tile = wide
    else:
        most = min(most, _CACHE)
    while tile > least and untiled_bytes(settings, tile, tile) > most:
        tile //= 2
    return tile


def untiled_bytes(settings: config.Generator, height: int, width: int) -> int:
    """What `generator.stylize` of a picture takes at most, the picture and the result included.

    Counted from the architecture: no less than XLA asks for, and no more than three times that.
    """
    return math.ceil(height / MULTIPLE) * math.ceil(width / MULTIPLE) * _untiled_bytes(settings)


def _in_work(settings: config.Generator, height: int, width: int) -> int:
    """Bytes of the tiles that are in work at a time: one is computed, another is read or written."""
    return 2 * untiled_bytes(settings, height, width)


@functools.cache
def _untiled_bytes(settings: config.Generator) -> int:
    """For every MULTIPLE x MULTIPLE pixels."""
    side, sizes = 4 * MULTIPLE, _Sizes()

    def count(params):
        generator.walk(settings.arch, params, sizes, sizes.new(side, side, 3))

    jax.eval_shape(count, generator.shapes(settings))
    return math.ceil(_SPARE * sizes.arrays.most["memory"] / (side // MULTIPLE) ** 2)


class _Sizes:
    """Layers of `generator.walk` that compute nothing: what they take where each result is held beside its inputs."""

    def __init__(self):
        self.arrays = Arrays(imagined=True)

    def new(self, *shape: int) -> np.ndarray:
        return self.arrays.new(shape)

    def conv(self, x: np.ndarray, kernel: Any, stride: int = 1, bias: Any = None) -> np.ndarray:
        return self.new(x.shape[0] // stride, x.shape[1] // stride, kernel.shape[-1])

    def norm(self, x: np.ndarray, scale: Any, bias: Any) -> np.ndarray:
        return self.new(*x.shape)

    def relu(self, x: np.ndarray) -> np.ndarray:
        return x

    def add(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return self.new(*x.shape)

    def up(self, x: np.ndarray) -> np.ndarray:
        return self.new(2 * x.shape[0], 2 * x.shape[1], x.shape[2])

    def pack(self, x: np.ndarray, factor: int) -> np.ndarray:
        return self.new(x.shape[0] // factor, x.shape[1] // factor, x.shape[2] * factor**2)

    def unpack(self, x: np.ndarray, factor: int) -> np.ndarray:
        return self.new(x.shape[0] * factor, x.shape[1] * factor, x.shape[2] // factor**2)

    def sigmoid(self, x: np.ndarray) -> np.ndarray:
        return self.new(*x.shape)


def _tiled(
    settings: config.Generator, params: Flat, picture: np.ndarray, tile: int, progress: bool, memory: int
) -> np.ndarray:
    height, width = picture.shape[:2]
    needed = 4 * picture.size + _in_work(settings, min(tile, height), min(tile, width))
    if memory < needed:
        raise InputError(
            f"`content`: {width} x {height} px in tiles of {tile} px take at least {_gib(needed)} of memory, "
            f"got {_gib(memory)}; use a smaller picture or smaller tiles"
        )

    def walk(bar, imagined):
        tiles = _Tiles(settings, height, width, tile, Arrays(memory - needed, imagined), bar)
        return tiles, generator.walk(settings.arch, params, tiles, tiles.picture(picture))

    plan, _ = walk(None, imagined=True)
    disk, left = plan.arrays.most["disk"], shutil.disk_usage(folder()).free
    if disk > left:
        raise InputError(
            f"`content`: {width} x {height} px take {_gib(disk)} on disk beside {_gib(memory)} of memory, "
            f"got {_gib(left)} in {folder()}; make room, or name another folder in TMPDIR"
        )
    if disk and progress:
        print(f"takes {_gib(disk)} on disk, in {folder()}, until it is done", file=sys.stderr, flush=True)
    with tqdm(total=plan.work, desc=f"tiles of {tile} px", bar_format=_BAR, disable=not progress) as bar:
        return walk(bar, imagined=False)[1].buffer


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Want of memory or disk as InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(f"`content`: {what} found no room in {folder()}: {error.strerror}; make some") from None
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise InputError(f"`content`: {what} take more memory than there is; use a smaller tile or picture") from None


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


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
class _Plane:
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
    def size(self) -> tuple[int, int]:
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

    def at(self, plane: _Plane, height: int) -> "_Span":
        """The same in a plane of a picture of this height."""
        return _Span(*(x * plane.height // height for x in self))


class _Tiles:
    """Layers of `generator.walk`, tile by tile. Without a bar nothing is computed: it tells the `work` and the arrays'.

    tile: px of the picture. Planes are those of the picture padded to multiples of 4.
    """

    def __init__(
        self, settings: config.Generator, height: int, width: int, tile: int, arrays: Arrays, bar: tqdm | None
    ):
        self.arrays, self.work = arrays, 0
        self._dtype, self._bar = jnp.dtype(settings.dtype), bar
        self._size = height, width
        self._height, self._width = (math.ceil(x / MULTIPLE) * MULTIPLE for x in (height, width))
        self._tiles = [(y, x) for y in _spans(self._height, tile) for x in _spans(self._width, tile)]
        strip = max(tile**2 // self._width // MULTIPLE, 1) * MULTIPLE  # as large as a tile
        self._strips = [_Span(y, min(strip, self._height - y)) for y in range(0, self._height, strip)]

    def picture(self, picture: np.ndarray) -> _Plane:
        return _Plane(picture, self._height, self._width, _Form(self._dtype), writable=False)

    def conv(self, x: _Plane, kernel: Any, stride: int = 1, bias: Any = None) -> _Plane:
        side, _, fan_in, channels = kernel.shape
        kernel = jnp.asarray(kernel, self._dtype)
        dtype = self._dtype if bias is None else jnp.promote_types(self._dtype, jnp.float32)  # of the last: wide
        out = self._new(x.height // stride, x.width // stride, channels, dtype)
        places = [tuple(span.at(out, self._height) for span in tile) for tile in self._tiles]
        moments = Moments(0, np.zeros(channels), np.zeros(channels))

        def begin(place):
            reached = (_reach(*pair, side // 2, stride, x.form.up) for pair in zip(place, x.size, strict=True))
            skip = np.array([span.skip for span in place])
            return _convolve(x.read(*reached), x.norm, kernel, bias, skip, form=x.form, stride=stride)

        def finish(place, results):
            nonlocal moments
            features, mean, m2 = (np.asarray(x) for x in results)
            rows, columns = place
            out.buffer[rows.start :, columns.start :][: rows.size, : columns.size] = features
            count = (rows.size - rows.skip) * (columns.size - columns.skip)
            moments = moments.merge(Moments(count, mean.astype(np.float64), m2.astype(np.float64)))

        self._run(
            places, out.buffer.size * side**2 * fan_in + _TOUCH * (x.buffer.size + out.buffer.size), begin, finish
        )
        return dataclasses.replace(out, moments=moments)

    def norm(self, x: _Plane, scale: Any, bias: Any) -> _Plane:
        count, mean, m2 = self._measured(x) if x.moments is None else x.moments
        factor = scale / np.sqrt(m2 / max(count, 1) + generator.EPSILON)
        return dataclasses.replace(x, norm=np.stack([mean, factor, bias]).astype(np.float32))

    def relu(self, x: _Plane) -> _Plane:
        return _formed(x, relu=True)

    def add(self, x: _Plane, y: _Plane) -> _Plane:
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
        return _Plane(out.buffer, out.height, out.width, _Form(out.form.dtype))

    def up(self, x: _Plane) -> _Plane:
        return _formed(x, 2, up=True)

    def pack(self, x: _Plane, factor: int) -> _Plane:
        return _formed(x, 1 / factor, steps=(*x.form.steps, factor))

    def unpack(self, x: _Plane, factor: int) -> _Plane:
        return _formed(x, factor, steps=(*x.form.steps, -factor))

    def sigmoid(self, x: _Plane) -> _Plane:
        """Without what the picture was padded by."""
        height, width = self._size
        out = np.empty((height, width, x.channels), np.float32)

        def begin(strip):
            return _sigmoid(self._read(x, strip), x.norm, form=x.form)

        def finish(strip, values):
            rows = out[strip.start :][: strip.size]
            rows[...] = values[: len(rows), :width]

        self._run(self._strips, _TOUCH * 2 * out.size, begin, finish)
        return _Plane(out, height, width, _Form(out.dtype))

    def _measured(self, x: _Plane) -> Moments:
        moments = Moments(0, np.zeros(x.channels), np.zeros(x.channels))

        def finish(strip, results):
            nonlocal moments
            count = strip.at(x, self._height).size * x.width
            moments = moments.merge(Moments(count, *(np.asarray(x, np.float64) for x in results)))

        begin = lambda strip: _measure(self._read(x, strip), form=x.form)
        self._run(self._strips, _TOUCH * x.buffer.size, begin, finish)
        return moments

    def _new(self, height: int, width: int, channels: int, dtype: np.dtype) -> _Plane:
        return _Plane(self.arrays.new((height, width, channels), dtype), height, width, _Form(dtype))

    def _read(self, x: _Plane, strip: _Span) -> np.ndarray:
        span = strip.at(x, self._height)
        return x.read(np.arange(span.start, span.start + span.size), np.arange(x.width))

    def _run(self, parts: Sequence[Any], work: float, begin: Callable, finish: Callable) -> None:
        """`finish(part, begin(part))` for each part, one behind: JAX computes while the next is read."""
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


def _formed(x: _Plane, scale: float = 1, **form: Any) -> _Plane:
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
        x = generator.space_to_depth(x, step) if step > 0 else generator.depth_to_space(x, -step)
    return x.repeat(2, 1).repeat(2, 2)[:, 1:-1, 1:-1] if form.up else x


@functools.partial(jax.jit, static_argnames=("form", "stride"))
def _convolve(x, norm, kernel, bias, skip, *, form, stride):
    """A tile with its margin -> features [h, w, D], and the statistics of those that no tile before it has.

    Zero padding, and the margin off again, as XLA:CPU convolves three to five times faster so.
    """
    margin = kernel.shape[0] // 2
    x = _features(x, norm, form)
    y = jax.lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))[0]
    y = y[margin:-margin, margin:-margin] if stride == 1 else y[:-margin, :-margin]
    if bias is not None:
        y = y + bias.astype(y.dtype)
    height, width = y.shape[:2]
    seen = (jnp.arange(height) < skip[0])[:, None, None] | (jnp.arange(width) < skip[1])[:, None]
    return y, *_statistics(y, (height - skip[0]) * (width - skip[1]), seen)


def _statistics(x, count, seen=False):
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
