"""CycleGAN (Zhu et al. 2017): photographs to a domain and back, learned from pictures that do not belong together.

With G to the domain and F to photographs, and a critic of each side, the generators minimise

    L_g(D(G(x))) + L_g(D'(F(y))) + c (|F(G(x) + n) - x| + |G(F(y) + n) - y|) + c i (|G(y) - y| + |F(x) - x|)

means of absolute differences; i is 0 in the last third of a run. The noise n keeps the generators from hiding the
photograph in what the eye can't see (Chu et al. 2017). The critics see made pictures of earlier steps as well, from a
pool of 50 (Shrivastava et al. 2017).

The parameters of both ways are flat, with "domain/" and "photo/" before their paths, for the side that they lead to,
or judge.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metastyle import config
from metastyle.adversarial import critics
from metastyle.adversarial.game import Memory, Outcome, Players, Sample
from metastyle.config import Adversarial
from metastyle.losses import adversarial
from metastyle.nets import generator, spectral, vgg
from metastyle.nets.params import Flat

METRICS = ("cycle", "identity", "generator", "critic", "told_real", "told_held_out", "told_made")
SIDES = ("domain", "photo")


class Constants(NamedTuple):
    """What no step changes: the loss network, which a critic of features reads."""

    network: vgg.Params


def joined(domain: Flat, photo: Flat) -> Flat:
    """The parameters of both sides in one dict."""
    return {f"{side}/{path}": x for side, flat in zip(SIDES, (domain, photo), strict=True) for path, x in flat.items()}


def of_side(params: Flat, side: str) -> Flat:
    """The parameters of one side."""
    return {path.removeprefix(f"{side}/"): x for path, x in params.items() if path.startswith(f"{side}/")}


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
    real = {"photo": sample["photo"][None], "domain": sample["real"][None]}
    keys = list(jax.random.split(jax.random.wrap_key_data(sample["key"]), 10))
    into = {side: functools.partial(generator.apply, net, of_side(players.generator, side)) for side in SIDES}
    other = {"domain": "photo", "photo": "domain"}
    made = {side: into[side](real[other[side]]) for side in SIDES}
    noisy = {side: x + settings.noise * jax.random.normal(keys.pop(), x.shape) for side, x in made.items()}
    back = sum(jnp.abs(into[other[side]](noisy[side]) - real[other[side]]).mean() for side in SIDES)
    same: Any = sum(jnp.abs(into[side](real[side]) - real[side]).mean() for side in SIDES)

    weights: Any = spectral.normalized(players.critic, memory.vectors)
    judge = functools.partial(_judged, settings, constants, made, real, memory, sample, keys)
    critic, fooling, shares = jax.tree.map(jnp.add, *(judge(of_side(weights, side), side) for side in SIDES))
    identity = settings.identity * (step < 2 * settings.run.steps // 3)
    total = settings.weight * fooling + settings.cycle * (back + identity * same) + critic
    metrics = {"cycle": back / 2, "identity": same / 2, "generator": fooling / 2, "critic": critic / 2}
    metrics |= dict(zip(METRICS[4:], shares / 2, strict=True))
    kept = {side: x[0] for side, x in made.items()}
    return total, Outcome(*jax.lax.stop_gradient((metrics, kept)))


def _judged(
    settings: Adversarial,
    constants: Constants,
    made: dict[str, jax.Array],
    real: dict[str, jax.Array],
    memory: Memory,
    sample: Sample,
    keys: list[jax.Array],
    weights: Flat,
    side: str,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The critic's loss on a side, the generator's, and the shares that are told apart: real, held out, made."""
    see = functools.partial(critics.see, settings, constants.network)
    values = functools.partial(critics.values, settings)
    fixed = jax.lax.stop_gradient(made[side])
    if memory.pool:
        fixed = jnp.where(sample["read"], memory.pool[side][sample["slot"]][None], fixed)
    held_out = sample["held_out" if side == "domain" else "held_out_photo"][None]
    of_real, of_made = see(keys.pop(), real[side]), see(keys.pop(), fixed)
    on_real, on_made = values(weights, of_real), values(weights, of_made)
    frozen = jax.lax.stop_gradient(weights)
    fooling = adversarial.generator_loss(settings.kind, values(frozen, see(keys.pop(), made[side])))
    called = functools.partial(adversarial.share_called_real, settings.kind)
    others = called(values(frozen, see(keys.pop(), held_out)))
    shares = jnp.stack([called(on_real), others, 1 - called(on_made)])
    return critics.loss(settings, weights, of_real, on_real, on_made), fooling, shares
