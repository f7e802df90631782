"""Stylises pictures of any size: in one piece if that fits in memory, else in tiles, with the same result."""

import contextlib
import dataclasses
import functools
import math
import shutil
import sys
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from metastyle import config
from metastyle.errors import InputError
from metastyle.nets import architecture, generator, padded
from metastyle.nets.architecture import MIN_SIDE, Conv, Noise, Residual, run
from metastyle.nets.params import Flat
from metastyle.nets.phases import mean_over_phases
from metastyle.stylize.tiled_layers import Grid, Plane, Tiles
from metastyle.system import jax_host
from metastyle.system.memory import Arrays, folder, free, free_on_device

_LEAST_TILE, _TILE, _DEVICE_TILE = 64, 512, 2048  # px: the smallest tile chosen, the largest on CPUs and on others
_CACHE = 48 * 2**20  # bytes: on CPUs, larger tiles are slower
_SPARE = 1.75  # XLA holds at most this many times the memory of each result beside its inputs
_BORDERS = 1.45  # times as much where borders are made inside of an array (nets/padded.py)
_BAR = "{desc}: {percentage:3.0f}% [{elapsed} < {remaining}]"


@jax_host.computing()
def stylize(
    settings: config.Generator,
    params: Flat,
    picture: np.ndarray,
    tile: int | None = None,
    *,
    progress: bool = False,
    memory: int | None = None,
) -> np.ndarray:
    """`generator.stylize` of one picture of any size: f32[H, W, 3] in [0, 1] -> the same.

    The least side is the net's `min_side`, 16 px for the packaged bundle.

    tile: the side of square tiles, px, which change nothing but the rounding; 0 for no tiles. By default there are none
      if the picture fits in memory as a whole.
    progress: shows on stderr how far the tiles are, and how much disk they take.
    memory: bytes that may be used beside `picture`. By default a quarter of the free memory without tiles, and half of
      it with tiles, or more if that is too little. Features beyond it are kept in temporary files.

    Raises InputError for an invalid tile, and if memory or disk are too small.
    """
    if settings.phases > 1:  # one after the other, in the memory of one
        one = dataclasses.replace(settings, phases=1)
        run = lambda x: stylize(one, params, x, tile, progress=progress, memory=memory)
        return mean_over_phases(run, picture, settings.phases, architecture.parse(settings.arch).multiple)
    height, width = picture.shape[:2]
    with _explain_lack(f"{width} x {height} px"):
        chosen = plan(settings, height, width, tile, memory)
        if chosen.tile == 0:
            return padded.stylize(settings, params, picture[None])[0]
        if chosen.disk and progress:
            message = f"the tiles take {_gib(chosen.disk)} on disk, in {folder()}, until the picture is done"
            print(message, file=sys.stderr, flush=True)
        title = f"tiles of {chosen.tile} px"
        with tqdm(total=chosen.work, desc=title, bar_format=_BAR, smoothing=0.1, disable=not progress) as bar:
            return _walk(settings, params, picture, chosen.tile, Arrays(chosen.memory), bar)[1].buffer


class Plan(NamedTuple):
    """How `stylize` goes about a picture.

    tile: px, 0 for no tiles. memory, disk: bytes of features kept in memory, and beyond that on disk. work: the total
    of the progress bar.
    """

    tile: int
    memory: int = 0
    disk: int = 0
    work: float = 0.0


def plan(
    settings: config.Generator, height: int, width: int, tile: int | None = None, memory: int | None = None
) -> Plan:
    """Plans `stylize` with these arguments for a picture of this size. Raises InputError as `stylize` does."""
    architecture.check_size(height, width, architecture.parse(settings.arch).min_side)
    check_tile(tile)
    most = free() if memory is None else memory
    usual = most // 2 if memory is None else memory
    if tile is None:
        tile = _choose_tile(settings, height, width, most // 4 if memory is None else memory)
    if tile == 0:
        return Plan(0)
    tile = int(tile)
    in_work = 2 * array_bytes(settings, min(tile, height), min(tile, width))  # one tile computed, one read or written
    least = 4 * height * width * 3 + in_work
    if least > most:
        raise InputError(
            f"`content`: {width} x {height} px in tiles of {tile} px take at least {_gib(least)} of memory, "
            f"got {_gib(most)}; use a smaller picture or smaller tiles"
        )
    planes = max(usual - least, 0)
    blank = lambda shape: np.broadcast_to(np.float32(0), shape)
    params: Flat = {path: blank(x.shape) for path, x in generator.shapes(settings).items()}
    tiles, _ = _walk(settings, params, blank((height, width, 3)), tile, Arrays(planes, imagined=True), None)
    disk, left = tiles.arrays.most["disk"], shutil.disk_usage(folder()).free
    if disk > left:
        raise InputError(
            f"`content`: {width} x {height} px take {_gib(disk)} on disk beside {_gib(usual)} of memory, "
            f"got {_gib(left)} in {folder()}; make room, or name another folder in TMPDIR"
        )
    return Plan(tile, planes, disk, tiles.work)


def check_tile(tile: int | None) -> None:
    """Raises InputError unless `stylize` takes this tile."""
    if tile is not None and (not isinstance(tile, int | np.integer) or (tile < MIN_SIDE and tile != 0)):
        raise InputError(f"`tile`: expected whole px, at least {MIN_SIDE}, or 0 for no tiles, got {tile!r}")


def _walk(
    settings: config.Generator, params: Flat, picture: np.ndarray, tile: int, arrays: Arrays, bar: tqdm | None
) -> tuple[Tiles, Plane]:
    net = architecture.parse(settings.arch)
    height, width = picture.shape[:2]
    grid = Grid((height, width), tile, net.multiple)
    tiles = Tiles(params, jnp.dtype(settings.dtype), grid, arrays, bar)
    return tiles, architecture.walk(net, tiles, tiles.picture(picture))


def _choose_tile(settings: config.Generator, height: int, width: int, memory: int) -> int:
    """Chooses the side of tiles, px; 0 for no tiles, which is a fifth faster."""
    device = free_on_device()
    room = memory if device is None else min(memory, device // 2)
    if untiled_bytes(settings, height, width) <= room:
        return 0
    tile, most = (_TILE, min(room // 4, _CACHE)) if device is None else (_DEVICE_TILE, room // 4)
    while tile > _LEAST_TILE and array_bytes(settings, tile, tile) > most:
        tile //= 2
    return tile


def untiled_bytes(settings: config.Generator, height: int, width: int) -> int:
    """Estimates the bytes that `padded.stylize` takes for one phase, with the picture and the result.

    The estimate is counted from the architecture: at least what XLA asks for, and at most three times that.
    """
    return math.ceil(_BORDERS * array_bytes(settings, *padded.extent(settings, height, width).padded))


def array_bytes(settings: config.Generator, height: int, width: int) -> int:
    """Estimates the bytes that a network takes for a tile of this size."""
    net = architecture.parse(settings.arch)
    return math.ceil(height / net.multiple) * math.ceil(width / net.multiple) * _bytes_per_square(net)


@functools.cache
def _bytes_per_square(net: architecture.Net) -> int:
    """Estimates the bytes for each square with sides of `net.multiple` px."""
    side, sizes = 4 * net.multiple, Sizes()
    architecture.walk(net, sizes, sizes.new(side, side, 3))
    return math.ceil(_SPARE * sizes.arrays.most["memory"] / (side // net.multiple) ** 2)


class Sizes:
    """The backend of `architecture.walk` that only counts memory: that of each result, held beside its inputs."""

    def __init__(self):
        self.arrays = Arrays(imagined=True)

    def new(self, *shape: int) -> np.ndarray:
        return self.arrays.new(shape)

    def conv(self, x: np.ndarray, op: Conv) -> np.ndarray:
        height, width = (length * op.subpixels // op.stride for length in x.shape[:2])
        size = height * width * op.features
        if op.subpixels > 1:  # the result of the convolution is held first beside `x`, then beside its depth to space
            self.new(size + max(size - x.size, 0))
        return self.new(height, width, op.features)

    def norm(self, x: np.ndarray, path: str) -> np.ndarray:
        return self.new(*x.shape)

    def relu(self, x: np.ndarray, slope: float) -> np.ndarray:
        return x

    def residual(self, x: np.ndarray, op: Residual) -> np.ndarray:
        y = run(op.body[:-1], self, x)  # counted as held to the end of the block, beside its norm
        return self.add(x, run(op.body[-1:], self, y))

    def up(self, x: np.ndarray, bilinear: bool) -> np.ndarray:
        return self.new(2 * x.shape[0], 2 * x.shape[1], x.shape[2])

    def pack(self, x: np.ndarray, factor: int) -> np.ndarray:
        return self.new(x.shape[0] // factor, x.shape[1] // factor, x.shape[2] * factor**2)

    def add(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return self.new(*x.shape)

    def concat(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return self.new(*x.shape[:2], x.shape[2] + y.shape[2])

    def noise(self, x: np.ndarray, op: Noise) -> np.ndarray:
        maps = self.new(*x.shape[:2], 2 * op.count * op.sizes)  # at first each by itself, then all together
        y = self.new(*x.shape)
        del maps
        return y

    def sigmoid(self, x: np.ndarray) -> np.ndarray:
        return self.new(*x.shape)


@contextlib.contextmanager
def _explain_lack(what: str) -> Iterator[None]:
    """Turns a lack of memory or disk into an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"`content`: {what} take files in {folder()}, which failed: {error.strerror}; make room, or name another "
            "folder in TMPDIR"
        ) from None
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise InputError(f"`content`: {what} take more memory than there is; use smaller tiles or pictures") from None


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
