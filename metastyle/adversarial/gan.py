"""Photographs to a domain: content and style losses, and a critic that tells the domain's pictures from made ones.

    generator:  C + w_s S + w_a L_g(D(G(x)))        critic:  L_d(D(y), D(G(x)))

S is measured against the mean statistics of the domain's pictures. The critic sees pictures that are changed at random
(losses/diff_augment.py).
"""

import functools
from typing import NamedTuple

import jax

from metastyle import config
from metastyle.adversarial import critics
from metastyle.adversarial.game import Memory, Outcome, Players, Sample
from metastyle.config import Adversarial
from metastyle.losses import adversarial, perceptual
from metastyle.nets import generator, spectral, vgg
from metastyle.nets.params import Flat

METRICS = ("content", "style", "generator", "critic", "told_real", "told_held_out", "told_made")


class Constants(NamedTuple):
    """What no step changes: the loss network, the parameters that don't learn, and the domain's mean statistics."""

    network: vgg.Params
    slow: Flat
    target: perceptual.Target


def loss(
    settings: Adversarial,
    net: config.Generator,
    players: Players,
    memory: Memory,
    sample: Sample,
    constants: Constants,
    step: jax.Array,
) -> tuple[jax.Array, Outcome]:
    """The sum of both players' losses for a sample of data.domains.PairSampler (`adversarial.game.Loss`)."""
    photo, real, held_out = (sample[name][None] for name in ("photo", "real", "held_out"))
    keys = jax.random.split(jax.random.wrap_key_data(sample["key"]), 3)
    made = generator.apply(net, players.generator | constants.slow, photo)
    kept = perceptual.content_target(constants.network, photo, settings.loss)
    parts = perceptual.perceptual(constants.network, made, kept, constants.target, settings.loss)

    learning = spectral.normalized(players.critic, memory.vectors)
    frozen = jax.lax.stop_gradient(learning)
    see = functools.partial(critics.see, settings, constants.network)
    values = functools.partial(critics.values, settings)
    seen = [see(key, x) for key, x in zip(keys, (real, made, held_out), strict=True)]
    on_real, on_made = values(learning, seen[0]), values(learning, jax.lax.stop_gradient(seen[1]))
    critic = critics.loss(settings, learning, seen[0], on_real, on_made)
    fooling = adversarial.generator_loss(settings.kind, values(frozen, seen[1]))
    called = functools.partial(adversarial.share_called_real, settings.kind)
    metrics = {
        "content": parts.content.mean(),
        "style": parts.style.mean(),
        "generator": fooling,
        "critic": critic,
        "told_real": called(on_real),
        "told_held_out": called(values(frozen, seen[2])),
        "told_made": 1 - called(on_made),
    }
    total = parts.total.mean() + settings.weight * fooling + critic
    return total, Outcome(jax.lax.stop_gradient(metrics), {})
