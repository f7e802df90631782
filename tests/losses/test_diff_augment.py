"""DiffAugment: what it may change, that draws differ, and that gradients flow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metastyle.losses import diff_augment
from tests.support.numpy_nets import uniform

PICTURES = uniform(16, 32, 32, 3)


def changed(seed=0, pictures=PICTURES):
    return np.asarray(diff_augment.augment(jax.random.key(seed), jnp.asarray(pictures)))


def test_each_picture_is_changed_in_its_own_way():
    same = np.repeat(PICTURES[:1], 4, 0)
    found = changed(0, same)
    assert found.shape == same.shape and found.dtype == np.float32
    assert len({x.tobytes() for x in found}) == 4
    np.testing.assert_array_equal(found, changed(0, same))
    assert np.abs(found - changed(1, same)).max() > 0.1


def test_a_hole_is_grey_and_no_larger_than_half_of_the_sides():
    holes = (changed() == 0.5).all(-1)
    shares = holes.mean((1, 2))
    assert 0.05 < shares.min() and shares.max() < 0.25 + 2 * 4 / 32


@pytest.mark.parametrize("numbers, value", [((1.0, 0.5, 0.5), 0.9), ((0.0, 0.5, 0.5), -0.1)])
def test_brightness(numbers, value):
    found = diff_augment._colored(jnp.full((4, 4, 3), 0.4), jnp.float32(numbers))
    np.testing.assert_allclose(found, value, atol=1e-6)


def test_colours_without_a_change():
    found = diff_augment._colored(jnp.asarray(PICTURES[0]), jnp.float32([0.5, 0.5, 0.5]))
    np.testing.assert_allclose(found, PICTURES[0], atol=1e-6)


@pytest.mark.parametrize("numbers, down, right", [((0.5, 0.5), 0, 0), ((0.0, 0.999), -4, 4)])
def test_pictures_move_by_an_eighth_at_most(numbers, down, right):
    found = np.asarray(diff_augment._moved(jnp.asarray(PICTURES[0]), jnp.float32(numbers)))
    inside = found[max(0, -down) : 32 - max(0, down), max(0, -right) : 32 - max(0, right)]
    expected = PICTURES[0][max(0, down) : 32 + min(0, down), max(0, right) : 32 + min(0, right)]
    np.testing.assert_allclose(inside, expected, atol=1e-6)


def test_gradients_flow_everywhere_but_in_the_hole():
    gradient = jax.grad(lambda x: diff_augment.augment(jax.random.key(0), x).sum())(jnp.asarray(PICTURES))
    assert np.isfinite(gradient).all() and (np.asarray(gradient) != 0).mean() > 0.5
