"""Networks on pictures of any size by a few compiled programs: a picture is computed inside a larger array.

The array is as nets/extent.py says, and the picture's height and width are arguments of the program. Each layer
computes on the whole array. What a layer would find at the picture's lower or right border is made inside of it: the
reflection before a convolution, the repeated row before a bilinear up-sampling, and the statistics of an instance norm,
which don't count the padding. So the result is that of `generator.apply`, but for rounding.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metastyle import config
from metastyle.nets import layers, noise
from metastyle.nets.architecture import Conv, Noise, Residual, check_size, parse, run, walk
from metastyle.nets.extent import Extent
from metastyle.nets.params import Flat
from metastyle.nets.phases import mean_over_phases
from metastyle.system.programs import bounded_jit

_MOST = 64  # programs, for photographs of ordinary sizes have so many arrays; each takes about 6 MiB


class Inside(NamedTuple):
    """Features in the upper left corner of an array. values: f[N, H', W', C]. sides: i32[2], their height and width."""

    values: jax.Array
    sides: jax.Array

    def mask(self) -> jax.Array:
        """bool[1, H', W', 1]: true inside."""
        rows, columns = (jnp.arange(n) < side for n, side in zip(self.values.shape[1:3], self.sides, strict=True))
        return (rows[:, None] & columns)[None, :, :, None]


class PaddedLayers:
    """The backend of `architecture.walk` on `Inside`."""

    def __init__(self, params: Flat, dtype: jnp.dtype):
        self._params, self._dtype = params, dtype

    def conv(self, x: Inside, op: Conv) -> Inside:
        kernel, bias = layers.fold_weights(self._params, op, jnp)
        before, after = (kernel.shape[0] - 1) // 2, kernel.shape[0] // 2
        values = x.values
        for axis in (1, 2):
            values = _reflected(values, axis, x.sides[axis - 1], before, after)
        y = layers.valid_conv(values, jnp.asarray(kernel, self._dtype), op.stride)
        if bias is not None:
            y = y + jnp.asarray(bias, self._dtype)
        if op.subpixels > 1:
            y = layers.depth_to_space(y, op.subpixels)
        y = y.astype(jnp.promote_types(y.dtype, jnp.float32)) if op.head else y
        return Inside(y, x.sides * op.subpixels // op.stride)

    def norm(self, x: Inside, path: str) -> Inside:
        """Computes as `layers.InstanceNorm`; the padding becomes the bias, so that it stays small at any depth."""
        wide, mask = x.values.astype(jnp.promote_types(x.values.dtype, jnp.float32)), x.mask()
        count = x.sides.prod().astype(wide.dtype)
        mean = lambda y: jnp.where(mask, y, 0).sum((1, 2), keepdims=True) / count
        centred = jnp.where(mask, wide - mean(wide), 0)
        factor = jax.lax.rsqrt(mean(jnp.square(centred)) + layers.EPSILON) * self._params[f"{path}/scale"]
        return x._replace(values=(centred * factor + self._params[f"{path}/bias"]).astype(x.values.dtype))

    def relu(self, x: Inside, slope: float) -> Inside:
        return x._replace(values=jax.nn.leaky_relu(x.values, slope) if slope else jax.nn.relu(x.values))

    def residual(self, x: Inside, op: Residual) -> Inside:
        return self.add(x, run(op.body, self, x))

    def up(self, x: Inside, bilinear: bool) -> Inside:
        values = x.values
        if bilinear:  # it reads one row and column more than it is given
            for axis in (1, 2):
                values = _repeated(values, axis, x.sides[axis - 1])
        return Inside(layers.upsample(values, bilinear), 2 * x.sides)

    def pack(self, x: Inside, factor: int) -> Inside:
        return Inside(layers.space_to_depth(x.values, factor), x.sides // factor)

    def add(self, x: Inside, y: Inside) -> Inside:
        return x._replace(values=x.values + y.values.astype(x.values.dtype))

    def concat(self, x: Inside, y: Inside) -> Inside:
        return x._replace(values=jnp.concatenate([x.values, y.values], -1))

    def noise(self, x: Inside, op: Noise) -> Inside:
        rows, columns = map(jnp.arange, x.values.shape[1:3])
        kernel, seed = (self._params[f"{op.path}/{name}"] for name in ("kernel", "seed"))
        return x._replace(values=x.values + noise.times(kernel, seed, rows, columns, op).astype(x.values.dtype))

    def sigmoid(self, x: Inside) -> Inside:
        return x._replace(values=jax.nn.sigmoid(x.values))


def _reflected(values: jax.Array, axis: int, side: jax.Array, before: int, after: int) -> jax.Array:
    """Pads an axis, on which `side` positions are inside, by their reflection."""
    padding = [(before, after) if i == axis else (0, 0) for i in range(values.ndim)]
    padded = jnp.pad(values, padding)
    if before:
        first = jnp.flip(jax.lax.slice_in_dim(values, 1, before + 1, axis=axis), axis)
        padded = jax.lax.dynamic_update_slice_in_dim(padded, first, 0, axis)
    if after:
        last = jnp.flip(jax.lax.dynamic_slice_in_dim(values, side - 1 - after, after, axis), axis)
        padded = jax.lax.dynamic_update_slice_in_dim(padded, last, before + side, axis)
    return padded


def _repeated(values: jax.Array, axis: int, side: jax.Array) -> jax.Array:
    """Writes the last position inside once more behind it, where the array has room; where not, no one reads it."""
    last = jax.lax.dynamic_slice_in_dim(values, side - 1, 1, axis)
    return jax.lax.dynamic_update_slice_in_dim(values, last, side, axis)


def _network(arch: str, dtype: str, params: Flat, images: jax.Array, sides: jax.Array) -> jax.Array:
    backend = PaddedLayers(params, jnp.dtype(dtype))
    return walk(parse(arch), backend, Inside(images.astype(dtype), sides)).values


_program = bounded_jit(_network, most=_MOST, static_argnums=(0, 1))


@functools.partial(bounded_jit, static_argnums=(0, 1))
def _program_each(arch, dtype, fast: Flat, slow: Flat, images: jax.Array, sides: jax.Array) -> jax.Array:
    one = lambda fast, image: _network(arch, dtype, fast | slow, image[None], sides)[0]
    return jax.vmap(one)(fast, images)


def extent(settings: config.Generator, height: int, width: int) -> Extent:
    """Where a picture of this size lies, once it is padded to the net's multiple, which phases do twice."""
    multiple = parse(settings.arch).multiple
    rows, columns = (-(-side // multiple) * multiple for side in (height, width))
    return Extent.of(rows, columns, spare=2 * multiple)


def stylize(settings: config.Generator, params: Flat, images: np.ndarray) -> np.ndarray:
    """`generator.apply`, but for rounding, of pictures of any size: f32[N, H, W, 3] in [0, 1] -> the same.

    Phases are computed one after the other, in the memory of one.
    """
    one = lambda x, sides: _program(settings.arch, settings.dtype, params, x, sides)
    return _inside(settings, one, images)


def stylize_each(settings: config.Generator, fast: Sequence[Flat], slow: Flat, images: np.ndarray) -> np.ndarray:
    """Stylises each picture with fast parameters of its own: f32[N, H, W, 3] in [0, 1] -> the same.

    On CPUs the pictures go one after the other through one program: kernels that differ from picture to picture make
    grouped convolutions, which take two to three times as long there.
    """
    if jax.default_backend() == "cpu":
        pairs = zip(fast, images, strict=True)
        return np.concatenate([stylize(settings, own | slow, image[None]) for own, image in pairs])
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *fast)
    every = lambda x, sides: _program_each(settings.arch, settings.dtype, stacked, slow, x, sides)
    return _inside(settings, every, images)


def _inside(settings: config.Generator, program: Callable, images: np.ndarray) -> np.ndarray:
    net = parse(settings.arch)
    check_size(images.shape[1], images.shape[2], net.min_side)

    def run(images: np.ndarray) -> np.ndarray:
        height, width = images.shape[1:3]
        place = extent(settings, height, width)
        pad = ((0, 0), (0, place.height - height), (0, place.width - width), (0, 0))
        sides = np.array([place.height, place.width], np.int32)
        return place.crop(program(place.pad(np.pad(images, pad, "reflect")), sides))[:, :height, :width]

    return mean_over_phases(run, np.asarray(images, np.float32), settings.phases, net.multiple)
