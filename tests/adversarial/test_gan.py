"""A step of the GAN: each player's gradient is that of its own loss, and devices do not change the bits."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metastyle import config
from metastyle.adversarial import critics, game, gan
from metastyle.adversarial.game import Memory
from metastyle.losses import adversarial, perceptual
from metastyle.nets import critic, generator, spectral, vgg
from metastyle.nets.params import split_by_scope
from metastyle.train.mesh import Parallel
from tests.support import toy
from tests.support.numpy_nets import uniform

NET = config.Generator("s4,c3s1-6,R6x1a,p4-3,skip")
SETTINGS = config.Adversarial(
    run=config.Run(steps=10), critic_width=4, batch=4, augment=False, warmup=0, loss=config.Loss(style=2.0), weight=0.3
)
NETWORK = vgg.random_params()


def begun(settings=SETTINGS):
    params = generator.initial_params(NET, 0)
    params["out/kernel"] *= 20
    fast, slow = split_by_scope(params, "norm,adapter,out")
    target = perceptual.style_target(NETWORK, uniform(1, 32, 32, 3), settings.loss)
    constants = gan.Constants(NETWORK, slow, target)
    return constants, game.Players(fast, critics.initial(settings, NETWORK, 0))


def samples(count=4):
    rng = np.random.default_rng(5)
    drawn = {name: rng.random((count, 32, 32, 3), np.float32) for name in ("photo", "real", "held_out")}
    return drawn | {"key": rng.integers(0, 2**32, (count, 2), np.uint32)}


def one(index=0):
    return jax.tree.map(lambda x: jnp.asarray(x[index]), samples())


@pytest.mark.parametrize("kind", ["hinge", "least_squares", "non_saturating"])
def test_each_player_follows_its_own_loss(kind):
    settings = dataclasses.replace(SETTINGS, kind=kind)
    constants, players = begun(settings)
    vectors = spectral.initial_vectors(players.critic, 0)
    sample, loss = one(), functools.partial(gan.loss, settings, NET)
    found, (metrics, _) = jax.grad(loss, has_aux=True)(players, Memory(vectors, {}), sample, constants, 0)

    def made(fast):
        return generator.apply(NET, fast | constants.slow, sample["photo"][None])

    def values(weights, pictures):
        return critic.apply(spectral.normalized(weights, vectors), vgg.features(NETWORK, pictures, critic.TAPS))

    def generators(fast):
        kept = perceptual.content_target(NETWORK, sample["photo"][None], settings.loss)
        parts = perceptual.perceptual(NETWORK, made(fast), kept, constants.target, settings.loss)
        return parts.total.mean() + 0.3 * adversarial.generator_loss(kind, values(players.critic, made(fast)))

    def critics(weights):
        fixed = made(players.generator)
        return adversarial.critic_loss(kind, values(weights, sample["real"][None]), values(weights, fixed))

    assert toy.relative_error(found.generator, jax.grad(generators)(players.generator)) < 1e-5
    assert toy.relative_error(found.critic, jax.grad(critics)(players.critic)) < 1e-5
    assert set(metrics) == set(gan.METRICS) and all(np.isfinite(x) for x in metrics.values())


@pytest.mark.parametrize("mode, count", [("shard_map", 2), ("shard_map", 4), ("pmap", 2)])
def test_n_devices_take_the_same_step_as_one(mode, count):
    constants, players = begun()
    state, loss = game.initial_state(SETTINGS, players), functools.partial(gan.loss, SETTINGS, NET)
    expected, numbers = jax.jit(functools.partial(game.step, SETTINGS, loss))(state, samples(), constants)
    parallel = Parallel(mode, 4, jax.devices()[:count])
    step = parallel.wrap(functools.partial(game.step, SETTINGS, loss))
    after, metrics = step(parallel.replicate(state), parallel.split(samples()), parallel.replicate(constants))
    for ours, theirs, before in zip(after.players, expected.players, players, strict=True):
        change = jax.tree.map(lambda x, y: np.asarray(x) - y, theirs, before)
        assert toy.relative_error(jax.tree.map(lambda x, y: np.asarray(x) - y, ours, before), change) < 1e-3
    for name, value in numbers.items():
        assert float(metrics[name]) == pytest.approx(float(value), rel=1e-5)
    assert int(after.step) == 1


def test_the_average_follows_the_generator_slowly():
    settings = dataclasses.replace(SETTINGS, average=0.9)
    constants, players = begun()
    state = game.initial_state(settings, players)
    step = jax.jit(functools.partial(game.step, settings, functools.partial(gan.loss, settings, NET)))
    after, _ = step(state, samples(), constants)
    for path, x in after.average.items():
        expected = 0.9 * players.generator[path] + 0.1 * np.asarray(after.players.generator[path])
        np.testing.assert_allclose(x, expected, atol=1e-6)


def test_the_critic_learns_to_tell_real_pictures_that_are_smooth():
    settings = dataclasses.replace(SETTINGS, run=config.Run(steps=1000), lr=0.0, critic_lr=2e-2, batch=1)
    constants, players = begun()
    state = game.initial_state(settings, players)
    step = jax.jit(functools.partial(game.step, settings, functools.partial(gan.loss, settings, NET)))
    drawn = samples(1)
    drawn["real"] = drawn["real"][:, ::8, ::8].repeat(8, 1).repeat(8, 2)
    for _ in range(60):
        state, metrics = step(state, drawn, constants)
    assert metrics["told_real"] > 0.75 and metrics["told_made"] > 0.75


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_penalty_is_added_to_the_critic_alone(penalty):
    settings = dataclasses.replace(SETTINGS, penalty=penalty)
    constants, players = begun()
    memory = Memory(spectral.initial_vectors(players.critic, 0), {})
    found, plain = (
        jax.grad(functools.partial(gan.loss, each, NET), has_aux=True)(players, memory, one(), constants, 0)[0]
        for each in (settings, SETTINGS)
    )
    assert toy.relative_error(found.generator, plain.generator) < 1e-6
    assert (toy.relative_error(found.critic, plain.critic) > 1e-3) == (penalty > 0)
