"""A picture at growing scales: each octave has half the height and width of the one before."""

import jax
import jax.numpy as jnp


def octaves(pictures: jax.Array, count: int) -> list[jax.Array]:
    """The pictures f32[N, H, W, C] themselves, then halved once, twice, ...: `count` arrays."""
    found = [pictures]
    while len(found) < count:
        found.append(halve(found[-1]))
    return found


def halve(pictures: jax.Array) -> jax.Array:
    """[N, H, W, C] -> [N, H // 2, W // 2, C], by the binomial filter 1 3 3 1 along each axis.

    The filter prevents aliasing. Means of 2 x 2 pixels don't: pictures that are optimised through them show blocks. A
    constant picture stays as it is. Beyond the border the last pixels are repeated.
    """
    for axis in (1, 2):
        length = pictures.shape[axis] // 2 * 2
        x = jax.lax.slice_in_dim(pictures, 0, length, axis=axis)
        x = jnp.pad(x, [(1, 1) if i == axis else (0, 0) for i in range(4)], "edge")
        # Slices with a stride: on CPUs their gradient is faster than that of a convolution of few channels.
        a, b, c, d = (jax.lax.slice_in_dim(x, i, i + length - 1, 2, axis) for i in range(4))
        pictures = (a + 3 * (b + c) + d) / 8
    return pictures
