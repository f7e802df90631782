"""How much an output changes, beside moving along, when the photograph is moved by less than the network's pixel grid.

The mean squared change as a share of the output's variance, as `evaluate.metrics.shift_change` measures it: 0 where the
texture moves along with the picture.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

_MOST = 3  # px
_MARGIN = 8  # px along the borders that don't count, since what is reflected there changes as well
_TINY = 1e-4  # keeps the share finite for a picture of one colour


def shift_loss(
    stylize: Callable[[jax.Array], jax.Array], photographs: jax.Array, outputs: jax.Array, seed: jax.Array
) -> jax.Array:
    """The change of outputs for photographs f32[N, H, W, 3] that are moved by 1 to 3 px down, 0 to 3 px right: f32[N].

    stylize: f32[N, H, W, 3] -> the same. outputs: `stylize(photographs)`. seed: f32[], which chooses the move.
    """
    number = seed.astype(jnp.int32)
    down, right = 1 + number % _MOST, number // _MOST % (_MOST + 1)
    height, width = (side - _MOST - 2 * _MARGIN for side in photographs.shape[1:3])
    padded = jnp.pad(photographs, ((0, 0), (0, _MOST), (0, _MOST), (0, 0)), "reflect")
    moved = stylize(jax.lax.dynamic_slice(padded, (0, down, right, 0), photographs.shape))
    count, channels = outputs.shape[0], outputs.shape[3]
    after = moved[:, _MARGIN : _MARGIN + height, _MARGIN : _MARGIN + width]
    before = jax.lax.dynamic_slice(outputs, (0, _MARGIN + down, _MARGIN + right, 0), (count, height, width, channels))
    return jnp.square(after - before).mean((1, 2, 3)) / (outputs.var((1, 2, 3)) + _TINY)
