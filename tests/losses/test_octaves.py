"""Halved pictures: the filter, borders, odd sides, and that nothing is aliased."""

import jax
import numpy as np
import pytest

from metastyle.losses.octaves import halve, octaves
from tests.support.pictures import noise

FILTER = np.array([1, 3, 3, 1]) / 8


def numpy_halve(image):
    """One picture [H, W, C], pixel by pixel."""
    height, width = (side // 2 for side in image.shape[:2])
    padded = np.pad(image[: 2 * height, : 2 * width].astype(np.float64), ((1, 1), (1, 1), (0, 0)), "edge")
    out = np.empty((height, width, image.shape[2]))
    for y, x in np.ndindex(height, width):
        out[y, x] = np.einsum("hwc,h,w->c", padded[2 * y : 2 * y + 4, 2 * x : 2 * x + 4], FILTER, FILTER)
    return out


@pytest.mark.parametrize("height, width", [(8, 8), (9, 12), (2, 3), (16, 7)])
def test_each_side_is_halved_by_the_filter(height, width):
    image = np.random.default_rng(0).random((height, width, 3), np.float32)
    found = np.asarray(halve(image[None]))[0]
    np.testing.assert_allclose(found, numpy_halve(image), atol=1e-6)


def test_a_constant_stays_and_the_finest_pattern_is_its_mean():
    constant = np.full((1, 6, 10, 3), 0.3, np.float32)
    np.testing.assert_allclose(halve(constant), constant[:, :3, :5], atol=1e-7)
    stripes = np.broadcast_to((np.arange(16) % 2).astype(np.float32)[None, :, None, None], (1, 16, 16, 3))
    np.testing.assert_allclose(np.asarray(halve(stripes))[:, 1:-1], 0.5, atol=1e-7)


def test_the_first_octave_is_the_picture_itself():
    image = noise(1, 20, 24, 3)
    found = octaves(image, 3)
    assert found[0] is image
    assert [x.shape[1:3] for x in found[1:]] == [(image.shape[1] // 2, 12), (image.shape[1] // 4, 6)]
    np.testing.assert_array_equal(found[2], halve(halve(image)))


def test_the_gradient_is_that_of_a_linear_map():
    draw = np.random.default_rng(1).normal(size=(2, 1, 9, 8, 3)).astype(np.float32)
    image, change = draw
    found = jax.grad(lambda x: (halve(x) ** 2).sum())(image)
    expected = 2 * (np.asarray(halve(image)) * np.asarray(halve(change))).sum()
    np.testing.assert_allclose((np.asarray(found) * change).sum(), expected, rtol=1e-4)
