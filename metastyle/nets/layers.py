"""The layers of the networks, as Flax modules and as functions of arrays."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from metastyle.nets import noise
from metastyle.nets.architecture import Conv, Noise
from metastyle.nets.params import Array, Flat

EPSILON = 1e-5  # of the instance norms
_HE = nn.initializers.he_normal()
_QUIET = nn.initializers.variance_scaling(
    0.01, "fan_in", "truncated_normal"
)  # for the last layer, whose sigmoid must not start saturated


class InstanceNorm(nn.Module):
    """Instance norm (Ulyanov et al. 2016) with the biased variance, computed in float32 or wider for any input."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        centred = wide - wide.mean((1, 2), keepdims=True)
        variance = jnp.square(centred).mean((1, 2), keepdims=True)  # two passes: the one-pass form cancels
        return (centred * (jax.lax.rsqrt(variance + EPSILON) * scale) + bias).astype(x.dtype)


class ReflectConv(nn.Module):
    """Convolution padded by reflection. side_by_side: its adapter is a product of its own; see `generator.Network`."""

    op: Conv
    dtype: jnp.dtype
    side_by_side: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        op = self.op
        shape = (op.kernel, op.kernel, x.shape[-1], op.features)
        init = _QUIET if op.head else _HE
        kernel = self.param("kernel", init, shape, jnp.float32)  # without the dtype, x64 mode would draw other numbers
        adapter = self.param("adapter", nn.initializers.zeros, shape[2:], jnp.float32) if op.adapter else None
        if adapter is not None and not self.side_by_side:
            kernel = with_adapter(kernel, adapter)
        kernel = blurred(kernel) if op.blur else kernel
        y = reflect_conv(x, kernel.astype(self.dtype), op.stride)
        if adapter is not None and self.side_by_side:
            y = y + x @ adapter.astype(self.dtype)
        if op.bias:
            y = y + self.param("bias", nn.initializers.zeros, (op.features,)).astype(self.dtype)
        return y


def with_adapter(kernel: jax.Array, adapter: Array) -> jax.Array:
    """Adds the adapter, [C, D], to the centre of the kernel, [k, k, C, D] with an odd k."""
    centre = kernel.shape[0] // 2
    return kernel.at[centre, centre].add(adapter)


def reflect_conv(x: jax.Array, kernel: Array, stride: int = 1) -> jax.Array:
    """[N, H, W, C] padded by reflection, convolved with the [k, k, C, D]: [N, H / stride, W / stride, D].

    An even kernel reaches one pixel further down and right than up and left.
    """
    pad = (kernel.shape[0] - 1) // 2, kernel.shape[0] // 2
    return valid_conv(jnp.pad(x, ((0, 0), pad, pad, (0, 0)), "reflect"), kernel, stride)


def valid_conv(x: jax.Array, kernel: Array, stride: int = 1) -> jax.Array:
    """[N, H, W, C] convolved with [k, k, C, D], without padding: at stride 1 [N, H - k + 1, W - k + 1, D].

    At stride 1 on CPUs, one row of zeros is added below and its result is dropped: without any padding, XLA takes up
    to six times as long.
    """
    row = stride == 1 and jax.default_backend() == "cpu"
    y = jax.lax.conv_general_dilated(
        x, jnp.asarray(kernel), (stride, stride), ((0, int(row)), (0, 0)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return y[:, :-1] if row else y


def reflect_product(x: jax.Array, kernel: Array) -> jax.Array:
    """Computes `reflect_conv` at stride 1 as one matrix product: the k k shifted pictures are stacked as channels."""
    side, (height, width) = kernel.shape[0], x.shape[1:3]
    pad = side // 2
    padded = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)), "reflect")
    shifted = [padded[:, i : i + height, j : j + width] for i in range(side) for j in range(side)]
    return jnp.concatenate(shifted, -1) @ kernel.reshape(-1, kernel.shape[-1])


class SubpixelConv(nn.Module):
    """A 3x3 convolution, then depth to space: `features` channels at `subpixels` times the resolution.

    If sub-pixels were independent, they would learn a small tile that repeats all over the picture, because that is the
    cheapest texture. So their kernels are shifted to one common sum: a constant input gives a constant output, and
    structure at the period of the grid can only come from structure in the input.
    """

    op: Conv
    dtype: jnp.dtype
    side_by_side: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        op, tile = self.op, self.op.subpixels**2
        init = _equal_subpixels(_QUIET if op.head else _HE, tile)
        kernel = self.param("kernel", init, (3, 3, x.shape[-1], tile * op.features))
        bias = self.param("bias", nn.initializers.zeros, (op.features,)) if op.bias else None
        kernel = common_sum(kernel, tile).astype(self.dtype)
        y = reflect_product(x, kernel) if self.side_by_side and op.head else reflect_conv(x, kernel)
        y = depth_to_space(y, op.subpixels)
        return y if bias is None else y + bias.astype(self.dtype)


class NoiseMaps(nn.Module):
    """Adds noise maps times a matrix to features. Their seed is a parameter too, but not one that learns."""

    op: Noise
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        op, (height, width, channels) = self.op, x.shape[1:]
        kernel = self.param("kernel", nn.initializers.zeros, (op.count * op.sizes, channels), jnp.float32)
        seed = self.param("seed", nn.initializers.constant(op.number), (), jnp.float32)
        return x + noise.times(kernel, seed, jnp.arange(height), jnp.arange(width), op).astype(self.dtype)


def fold_weights(params: Flat, op: Conv, xp: ModuleType = np) -> tuple[Any, Any]:
    """Folds the adapter, the blur and the common sum of `op` into the kernel and the bias of a plain convolution.

    A sub-pixel convolution still needs its depth to space. The bias is None where there is none.

    xp: `numpy` or `jax.numpy`, which computes. With NumPy, ONNX needs no JAX.
    """
    kernel = xp.asarray(params[f"{op.path}/kernel"])
    bias = xp.asarray(params[f"{op.path}/bias"]) if op.bias else None
    if op.adapter:
        centre = kernel.shape[0] // 2
        around = ((centre, centre), (centre, centre), (0, 0), (0, 0))
        kernel = kernel + xp.pad(xp.asarray(params[f"{op.path}/adapter"])[None, None], around)
    if op.blur:
        kernel = blurred(kernel, xp)
    if op.subpixels > 1:
        kernel = common_sum(kernel, op.subpixels**2)
        bias = None if bias is None else xp.tile(bias, op.subpixels**2)
    return kernel, bias


def common_sum(kernel: Any, tile: int) -> Any:
    """Shifts the sub-pixel kernels, [3, 3, C, tile D], to one common sum for the `tile` sub-pixels of each channel."""
    sums = kernel.sum((0, 1)).reshape(kernel.shape[2], tile, -1)
    excess = (sums - sums.mean(1, keepdims=True)).reshape(kernel.shape[2:])
    return kernel - excess / 9


def _equal_subpixels(init: Callable, tile: int) -> Callable:
    """Makes an initialiser that gives all sub-pixels of a channel the same kernel."""

    def equal(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
        base = init(key, (*shape[:3], shape[3] // tile), dtype)
        return jnp.tile(base, (1, 1, 1, tile))

    return equal


def blurred(kernel: Any, xp: ModuleType = jnp) -> Any:
    """Folds a binomial 3x3 filter of the input into the kernel: [k, k, C, D] -> [k + 2, k + 2, C, D].

    xp: `numpy` or `jax.numpy`, which computes.

    Before a stride the filter prevents aliasing (Zhang 2019, with the filter first, as in Karras et al. 2020). The
    result is exact at borders, too: a symmetric filter commutes with padding by reflection.
    """
    for axis in (0, 1):
        pad = [(2, 2) if i == axis else (0, 0) for i in range(4)]
        wide = xp.moveaxis(xp.pad(kernel, pad), axis, 0)
        kernel = xp.moveaxis((wide[:-2] + 2 * wide[1:-1] + wide[2:]) / 4, 0, axis)
    return kernel


def upsample(x: jax.Array, bilinear: bool = False) -> jax.Array:
    """[N, H, W, C] -> [N, 2 H, 2 W, C], nearest or bilinear (along each axis 3/4 of a pixel and 1/4 of a neighbour)."""
    if not bilinear:
        return x.repeat(2, 1).repeat(2, 2)
    for axis in (1, 2):
        size = x.shape[axis]
        before, after = (jnp.take(x, np.clip(np.arange(size) + i, 0, size - 1), axis) for i in (-1, 1))
        doubled = jnp.stack([(3 * x + before) / 4, (3 * x + after) / 4], axis + 1)
        x = doubled.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])
    return x


def space_to_depth(x: jax.Array, factor: int) -> jax.Array:
    """[N, H, W, C] -> [N, H / f, W / f, f f C]; the new channels are ordered by row, column, old channel."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // factor, factor, w // factor, factor, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, h // factor, w // factor, factor * factor * c)


def depth_to_space(x: jax.Array, factor: int) -> jax.Array:
    """The inverse of `space_to_depth`."""
    n, h, w, c = x.shape
    x = x.reshape(n, h, w, factor, factor, c // factor**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, h * factor, w * factor, c // factor**2)
