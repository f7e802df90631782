"""Noise maps: normal, without a pattern, the same in a part as in the whole, and another drawing for another seed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metastyle.config import Generator
from metastyle.nets import generator, noise
from tests.support.numpy_nets import numpy_noise, random_params, uniform

HEIGHT, WIDTH, COUNT, SIZES = 256, 200, 2, 3


def maps(rows, columns, seed=0):
    return np.asarray(jax.jit(noise.maps, static_argnums=(2, 3))(rows, columns, COUNT, SIZES, seed))


@pytest.fixture(scope="module")
def whole():
    return maps(jnp.arange(HEIGHT), jnp.arange(WIDTH))


def test_numbers_are_those_of_a_second_reading(whole):
    np.testing.assert_allclose(whole[:24, :18], numpy_noise(24, 18, COUNT, SIZES, 0), atol=1e-5)


def test_mean_is_zero_and_variance_one(whole):
    cells = np.repeat([HEIGHT * WIDTH / 4**size for size in range(SIZES)], COUNT)
    assert (np.abs(whole.mean((0, 1))) < 4 / np.sqrt(cells)).all()
    assert (np.abs(whole.var((0, 1)) - 1) < 6 * np.sqrt(2 / cells)).all()  # enlarged cells are not independent


def test_neighbours_and_maps_are_independent(whole):
    fine = whole[..., :COUNT]
    for down, right in [(0, 1), (1, 0), (1, 1), (0, 2), (3, 5), (8, 8), (64, 0)]:
        other = fine[down:, right:]
        assert abs((other * fine[: HEIGHT - down, : WIDTH - right]).mean()) < 0.02
    assert np.abs(np.corrcoef(whole.reshape(-1, COUNT * SIZES).T) - np.eye(COUNT * SIZES)).max() < 0.03


def test_no_frequency_stands_out(whole):
    """Of so many squares of normal numbers, the largest is about 11 times the mean."""
    power = np.abs(np.fft.fft2(whole[..., 0])) ** 2
    power[0, 0] = 0
    assert power.max() < 16 * power.mean()


def test_large_cells_show_no_lattice(whole):
    deviations = [whole[i::4, :, -COUNT:].std() for i in range(4)]
    assert max(deviations) < 1.06 * min(deviations)


@pytest.mark.parametrize("top, left", [(0, 0), (3, 5), (64, 101)])
def test_a_part_has_the_noise_of_its_place(whole, top, left):
    part = maps(top + jnp.arange(40), left + jnp.arange(30))
    np.testing.assert_allclose(part, whole[top:, left:][:40, :30], atol=1e-5)


def test_another_seed_is_another_drawing(whole):
    other = maps(jnp.arange(HEIGHT), jnp.arange(WIDTH), seed=1)
    assert abs(np.corrcoef(other.ravel(), whole.ravel())[0, 1]) < 0.01


def test_a_network_starts_without_noise_and_keeps_its_seed_out_of_learning():
    settings, photograph = Generator("s4,c3s1-8,n2x3,R8x1,p4-3"), uniform(1, 32, 32, 3)
    start = generator.initial_params(settings, 0)
    plain = {path: x for path, x in start.items() if not path.startswith("noise")}
    expected = generator.apply(Generator("s4,c3s1-8,R8x1,p4-3"), plain, photograph)
    np.testing.assert_array_equal(generator.apply(settings, start, photograph), expected)
    params = jax.tree.map(jnp.asarray, random_params(settings))
    gradient = jax.grad(lambda params: generator.apply(settings, params, photograph).mean())(params)
    assert gradient["noise1/seed"] == 0 and np.abs(gradient["noise1/kernel"]).max() > 0
