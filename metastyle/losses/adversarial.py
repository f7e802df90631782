"""The two sides of adversarial training (Goodfellow et al. 2014): what a critic and a generator minimise.

With r a critic's values for real pictures and f those for made ones, unbounded, the means over all values of

    kind             the critic                             the generator
    hinge            max(0, 1 - r) + max(0, 1 + f)          -f                    (Lim and Ye 2017)
    least_squares    (r - 1)^2 + f^2                        (f - 1)^2             (Mao et al. 2017)
    non_saturating   softplus(-r) + softplus(f)             softplus(-f)          (Goodfellow et al. 2014)
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class Kind(NamedTuple):
    """The parts of a kind of loss, of a critic's values for real and for made pictures.

    between: values above it call a picture real.
    """

    real: Callable[[jax.Array], jax.Array]
    made: Callable[[jax.Array], jax.Array]
    generator: Callable[[jax.Array], jax.Array]
    between: float = 0.0


KINDS = {
    "hinge": Kind(lambda r: jax.nn.relu(1 - r), lambda f: jax.nn.relu(1 + f), lambda f: -f),
    "least_squares": Kind(lambda r: jnp.square(r - 1), jnp.square, lambda f: jnp.square(f - 1), 0.5),
    "non_saturating": Kind(lambda r: jax.nn.softplus(-r), jax.nn.softplus, lambda f: jax.nn.softplus(-f)),
}


def critic_loss(kind: str, real: list[jax.Array], made: list[jax.Array]) -> jax.Array:
    """What the critic minimises, f32[]. real, made: its values at each of its scales, f32[N, h, w] each."""
    part = KINDS[kind]
    return _mean([part.real(r).mean() + part.made(f).mean() for r, f in zip(real, made, strict=True)])


def generator_loss(kind: str, made: list[jax.Array]) -> jax.Array:
    """What the generator minimises, f32[]. made: as for `critic_loss`."""
    return _mean([KINDS[kind].generator(f).mean() for f in made])


def share_called_real(kind: str, values: list[jax.Array]) -> jax.Array:
    """The share of a critic's values that call a picture real, f32[]. values: as for `critic_loss`."""
    return _mean([(value > KINDS[kind].between).mean() for value in values])


def gradient_penalty(critic: Callable[[Any], list[jax.Array]], real: Any) -> jax.Array:
    """R1 (Mescheder et al. 2018): the mean over pictures of |d sum(critic) / d real|^2 / 2, f32[].

    real: what the critic reads of N real pictures, a tree of f32[N, ...]: features rather than pixels, where a second
    derivative through the loss network would be slow.
    """
    values = lambda x: sum(value.sum() for value in critic(x))
    gradients = jax.tree.leaves(jax.grad(values)(real))
    return optax.tree.norm(gradients, squared=True) / (2 * len(gradients[0]))


def _mean(values: list[jax.Array]) -> jax.Array:
    return sum(values[1:], values[0]) / len(values)
