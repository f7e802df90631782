"""Changes of pictures through which gradients flow, for critics that see few real ones (DiffAugment, Zhao et al. 2020).

Real and made pictures are changed in the same way, in the steps of the critic and of the generator. So the critic
cannot learn the few real pictures by heart, and the changes do not leak into what is made.
"""

import jax
import jax.numpy as jnp

_SHIFT = 1 / 8  # of the side
_HOLE = 1 / 2  # of the side


def augment(key: jax.Array, pictures: jax.Array) -> jax.Array:
    """Changes each of f32[N, H, W, 3] in [0, 1]: its colours, its place, and a square that becomes grey.

    The colours may leave [0, 1], as in the paper.
    """
    return jax.vmap(_augmented)(jax.random.split(key, len(pictures)), pictures)


def _augmented(key: jax.Array, picture: jax.Array) -> jax.Array:
    numbers = jax.random.uniform(key, (7,))
    return _with_hole(_moved(_colored(picture, numbers[:3]), numbers[3:5]), numbers[5:])


def _colored(picture: jax.Array, numbers: jax.Array) -> jax.Array:
    """Brightness by up to a half, saturation by up to twice, contrast by up to a half."""
    picture = picture + (numbers[0] - 0.5)
    grey = picture.mean(-1, keepdims=True)
    picture = grey + 2 * numbers[1] * (picture - grey)
    middle = picture.mean()
    return middle + (0.5 + numbers[2]) * (picture - middle)


def _moved(picture: jax.Array, numbers: jax.Array) -> jax.Array:
    """Moved by up to an eighth of each side; what comes in is grey."""
    height, width = picture.shape[:2]
    room = [round(side * _SHIFT) for side in (height, width)]
    padded = jnp.pad(picture - 0.5, ((room[0], room[0]), (room[1], room[1]), (0, 0)))
    starts = [(number * (2 * most + 1)).astype(jnp.int32) for number, most in zip(numbers, room, strict=True)]
    return jax.lax.dynamic_slice(padded, (*starts, 0), picture.shape) + 0.5


def _with_hole(picture: jax.Array, numbers: jax.Array) -> jax.Array:
    """A square of half the sides, which may reach beyond the border, becomes grey."""
    inside = []
    for number, side in zip(numbers, picture.shape[:2], strict=True):
        half = round(side * _HOLE) / 2
        inside.append(jnp.abs(jnp.arange(side) + 0.5 - number * side) <= half)
    hole = inside[0][:, None, None] & inside[1][None, :, None]
    return jnp.where(hole, 0.5, picture)
