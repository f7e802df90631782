"""J of a whole picture, padded or in windows, against losses/perceptual.py on the bare picture."""

import jax
import numpy as np
import pytest

from metastyle.config import Loss
from metastyle.losses import perceptual, whole_picture
from metastyle.nets import vgg
from metastyle.nets.extent import Extent

LOSS = Loss(octaves=3)
PARAMS = vgg.random_params()


def draw(seed, height, width):
    return np.random.default_rng(seed).random((height, width, 3), np.float32)


@jax.jit
def bare(photograph, painting, picture):
    content = perceptual.content_target(PARAMS, photograph[None], LOSS)
    style = perceptual.style_target(PARAMS, painting[None], LOSS)
    judged = lambda x: perceptual.perceptual(PARAMS, x[None], content, style, LOSS).total[0]
    return jax.value_and_grad(judged)(picture)


def compare(height, width):
    photograph, picture, painting = draw(0, height, width), draw(1, height, width), draw(2, 90, 75)
    goal = whole_picture.style_grams(PARAMS, painting, 3)
    place = Extent.of(height, width)
    value, gradient = whole_picture.objective(PARAMS, photograph, goal, LOSS)(place.pad(picture))
    expected, slope = bare(photograph, painting, picture)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(place.crop(gradient), slope, atol=1e-5 * np.abs(slope).max())
    padding = np.array(gradient)
    padding[:height, :width] = 0
    assert not padding.any()


@pytest.mark.parametrize("size", [(64, 64), (57, 100)], ids=str)
def test_padding_changes_nothing(size):
    compare(*size)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(257, 190), (150, 300)], ids=str)
def test_windows_change_nothing(monkeypatch, size):
    monkeypatch.setattr(whole_picture, "WHOLE", 100 * 100)
    monkeypatch.setattr(whole_picture, "_WINDOW", 176)
    compare(*size)


def test_the_margin_of_a_window_is_enough():
    """No feature depends on a pixel that is further away than the margin."""
    pixels = 2 * (whole_picture._MARGIN + 8)
    picture = draw(3, 8, pixels)
    changed = picture.copy()
    changed[:, : pixels // 2 - whole_picture._MARGIN] = 0
    ours, theirs = (vgg.features(PARAMS, x[None], ("relu4_3",))["relu4_3"] for x in (picture, changed))
    middle = pixels // 16
    np.testing.assert_array_equal(ours[:, :, middle:], theirs[:, :, middle:])
    assert (np.asarray(ours)[:, :, : middle - 4] != np.asarray(theirs)[:, :, : middle - 4]).any()


def test_the_cores_of_windows_cover_the_picture_once(monkeypatch):
    monkeypatch.setattr(whole_picture, "WHOLE", 1)
    count = np.zeros((1600, 1024))
    for window in whole_picture._windows(1600, 1024):
        core = np.asarray(window.core)[0, ..., 0]
        count[window.rows, window.columns] += core
        assert core.shape == (768, 768)
    np.testing.assert_array_equal(count, 1)


def test_a_weighted_sum_of_styles():
    one, two = (whole_picture.style_grams(PARAMS, draw(seed, 40, 40), 2) for seed in (4, 5))
    mixed = whole_picture.weighted_sum([one, two], [0.25, 0.75])
    np.testing.assert_allclose(mixed[1]["relu3_3"], 0.25 * one[1]["relu3_3"] + 0.75 * two[1]["relu3_3"], rtol=1e-6)
