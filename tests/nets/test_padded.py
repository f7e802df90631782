"""Networks on pictures inside larger arrays: the same result as without padding, by few programs."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from metastyle.config import Generator
from metastyle.errors import InputError
from metastyle.nets import generator, padded
from tests.support.numpy_nets import random_params
from tests.support.pictures import noise

NETS = {
    "johnson": "c9s1-8,d8,d16,R16x1,u8,u8,c9s1-3",
    "compact": "s4,c3s1-16,R16x1a,u8,p2-3,skip",
    "deep": "s4,d6.blur,save-a,d8,u6.bilinear,add-a,u6,p4-3",
    "unet": "c3s1-8.leaky,save-a,d8.blur.leaky,u8.bilinear.leaky,cat-a,c3s1-3",
}


@pytest.mark.parametrize("size", [(64, 64), (69, 90), (130, 67)], ids=str)
@pytest.mark.parametrize("arch", NETS.values(), ids=NETS)
def test_the_array_around_a_picture_changes_nothing(arch, size):
    settings = Generator(arch)
    params, pictures = random_params(settings), noise(2, *size, 3)
    expected = np.asarray(generator.stylize(settings, params, pictures))
    assert max(padded.extent(settings, *size).padded) > max(size)
    np.testing.assert_allclose(padded.stylize(settings, params, pictures), expected, atol=2e-5)


def test_phases_and_fast_parameters_of_each_picture_are_taken():
    settings = Generator(NETS["compact"], phases=4)
    first, second = (random_params(settings, seed) for seed in (0, 1))
    pictures = noise(2, 41, 66, 3)
    found = padded.stylize_each(settings, [first, second], {}, pictures)
    for i, params in enumerate((first, second)):
        expected = generator.stylize(settings, params, pictures[i : i + 1])[0]
        np.testing.assert_allclose(found[i], expected, atol=2e-5)
    assert np.abs(found[0] - found[1]).max() > 0.01


def test_what_accelerators_run_for_several_styles_is_the_same(monkeypatch):
    settings = Generator(NETS["compact"])
    every, pictures = [random_params(settings, seed) for seed in (0, 1)], noise(2, 41, 66, 3)
    expected = padded.stylize_each(settings, every, {}, pictures)
    monkeypatch.setattr(padded.jax, "default_backend", lambda: "gpu")
    np.testing.assert_allclose(padded.stylize_each(settings, every, {}, pictures), expected, atol=2e-5)


def test_half_precision_is_that_of_the_network():
    settings = dataclasses.replace(Generator(NETS["compact"]), dtype="bfloat16")
    params, pictures = random_params(settings), noise(1, 61, 66, 3)
    expected = np.asarray(generator.stylize(settings, params, pictures), np.float32)
    found = padded.stylize(settings, params, pictures)
    assert found.dtype == jnp.float32
    assert np.abs(found - expected).mean() < 0.02


def test_pictures_of_sixty_sizes_share_four_programs(monkeypatch):
    settings, traced = Generator("s4,c3s1-4,p4-3"), []
    whole = padded.walk
    monkeypatch.setattr(padded, "walk", lambda *args: traced.append(1) or whole(*args))
    params = random_params(settings)
    for height in range(45, 105, 2):
        for width in (50, 95):
            padded.stylize(settings, params, noise(1, height, width, 3))
    assert 1 <= len(traced) <= 4


def test_too_small_pictures_are_refused():
    settings = Generator(NETS["compact"])
    with pytest.raises(InputError, match="`content`: expected sides of at least 16 px, got 40 x 12"):
        padded.stylize(settings, random_params(settings), noise(1, 12, 40, 3))
