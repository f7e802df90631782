"""The layers that stylisation networks are made of: reflected convolution, instance norm, adapters, sub-pixels."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

EPSILON = 1e-5  # of the instance norms
HE_NORMAL = nn.initializers.he_normal()
QUIET = nn.initializers.variance_scaling(0.01, "fan_in", "truncated_normal")  # the last: a sigmoid must not start full


class Norm(nn.Module):
    """Instance norm (Ulyanov et al. 2016), biased variance, in float32 or wider whatever the input."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        centred = wide - wide.mean((1, 2), keepdims=True)
        variance = jnp.square(centred).mean((1, 2), keepdims=True)  # two passes: the one-pass form cancels
        return (centred * (jax.lax.rsqrt(variance + EPSILON) * scale) + bias).astype(x.dtype)


class Conv(nn.Module):
    """Convolution padded by reflection."""

    features: int
    kernel: int
    dtype: jnp.dtype
    stride: int = 1
    init: Callable = HE_NORMAL
    bias: bool = False
    adapter: bool = False
    side_by_side: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.kernel, self.kernel, x.shape[-1], self.features)
        kernel = self.param("kernel", self.init, shape, jnp.float32)  # else other numbers are drawn where x64 is on
        adapter = self.param("adapter", nn.initializers.zeros, shape[2:], jnp.float32) if self.adapter else None
        if self.adapter and not self.side_by_side:
            kernel = with_adapter(kernel, adapter)
        y = reflect_conv(x, kernel.astype(self.dtype), self.stride)
        y = y + x @ adapter.astype(self.dtype) if self.adapter and self.side_by_side else y
        return y + self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype) if self.bias else y


def with_adapter(kernel: jax.Array, adapter: jax.Array) -> jax.Array:
    """The odd [k, k, C, D] with the [C, D] added to its centre."""
    centre = kernel.shape[0] // 2
    return kernel.at[centre, centre].add(adapter)


def reflect_conv(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """[N, H, W, C] padded by reflection, convolved with the odd [k, k, C, D]: [N, H / stride, W / stride, D]."""
    pad = kernel.shape[0] // 2
    return valid_conv(jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)), "reflect"), kernel, stride)


def valid_conv(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """[N, H, W, C] convolved with the [k, k, C, D] where that lies in it: at stride 1 [N, H - k + 1, W - k + 1, D].

    There, on CPUs, with one row of zeros below, and off again: without any, XLA takes up to six times as long.
    """
    row = stride == 1 and jax.default_backend() == "cpu"
    y = jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), ((0, int(row)), (0, 0)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return y[:, :-1] if row else y


def reflect_product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """What `reflect_conv` computes at stride 1, as one matrix product of the k k shifted pictures, side by side."""
    side, (height, width) = kernel.shape[0], x.shape[1:3]
    pad = side // 2
    padded = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)), "reflect")
    shifted = [padded[:, i : i + height, j : j + width] for i in range(side) for j in range(side)]
    return jnp.concatenate(shifted, -1) @ kernel.reshape(-1, kernel.shape[-1])


class Block(nn.Module):
    """x + norm(conv(relu(norm(conv(x)))))."""

    features: int
    dtype: jnp.dtype
    adapter: bool
    side_by_side: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = Conv(self.features, 3, self.dtype, name="conv1")(x)
        y = nn.relu(Norm(name="norm1")(y))
        y = Conv(self.features, 3, self.dtype, adapter=self.adapter, side_by_side=self.side_by_side, name="conv2")(y)
        return x + Norm(name="norm2")(y)


class Unpack(nn.Module):
    """3x3 convolution, then depth to space: `features` channels at `factor` times the resolution.

    Left free, the sub-pixels learn a tile that repeats all over the picture, for it is the cheapest texture. So their
    kernels are shifted to one common sum: whatever is constant in the input is constant in the output, and structure
    at the period of the grid can only come from structure in the input.
    """

    features: int
    factor: int
    dtype: jnp.dtype
    side_by_side: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        tile = self.factor**2
        kernel = self.param("kernel", _equal_subpixels(tile), (3, 3, x.shape[-1], tile * self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        kernel = common_sum(kernel, tile).astype(self.dtype)
        y = reflect_product(x, kernel) if self.side_by_side else reflect_conv(x, kernel)
        return depth_to_space(y, self.factor) + bias.astype(self.dtype)


def common_sum(kernel: jax.Array, tile: int) -> jax.Array:
    """[3, 3, C, tile D] with what its `tile` sub-pixels of a channel sum to more than their mean taken off each."""
    sums = kernel.sum((0, 1)).reshape(kernel.shape[2], tile, -1)
    excess = (sums - sums.mean(1, keepdims=True)).reshape(kernel.shape[2:])
    return kernel - excess / 9


def _equal_subpixels(tile: int) -> Callable:
    """All sub-pixels of a colour start with the same kernel."""

    def init(key, shape, dtype=jnp.float32):
        base = QUIET(key, (*shape[:3], shape[3] // tile), dtype)
        return jnp.tile(base, (1, 1, 1, tile))

    return init


def space_to_depth(x: jax.Array, factor: int) -> jax.Array:
    """[N, H, W, C] -> [N, H / f, W / f, f f C]; channels are ordered row, column, colour."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // factor, factor, w // factor, factor, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, h // factor, w // factor, factor * factor * c)


def depth_to_space(x: jax.Array, factor: int) -> jax.Array:
    """The inverse of `space_to_depth`."""
    n, h, w, c = x.shape
    x = x.reshape(n, h, w, factor, factor, c // factor**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, h * factor, w * factor, c // factor**2)
