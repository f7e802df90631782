"""The critic of a run: heads on the loss network's features, or a network that judges patches of pixels.

Its kernels are divided by their largest singular values in both cases (nets/spectral.py).
"""

import jax
import jax.numpy as jnp

from metastyle.config import FEATURES, Adversarial
from metastyle.losses import adversarial, diff_augment
from metastyle.nets import architecture, critic, generator, vgg
from metastyle.nets.params import Flat, flatten, unflatten

_SIDE = 64  # px: of the picture on which a network is initialised


def initial(settings: Adversarial, network: vgg.Params, seed: int) -> Flat:
    """Draws a critic's parameters. Raises InputError for a `critic` that is no network of patches."""
    if settings.critic == FEATURES:
        seen = jax.eval_shape(lambda: vgg.features(network, jnp.zeros((1, 32, 32, 3)), critic.TAPS))
        return critic.initial_params({tap: x.shape[-1] for tap, x in seen.items()}, settings.critic_width, seed=seed)
    architecture.parse(settings.critic, "critic", "patch")
    module = _patches(settings)
    return flatten(dict(module.init(jax.random.key(seed), jnp.zeros((1, _SIDE, _SIDE, 3)))["params"]))


def see(settings: Adversarial, network: vgg.Params, key: jax.Array, pictures: jax.Array) -> dict[str, jax.Array]:
    """What a critic reads of f32[N, H, W, 3]: features by tap, or the pixels; changed at random, if that is asked for.

    key: of the random changes, which must be another one for each set of pictures.
    """
    if settings.augment:
        pictures = diff_augment.augment(key, pictures)
    return vgg.features(network, pictures, critic.TAPS) if settings.critic == FEATURES else {"pixels": pictures}


def values(settings: Adversarial, weights: Flat, seen: dict[str, jax.Array]) -> list[jax.Array]:
    """A critic's values at each of its scales, f32[N, h, w, 1]. weights: normalised parameters."""
    if settings.critic == FEATURES:
        return critic.apply(weights, seen)
    return [jnp.asarray(_patches(settings).apply({"params": unflatten(weights)}, seen["pixels"]))]


def loss(
    settings: Adversarial, weights: Flat, real: dict[str, jax.Array], on_real: list[jax.Array], on_made: list[jax.Array]
) -> jax.Array:
    """What a critic minimises, f32[]: with the penalty of the settings."""
    total = adversarial.critic_loss(settings.kind, on_real, on_made)
    if settings.penalty:
        total += settings.penalty * adversarial.gradient_penalty(lambda x: values(settings, weights, x), real)
    return total


def _patches(settings: Adversarial) -> generator.Network:
    return generator.Network(settings.critic, head="patch")
