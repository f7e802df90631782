"""A critic that reads the features of the loss network: a small head at each of a few taps, with a value a place.

A head is a 1x1 convolution, a 3x3 one and a 1x1 one to its outputs, with leaky ReLUs between them; with several
outputs, each is the value for one domain. The features are computed for the perceptual loss anyway. Parameters are
flat: "relu3_3/conv1/kernel".
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from metastyle.nets.params import Array, Flat

TAPS = ("relu2_2", "relu3_3", "relu4_3")  # that are read by default
_SLOPE = 0.2  # of the leaky ReLUs


def initial_params(channels: dict[str, int], width: int, outputs: int = 1, seed: int = 0) -> Flat:
    """Draws the heads at these taps, whose features have so many channels, with `width` channels in between."""
    rng = np.random.default_rng(seed)
    params: Flat = {}
    for tap, count in channels.items():
        shapes = ((1, 1, count, width), (3, 3, width, width), (1, 1, width, outputs))
        for i, shape in enumerate(shapes, 1):
            drawn = rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1]))
            params[f"{tap}/conv{i}/kernel"] = drawn.astype(np.float32)
            params[f"{tap}/conv{i}/bias"] = np.zeros(shape[-1], np.float32)
    return params


def taps(params: Flat) -> Sequence[str]:
    """The taps that a critic reads."""
    return list(dict.fromkeys(path.partition("/")[0] for path in params))


def apply(params: Flat, features: dict[str, jax.Array]) -> list[jax.Array]:
    """The values at each tap, f32[N, h, w, outputs], for features f32[N, h, w, C] by tap.

    The features of each tap are divided by their root mean square over a picture, since taps differ in scale.
    """
    values = []
    for tap in taps(params):
        x = features[tap]
        x = x * lax.rsqrt(jnp.square(x).mean((1, 2, 3), keepdims=True) + 1e-6)
        for i in (1, 2, 3):
            x = _convolved(x, params[f"{tap}/conv{i}/kernel"]) + params[f"{tap}/conv{i}/bias"]
            x = jax.nn.leaky_relu(x, _SLOPE) if i < 3 else x
        values.append(x)
    return values


def _convolved(x: jax.Array, kernel: Array) -> jax.Array:
    return lax.conv_general_dilated(x, jnp.asarray(kernel), (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
