"""CycleGAN: its losses by hand, what its critics see from the pool, and how the pool changes."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metastyle import config
from metastyle.adversarial import critics, cycle_gan, game
from metastyle.adversarial.game import Memory, Players
from metastyle.data.domains import Domain, PairSampler
from metastyle.losses import adversarial
from metastyle.nets import generator, spectral, vgg
from metastyle.train.mesh import Parallel
from tests.support import toy
from tests.support.numpy_nets import uniform

NET = config.Generator("s4,c3s1-6.bare,R6x1,p4-3")
SETTINGS = config.Adversarial(
    system="cycle_gan",
    run=config.Run(steps=9),
    generator=NET,
    data=config.DomainData(size=32, short=40),
    critic="c4s2-4.bare.leaky,c4s2-6.bare.leaky,c4s1-1",
    kind="least_squares",
    weight=1.0,
    augment=False,
    batch=2,
    pool=4,
    noise=0.0,
)
CONSTANTS = cycle_gan.Constants(vgg.random_params())


def players():
    ways = [generator.initial_params(NET, i) for i in range(2)]
    for way in ways:
        way["out/kernel"] *= 20
    return Players(cycle_gan.joined(*ways), cycle_gan.joined(*(critics.initial(SETTINGS, {}, i) for i in range(2))))


def memory(pool=4):
    vectors = spectral.initial_vectors(players().critic, 0)
    return Memory(vectors, {side: uniform(pool, 32, 32, 3) for side in cycle_gan.SIDES} if pool else {})


def sample(read=False, slot=2, write=True):
    rng = np.random.default_rng(3)
    names = ("photo", "real", "held_out", "held_out_photo")
    drawn = {name: rng.random((32, 32, 3), np.float32) for name in names}
    place = {"slot": np.int32(slot), "read": np.array(read), "write": np.array(write)}
    return jax.tree.map(jnp.asarray, drawn | place | {"key": np.uint32([1, 2])})


def by_hand(chosen, step, read):
    """The losses of both players, and what was made."""
    who, held, drawn = players(), memory(), sample(read)
    of_side = functools.partial(cycle_gan.of_side, who.generator)
    way = {side: functools.partial(generator.apply, NET, of_side(side)) for side in cycle_gan.SIDES}
    x, y = drawn["photo"][None], drawn["real"][None]
    to, back = way["domain"](x), way["photo"](y)
    mean = lambda a, b: float(jnp.abs(a - b).mean())
    cycle = mean(way["photo"](to), x) + mean(way["domain"](back), y)
    identity = mean(way["domain"](y), y) + mean(way["photo"](x), x)
    weights = spectral.normalized(who.critic, held.vectors)
    values = lambda side, z: critics.values(SETTINGS, cycle_gan.of_side(weights, side), {"pixels": z})
    made = {"domain": to, "photo": back}
    fooling = sum(float(adversarial.generator_loss(chosen.kind, values(side, z))) for side, z in made.items())
    seen = {side: held.pool[side][2][None] for side in made} if read else made
    critic = sum(
        float(adversarial.critic_loss(chosen.kind, values(side, real), values(side, seen[side])))
        for side, real in (("domain", y), ("photo", x))
    )
    kept = chosen.identity if step < 6 else 0.0
    return fooling + 10 * (cycle + kept * identity) + critic, {side: x[0] for side, x in made.items()}


@pytest.mark.parametrize("step, read", [(0, False), (5, True), (6, False)])
def test_the_losses(step, read):
    total, (metrics, made) = cycle_gan.loss(
        SETTINGS, NET, players(), memory(), sample(read), CONSTANTS, jnp.int32(step)
    )
    expected, pictures = by_hand(SETTINGS, step, read)
    assert float(total) == pytest.approx(expected, rel=1e-5)
    assert set(metrics) == set(cycle_gan.METRICS)
    for side, x in pictures.items():
        np.testing.assert_allclose(made[side], x, atol=1e-6)


def test_noise_on_the_middle_picture_changes_what_comes_back_alone():
    noisy = dataclasses.replace(SETTINGS, noise=0.1)
    found = [
        cycle_gan.loss(chosen, NET, players(), memory(), sample(), CONSTANTS, jnp.int32(0))[1].metrics
        for chosen in (SETTINGS, noisy)
    ]
    for name in cycle_gan.METRICS:
        assert (float(found[0][name]) == float(found[1][name])) == (name != "cycle")


@pytest.mark.parametrize("count", [1, 2])
def test_the_pool_takes_what_is_to_be_written_on_any_number_of_devices(count):
    state = game.initial_state(SETTINGS, players(), cycle_gan.SIDES)
    state = state._replace(memory=Memory(state.memory.vectors, memory().pool))
    loss = functools.partial(cycle_gan.loss, SETTINGS, NET)
    batch = jax.tree.map(lambda *x: np.stack(x), sample(slot=1), sample(slot=2, write=False))
    parallel = Parallel("shard_map", 2, jax.devices()[:count])
    step = parallel.wrap(functools.partial(game.step, SETTINGS, loss))
    after, _ = step(parallel.replicate(state), parallel.split(batch), parallel.replicate(CONSTANTS))
    _, (_, made) = cycle_gan.loss(SETTINGS, NET, players(), memory(), sample(), CONSTANTS, jnp.int32(0))
    for side, pool in memory().pool.items():
        expected = pool.copy()
        expected[1] = made[side]
        np.testing.assert_allclose(after.memory.pool[side], expected, atol=1e-5)


def test_a_generator_follows_its_own_losses():
    """What its critics read from the pool has no gradient for it, and without a weight nor has their judgement."""
    free = dataclasses.replace(SETTINGS, weight=0.0, cycle=0.0)
    gradient = jax.grad(functools.partial(cycle_gan.loss, free, NET), has_aux=True)
    found, _ = gradient(players(), memory(), sample(), CONSTANTS, jnp.int32(0))
    assert all(not np.any(x) for x in found.generator.values()) and any(np.any(x) for x in found.critic.values())


def test_places_in_the_pool():
    pictures = list(np.zeros((4, 40, 40, 3), np.uint8))
    sampler = PairSampler(
        dataclasses.replace(SETTINGS, pool=8), *(Domain(x, pictures, pictures, pictures) for x in "ab")
    )
    drawn = [[sampler.sample(step, index) for index in range(2)] for step in range(40)]
    assert [[int(x["slot"]) for x in both] for both in drawn[:4]] == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert all(x["write"] and not x["read"] for both in drawn[:4] for x in both)
    later = [x for both in drawn[4:] for x in both]
    assert all(x["write"] == x["read"] for x in later) and 0.3 < np.mean([x["read"] for x in later]) < 0.7
    assert all(0 <= int(a["slot"]) < 4 <= int(b["slot"]) < 8 for a, b in drawn)


def test_a_step_lowers_what_comes_back_wrong():
    settings = dataclasses.replace(SETTINGS, run=config.Run(steps=60), lr=3e-3, pool=0, batch=1, b1=0.5)
    state = game.initial_state(settings, players())
    step = jax.jit(functools.partial(game.step, settings, functools.partial(cycle_gan.loss, settings, NET)))
    batch, found = jax.tree.map(lambda x: np.asarray(x)[None], sample()), []
    for _ in range(30):
        state, metrics = step(state, batch, CONSTANTS)
        found.append(float(metrics["cycle"]))
    assert found[-1] < 0.8 * found[0]
    assert toy.relative_error(state.average, players().generator) > 1e-3
