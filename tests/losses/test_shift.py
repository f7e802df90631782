"""The change of an output when the photograph moves: none where the texture moves along, and what the measure finds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metastyle import config
from metastyle.losses import perceptual
from metastyle.losses.shift import shift_loss
from metastyle.meta.problem import Networks, Targets, content_batch, style_problem
from metastyle.nets import generator
from tests.support.encoders import PARAMS
from tests.support.numpy_nets import random_params, uniform

PHOTOGRAPHS = jnp.asarray(uniform(2, 48, 64, 3))


def change(stylize, seed):
    return np.asarray(shift_loss(stylize, PHOTOGRAPHS, stylize(PHOTOGRAPHS), jnp.float32(seed)))


def test_a_filter_moves_along_with_the_picture():
    stylize = lambda x: (x + jnp.roll(x, 1, 1) + jnp.roll(x, 1, 2)) / 3
    for seed in range(12):
        np.testing.assert_allclose(change(stylize, seed), 0, atol=1e-10)


def test_a_pattern_that_stays_in_place_does_not():
    stripes = jnp.asarray(np.arange(48) // 2 % 2, jnp.float32)[:, None, None]
    stylize = lambda x: jnp.broadcast_to(stripes, x.shape)
    found = [change(stylize, seed)[0] for seed in range(3)]  # moved by 1, 2 and 3 px
    np.testing.assert_allclose(found, [2, 4, 2], rtol=0.05)


def test_every_move_is_drawn():
    seen = {tuple(np.round(change(lambda x: x * jnp.arange(x.shape[1])[:, None, None], seed), 6)) for seed in range(24)}
    assert len(seen) == 12


def test_it_is_added_to_the_loss_of_a_style():
    net, kind = config.Generator("s4,c3s1-6,p4-3"), config.Loss()
    params = jax.tree.map(jnp.asarray, random_params(net))
    batch = content_batch(PARAMS, PHOTOGRAPHS[:1], kind)
    target = Targets(perceptual.style_target(PARAMS, uniform(1, 32, 32, 3, seed=1), kind))
    found = [
        float(style_problem(net, config.Loss(shift=weight)).loss(params, {}, batch, target, Networks(PARAMS)))
        for weight in (0, 3)
    ]
    stylize = lambda x: generator.apply(net, params, x)
    share = shift_loss(stylize, PHOTOGRAPHS[:1], stylize(PHOTOGRAPHS[:1]), batch["seed"][0])
    assert found[1] - found[0] == pytest.approx(3 * float(share[0]), rel=1e-4) and share > 0.01
