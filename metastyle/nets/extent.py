"""Where a picture is in a larger array: pictures of many sizes share a few array sizes, and so a few compiled programs.

A picture lies in the upper left corner, and what computes on the array must take the padding out again.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_LEAST_STEP, _STEPS = 64, 4  # px; sides per octave


class Extent(NamedTuple):
    """The size of a picture, px, and of the array that holds it."""

    height: int
    width: int
    padded: tuple[int, int]

    @classmethod
    def of(cls, height: int, width: int, spare: int = 0) -> "Extent":
        """The extent of a picture of this size. spare: px that are added to every side of an array."""
        return cls(height, width, (padded_side(height - spare) + spare, padded_side(width - spare) + spare))

    def pad(self, picture: np.ndarray) -> jax.Array:
        """[..., H, W, C] -> f32[..., H', W', C], with zeros below and on the right."""
        below, right = self.padded[0] - self.height, self.padded[1] - self.width
        around = [(0, 0)] * (picture.ndim - 3) + [(0, below), (0, right), (0, 0)]
        return jnp.asarray(np.pad(np.asarray(picture, np.float32), around))

    def crop(self, padded: jax.Array) -> np.ndarray:
        """The inverse of `pad`."""
        return np.asarray(padded)[..., : self.height, : self.width, :]

    def inside(self) -> jax.Array:
        """f32[1, H', W', 1]: 1 in the picture, 0 in the padding."""
        return self.pad(np.ones((1, self.height, self.width, 1)))


def padded_side(side: int) -> int:
    """The least of the sides for arrays that is not shorter: multiples of 64 px, and four in each octave from 256 on.

    They are all multiples of 64, so that after three halvings they are multiples of 8. At most a quarter of a side is
    padding where it is longer than 256 px, and about a tenth on average.
    """
    step = max(_LEAST_STEP, 2 ** max(side - 1, 1).bit_length() // (2 * _STEPS))
    return max(-(-side // step) * step, _LEAST_STEP)
