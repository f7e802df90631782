"""A picture at growing scales: each octave has half the height and width of the one before."""

import jax
import jax.numpy as jnp

from metastyle.nets.vgg import halved_mask


def octaves(pictures: jax.Array, count: int, inside: jax.Array | None = None) -> list[jax.Array]:
    """The pictures f32[N, H, W, C] themselves, then halved once, twice, ...: `count` arrays. inside: as for `halve`."""
    found = [pictures]
    while len(found) < count:
        found.append(halve(found[-1], inside))
        inside = None if inside is None else halved_mask(inside)
    return found


def halve(pictures: jax.Array, inside: jax.Array | None = None) -> jax.Array:
    """[N, H, W, C] -> [N, H // 2, W // 2, C], by the binomial filter 1 3 3 1 along each axis.

    The filter prevents aliasing. Means of 2 x 2 pixels don't: pictures that are optimised through them show blocks.
    At the border the filter is cut off, and its weights are divided by their sum. So a constant picture stays as it is.

    inside: f32[1, H, W, 1], for pictures that were padded below and on the right: 1 in the picture, 0 in the padding.
      The result is the one without the padding, and 0 beyond it.
    """
    if inside is None:
        return _filter(pictures) / _filter(jnp.ones((1, *pictures.shape[1:3], 1), pictures.dtype))
    left = halved_mask(inside)
    return left * _filter(pictures * inside) / jnp.where(left > 0, _filter(inside), 1.0)


def _filter(x: jax.Array) -> jax.Array:
    for axis in (1, 2):
        length = x.shape[axis] // 2 * 2
        x = jnp.pad(x, [(1, 1) if i == axis else (0, 0) for i in range(4)])
        # Slices with a stride: on CPUs their gradient is faster than that of a convolution of few channels.
        a, b, c, d = (jax.lax.slice_in_dim(x, i, i + length - 1, 2, axis) for i in range(4))
        x = (a + 3 * (b + c) + d) / 8
    return x
