"""The warm start: a small network that guesses a style's norm parameters from its statistics, before any step.

Ghiasi et al. (2017) predict a whole style from its picture and stop there. Here the inner loop starts from the guess,
and the outer loop trains both. The encoder has two layers, whose parameters are a flat dict like all others:

    fast_0 = fast + V relu(U n(code) + u)        for instance norms; other fast parameters start as they are

`code` holds the logarithms of the means and standard deviations of the loss network's features, at full size and, with
`encoder.octaves`, at half of it and so on; n shifts and scales the code of each octave to mean 0 and deviation 1. V
starts at zero, so training begins as it would without an encoder.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metastyle import config
from metastyle.errors import InputError
from metastyle.nets import vgg
from metastyle.nets.octaves import octaves
from metastyle.nets.params import Flat, split_by_scope

_SMALL = 1e-2  # features below it do not tell styles apart


def code(params: vgg.Params, pictures: jax.Array, dtype=jnp.float32, count: int = 1) -> jax.Array:
    """Computes the code of a style: f32[shots, H, W, 3] in [0, 1] -> f32[count, D], D = `size(params)`.

    The code of several pictures is the mean of their codes. dtype: of the loss network's convolutions. count: of
    octaves, from the full size down (nets/octaves.py).
    """
    return jnp.stack([_statistics(params, scaled, dtype) for scaled in octaves(pictures, count)])


def _statistics(params: vgg.Params, pictures: jax.Array, dtype: Any) -> jax.Array:
    statistics = []
    for x in vgg.features(params, pictures, vgg.TAPS, dtype).values():
        statistics += [x.mean((1, 2)), x.std((1, 2))]
    return jnp.log(jnp.concatenate(statistics, -1) + _SMALL).mean(0)


def size(params: vgg.Params) -> int:
    """Returns the length of the code of an octave: two numbers for each channel of the taps."""
    return 2 * sum(params[f"conv{tap[4:]}"]["bias"].shape[0] for tap in vgg.TAPS)


def initial(settings: config.Encoder, fast: Flat, seed: int) -> Flat:
    """Draws an encoder for these fast parameters: He-initialised, with zeros in the last layer."""
    outputs = sum(int(np.prod(x.shape)) for x in _norms(fast).values())
    kernel = jax.random.normal(jax.random.key(seed), (settings.code, settings.hidden)) * np.sqrt(2 / settings.code)
    return {
        "hidden/bias": jnp.zeros(settings.hidden),
        "hidden/kernel": kernel,
        "out/kernel": jnp.zeros((settings.hidden, outputs)),
    }


def guess(weights: Flat, fast: Flat, code: jax.Array) -> Flat:
    """Returns the fast parameters, with the encoder's guess of the instance norms for the style of `code`."""
    return fast | _guess(weights, _norms(fast), code)


@jax.jit  # one program in the compile cache at deployment, instead of one for each operation
def _guess(weights: Flat, norms: Flat, code: jax.Array) -> Flat:
    hidden = jax.nn.relu(normalize_code(code) @ weights["hidden/kernel"] + weights["hidden/bias"])
    offsets = hidden @ weights["out/kernel"]
    return {path: norms[path] + offsets[place].reshape(norms[path].shape) for path, place in columns(norms).items()}


def columns(fast: Flat) -> dict[str, slice]:
    """For each instance norm's parameter among `fast`, sorted by path: the encoder's outputs that are added to it."""
    found, place = {}, 0
    for path, x in sorted(_norms(fast).items()):
        found[path] = slice(place, place + int(np.prod(x.shape)))
        place = found[path].stop
    return found


def check(settings: config.Config, params: Any, name: str = "vgg") -> None:
    """Raises InputError, naming the argument `name`, if the settings' encoder doesn't fit this loss network."""
    found = settings.encoder.octaves * size(params)
    if settings.encoder.hidden and settings.encoder.code != found:
        raise InputError(
            f"`{name}`: expected the loss network that the encoder is for, whose codes have {settings.encoder.code} "
            f"numbers (`encoder.code`), got one whose codes have {found}"
        )


def normalize_code(code: jax.Array) -> jax.Array:
    """Shifts and scales each octave of a code to mean 0 and deviation 1: f32[octaves, D] -> f32[octaves * D]."""
    centred = code - code.mean(-1, keepdims=True)
    return (centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-6)).ravel()


def _norms(fast: Flat) -> Flat:
    return split_by_scope(fast, "norm")[0] if fast else {}
