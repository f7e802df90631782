"""The warm start: a small network that guesses a style's norm parameters from its statistics, before any step.

Ghiasi et al. (2017) predict all of a style from its picture and stop there; here it is where the inner loop begins, and
the outer loop trains both. Two layers, as a flat dict like all others:

    fast_0 = fast + V relu(U n(code) + u)        for instance norms; what else is fast starts as it is

`code` are the logarithms of means and standard deviations of the loss network's features, n brings a code to mean 0 and
deviation 1. V starts at zero, so training begins from what it would be without.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metastyle import config
from metastyle.errors import InputError
from metastyle.nets import vgg
from metastyle.nets.params import Flat, split_by_scope

_SMALL = 1e-2  # of features: below it, there is nothing to tell styles apart by


def code(params: vgg.Params, pictures: jax.Array, dtype=jnp.float32) -> jax.Array:
    """What the encoder reads of a style: f32[shots, H, W, 3] in [0, 1] -> f32[D], D = `size(params)`.

    That of several pictures is the mean of theirs.
    """
    statistics = []
    for x in vgg.features(params, pictures, vgg.TAPS, dtype).values():
        statistics += [x.mean((1, 2)), x.std((1, 2))]
    return jnp.log(jnp.concatenate(statistics, -1) + _SMALL).mean(0)


def size(params: vgg.Params) -> int:
    """The length of a code: two numbers for each channel of the taps."""
    return 2 * sum(params[f"conv{tap[4:]}"]["bias"].shape[0] for tap in vgg.TAPS)


def initial(settings: config.Encoder, fast: Flat, seed: int) -> Flat:
    """Parameters of an encoder for these fast ones: He-initialised, and zero in the last layer."""
    outputs = sum(int(np.prod(x.shape)) for x in _norms(fast).values())
    kernel = jax.random.normal(jax.random.key(seed), (settings.code, settings.hidden)) * np.sqrt(2 / settings.code)
    return {
        "hidden/bias": jnp.zeros(settings.hidden),
        "hidden/kernel": kernel,
        "out/kernel": jnp.zeros((settings.hidden, outputs)),
    }


def guess(weights: Flat, fast: Flat, code: jax.Array) -> Flat:
    """The fast parameters with those that the encoder guesses for the style of `code`."""
    return fast | _guess(weights, _norms(fast), code)


@jax.jit  # at deployment it is one program in the compile cache, not one for each operation
def _guess(weights: Flat, norms: Flat, code: jax.Array) -> Flat:
    hidden = jax.nn.relu(normalize_code(code) @ weights["hidden/kernel"] + weights["hidden/bias"])
    offsets, place, out = hidden @ weights["out/kernel"], 0, {}
    for path, x in sorted(norms.items()):
        count = int(np.prod(x.shape))
        out[path] = x + offsets[place : place + count].reshape(x.shape)
        place += count
    return out


def check(settings: config.Config, params: Any, name: str = "vgg") -> None:
    """Raises InputError, naming that argument, when the encoder of these settings doesn't read this loss network."""
    if settings.encoder.hidden and settings.encoder.code != size(params):
        raise InputError(
            f"`{name}`: expected the loss network that the encoder is for, whose codes have {settings.encoder.code} "
            f"numbers (`encoder.code`), got one whose codes have {size(params)}"
        )


def normalize_code(code: jax.Array) -> jax.Array:
    """A code shifted and scaled to mean 0 and deviation 1."""
    centred = code - code.mean()
    return centred * jax.lax.rsqrt(jnp.square(centred).mean() + 1e-6)


def _norms(fast: Flat) -> Flat:
    return split_by_scope(fast, "norm")[0] if fast else {}
